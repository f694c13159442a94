package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyframelog/keyframe/storage/inspect"
)

func newCheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Verify a stopped broker's data directory: every checksum, every digest, every fold",
		Long: `Reads every record batch and every row of every key frame, and folds the deltas again independently of the stored tables: at
each key frame the digest must come out the same. It changes nothing. The exit status is 1 if anything is wrong.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			began := time.Now()
			dir, err := openOffline(cmd, c)
			if err != nil {
				return err
			}
			defer dir.Close()
			report, err := dir.Check(cmd.Context(), func(p inspect.Partition) { fmt.Fprintf(cmd.ErrOrStderr(), "checking %s\n", p) })
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "%d partition(s) in %s\n", report.Partitions, time.Since(began).Round(time.Millisecond))
			fmt.Fprintf(out, "log     %d record batches, %d records, %d bytes: checksums and offsets\n", report.Batches, report.Records, report.Bytes)
			fmt.Fprintf(out, "frames  %d, %d rows read back: checksums, counts and digests\n", report.Frames, report.Rows)
			fmt.Fprintf(out, "folds   %d deltas folded again, %d digests compared\n", report.Refolded, report.Digests)
			if len(report.Problems) == 0 {
				fmt.Fprintln(out, "no problem found")
				return nil
			}
			for _, p := range report.Problems {
				fmt.Fprintf(out, "PROBLEM %v\n", p)
			}
			return exitError(1)
		},
	}
	addSettings(cmd, "data-dir")
	return cmd
}

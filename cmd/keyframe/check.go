package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/keyframelog/keyframe/storage/inspect"
)

func newCheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Verify a stopped broker's data directory: every checksum, every digest, every fold",
		Long: `Reads every block of every file, every record batch and every row of every key frame, and folds the deltas again independently of
the stored tables: at each key frame the digest must come out the same. It changes nothing. The exit status is 1 if anything is
wrong. A notice may be the trace of a crash, or damage, and is no problem. --format json prints a list of one object, with the counts
and the lists "problems" and "notices"; jsonl that object on a line.`,
		Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			if err := checkFormat(c); err != nil {
				return err
			}
			began := time.Now()
			dir, err := openOffline(c)
			if err != nil {
				return err
			}
			defer dir.Close()
			report, err := dir.Check(cmd.Context(), func(p inspect.Partition) { fmt.Fprintf(cmd.ErrOrStderr(), "checking %s\n", p) })
			if err != nil {
				return err
			}
			took := time.Since(began)
			if c.str("format") == "table" {
				printReport(cmd.OutOrStdout(), report, took)
			} else if err := encodeReport(cmd, c, report, took); err != nil {
				return err
			}
			if len(report.Problems) > 0 {
				return exitError(1)
			}
			return nil
		},
	}
	addSettings(cmd, "data-dir", "format")
	return cmd
}

func printReport(out io.Writer, report *inspect.Report, took time.Duration) {
	fmt.Fprintf(out, "%d partition(s) in %s\n", report.Partitions, took.Round(time.Millisecond))
	fmt.Fprintf(out, "files   %d sstables, %d keys and values: checksums\n", report.Files, report.Keys)
	fmt.Fprintf(out, "log     %d record batches, %d records, %d bytes: checksums and offsets\n", report.Batches, report.Records, report.Bytes)
	fmt.Fprintf(out, "frames  %d, %d rows read back: checksums, counts and digests\n", report.Frames, report.Rows)
	fmt.Fprintf(out, "folds   %d deltas folded again, %d digests compared\n", report.Refolded, report.Digests)
	for _, notice := range report.Notices {
		fmt.Fprintf(out, "NOTICE %s\n", printable(notice))
	}
	if len(report.Problems) == 0 {
		fmt.Fprintln(out, "no problem found")
		return
	}
	for _, p := range report.Problems {
		fmt.Fprintf(out, "PROBLEM %s\n", printable(p.Error()))
	}
	fmt.Fprintln(out, "nothing was changed; restore the data directory from a backup where records or rows are lost")
}

func encodeReport(cmd *cobra.Command, c *config, report *inspect.Report, took time.Duration) error {
	problems := nested{columns: []string{"topic", "partition", "offset", "problem"}}
	for _, p := range report.Problems {
		offset := any(absent{}) // the partition as a whole
		if p.Offset >= 0 {
			offset = p.Offset
		}
		problems.rows = append(problems.rows, []any{p.Partition.Topic, p.Partition.Index, offset, p.Err.Error()})
	}
	notices := nested{columns: []string{"notice"}}
	for _, notice := range report.Notices {
		notices.rows = append(notices.rows, []any{notice})
	}
	out, err := newOutput(cmd, c, "partitions", "files", "keys", "batches", "records", "bytes", "frames", "rows", "refolded", "digests", "took_ms", "problems", "notices")
	if err != nil {
		return err
	}
	return errors.Join(out.row(report.Partitions, report.Files, report.Keys, report.Batches, report.Records, report.Bytes, report.Frames, report.Rows,
		report.Refolded, report.Digests, took.Milliseconds(), problems, notices), out.close())
}

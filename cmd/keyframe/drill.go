package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"

	"github.com/keyframelog/keyframe/bench/drill"
	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/suggest"
)

func newDrillCommand() *cobra.Command {
	return group("drill", "Break a system of its own on purpose, and see what becomes of it", newDriftDrillCommand(client.Repair))
}

type drillFlags struct {
	drill.Config
	faults []string
	asJSON bool
}

// newDriftDrillCommand is for replicas of a policy: those of the command that people have repair themselves.
func newDriftDrillCommand(policy client.Policy) *cobra.Command {
	flags := drillFlags{Config: drill.DefaultConfig()}
	flags.OnDrift = policy
	cmd := &cobra.Command{
		Use:   "drift",
		Short: "Lose, double and change deltas, flip a bit on disk, and measure how each is found and repaired",
		Long: `Starts a broker, replicas and producers in a temporary directory, has one fault after the other happen to them, and prints for each when
and by what it was found, how long the repair took, which keys it concerned, and the bytes that it moved beside those of a whole key frame.

The faults happen where they do in life: on the network, in a proxy between a replica and the broker, and in the files of a replica; the code
under test knows nothing of them. --faults chooses some:

` + faultHelp() + `
--format json prints a list of one object, with the list "faults"; jsonl that object on a line. The exit status is 1 unless every fault was
found, was repaired with no key more than it had harmed, and all replicas equal the log in the end.`,
		Example: `  keyframe drill drift
  keyframe drill drift --keys 1000000 --faults lost,asleep`,
		Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			if err := checkFormat(c); err != nil {
				return err
			}
			if len(flags.faults) == 0 && cmd.Flags().Changed("faults") {
				return fmt.Errorf("--faults is empty: there are %s; without it all happen", strings.Join(faultNames(), ", "))
			}
			if flags.Faults, err = parseFaults(flags.faults); err != nil {
				return err
			}
			if err := flags.Validate(); err != nil {
				return err
			}
			ctx, out, stop := whileRead(cmd.Context(), cmd.OutOrStdout())
			defer stop()
			cmd.SetOut(out)
			format := c.str("format")
			if flags.asJSON {
				format = "jsonl"
			}
			flags.Logger = errorLogger()
			var report drill.Report
			if format == "table" {
				if report, err = watchDrill(ctx, out, flags.Config); err == nil {
					err = printDrill(out, &report)
				}
			} else if report, err = drill.Run(ctx, flags.Config); err == nil {
				err = encodeDrill(cmd, c, format, &report)
			}
			if err := out.ended(cmd.Context(), err); err != nil {
				return err
			}
			if !report.OK() {
				return exitError(1)
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&flags.Keys, "keys", flags.Keys, "keys of each topic")
	cmd.Flags().IntVar(&flags.ValueBytes, "value-bytes", flags.ValueBytes, "bytes of a value")
	cmd.Flags().IntVar(&flags.Deltas, "deltas", flags.Deltas, "deltas from one fault to the key frame that finds it")
	cmd.Flags().StringSliceVar(&flags.faults, "faults", nil, "which faults, separated by commas (default: all)")
	cmd.Flags().StringVar(&flags.Dir, "dir", "", "where the temporary directory is made (default: the system's)")
	cmd.Flags().BoolVar(&flags.asJSON, "json", false, "one JSON object a line: short for --format jsonl")
	must(cmd.MarkFlagDirname("dir"))
	completeFlag(cmd, "faults", faultNames()...)
	addSettings(cmd, "format")
	return cmd
}

func faultNames() (names []string) {
	for _, f := range drill.Faults() {
		names = append(names, string(f))
	}
	return names
}

func faultHelp() string {
	var help strings.Builder
	for _, f := range drill.Faults() {
		fmt.Fprintf(&help, "  %-10s  %s\n", f, faultsTold()[f].short)
	}
	return help.String()
}

// parseFaults reads the names of faults; none means all.
func parseFaults(names []string) (faults []drill.Fault, err error) {
	known := faultNames()
	for _, name := range names {
		if !slices.Contains(known, name) {
			if best := suggest.Nearest(name, known); best != "" {
				return nil, fmt.Errorf("--faults %q: did you mean %q?", name, best)
			}
			return nil, fmt.Errorf("--faults %q: there are %s", name, strings.Join(known, ", "))
		}
		faults = append(faults, drill.Fault(name))
	}
	if len(faults) == 0 {
		return drill.Faults(), nil
	}
	return faults, nil
}

// watchDrill runs a drill and shows how far it is.
func watchDrill(ctx context.Context, out *demoOutput, cfg drill.Config) (drill.Report, error) {
	fmt.Fprintf(out, "keyframe drill drift: %s keys, values of %s bytes, a key frame after every %s deltas.\n"+
		"What breaks, breaks on the network and on disk: the code under test knows nothing of it.\n\n",
		grouped(int64(cfg.Keys)), grouped(int64(cfg.ValueBytes)), grouped(int64(cfg.Deltas)))
	var progress *mpb.Progress
	var bar *mpb.Bar
	cfg.Started = func(s drill.Setup) {
		say(out, "broker", "on %s, with %s rows in key frames, in %s", s.KafkaAddr, grouped(s.Rows), took(s.Took))
		progress, bar = progressBar(out.to, "drill", "faults", len(cfg.Faults))
	}
	cfg.Found = func(drill.Finding) { bar.Increment() }
	report, err := drill.Run(ctx, cfg)
	if bar != nil {
		bar.Abort(true) // it goes, whether it is full or not
		progress.Wait()
	}
	return report, err
}

// errorLogger is for what must not be missed; that replicas were found wrong is what a drill is for.
func errorLogger() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
}

package main

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/keyframelog/keyframe/proto/suggest"
)

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "keyframe",
		Short: "A Kafka-protocol delta log with key-frame snapshots",
		Long: `Keyframe is a Kafka-protocol log of deltas that are folded per key into key frames, and replicas that prove at every
key frame that they hold the same state as the log.

Settings: flags, then KEYFRAME_* variables, then the YAML file of --config. "keyframe config print --show-source" shows all.`,
		Version:           version(),
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	root.PersistentFlags().String("config", "", "YAML file with settings (environment KEYFRAME_CONFIG)")
	must(root.MarkPersistentFlagFilename("config", "yaml", "yml"))
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w (see %s --help)", flagError(cmd, err), cmd.CommandPath())
	})
	root.AddCommand(
		newServeCommand(),
		newTopicCommand(),
		newProduceCommand(),
		newReconcileCommand(),
		newConsumeCommand(),
		newStateCommand(),
		newDiffCommand(),
		newVerifyCommand(),
		newRepairCommand(),
		newHistoryCommand(),
		newFramesCommand(),
		newReplicaCommand(),
		newDumpCommand(),
		newCheckCommand(),
		newConfigCommand(),
		newDemoCommand(),
		newDrillCommand(),
		newBenchCommand(),
	)
	return root
}

// flagError says what the flag takes, in place of the parsers' own words, and adds the nearest flag to an unknown one.
func flagError(cmd *cobra.Command, err error) error {
	var (
		invalid *pflag.InvalidValueError
		unknown *pflag.NotExistError
	)
	switch {
	case errors.As(err, &invalid):
		return fmt.Errorf("--%s %q: write %s", invalid.GetFlag().Name, invalid.GetValue(), expected(invalid.GetFlag()))
	case errors.As(err, &unknown) && len(unknown.GetSpecifiedShortnames()) == 0:
		var known []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
		name := unknown.GetSpecifiedName()
		if best := suggest.Nearest(name, known); best != "" {
			return fmt.Errorf("unknown flag --%s: did you mean --%s?", name, best)
		}
		return fmt.Errorf("unknown flag --%s", name)
	}
	return err
}

// version is the module version that the Go tool recorded, or the commit of a build from a checkout.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "devel " + s.Value[:min(12, len(s.Value))]
		}
	}
	return "devel"
}

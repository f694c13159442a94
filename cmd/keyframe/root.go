package main

import (
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w (see %s --help)", suggestFlag(cmd, err), cmd.CommandPath())
	})
	root.AddCommand(
		newServeCommand(),
		newTopicCommand(),
		newProduceCommand(),
		newConsumeCommand(),
		newStateCommand(),
		newFramesCommand(),
		newReplicaCommand(),
		newDumpCommand(),
		newCheckCommand(),
		newConfigCommand(),
		newDemoCommand(),
	)
	return root
}

// suggestFlag adds the nearest flag to pflag's own message about an unknown one.
func suggestFlag(cmd *cobra.Command, err error) error {
	name, isUnknown := strings.CutPrefix(err.Error(), "unknown flag: --")
	if !isUnknown {
		return err
	}
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { known = append(known, f.Name) })
	if best := nearest(name, known); best != "" {
		return fmt.Errorf("unknown flag --%s: did you mean --%s?", name, best)
	}
	return fmt.Errorf("unknown flag --%s", name)
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

package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyframelog/keyframe/proto/suggest"
)

// group is a command that only holds others. Cobra prints the help for a misspelt one and ends with status 0; a script must not
// take that for success.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, DisableFlagsInUseLine: true,
		FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true}, // they belong to the command that is missing or misspelt
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cmd.Help()
			}
			var known []string
			for _, c := range cmd.Commands() {
				known = append(known, c.Name())
			}
			if best := suggest.Nearest(args[0], known); best != "" {
				return fmt.Errorf("unknown command %q for %q: did you mean %q?", args[0], cmd.CommandPath(), best)
			}
			return fmt.Errorf("unknown command %q for %q: there are %s", args[0], cmd.CommandPath(), strings.Join(known, ", "))
		},
	}
	cmd.AddCommand(commands...)
	return cmd
}

// arguments wants exactly the named ones; a last name that ends in "..." stands for one or more. What is missing is called by its
// name.
func arguments(names ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		see := fmt.Sprintf("(see %s --help)", cmd.CommandPath())
		if len(args) < len(names) {
			return fmt.Errorf("%s is missing: write %s %s %s",
				strings.TrimSuffix(names[len(args)], "..."), cmd.CommandPath(), strings.Join(names, " "), see)
		}
		repeats := len(names) > 0 && strings.HasSuffix(names[len(names)-1], "...")
		if len(args) > len(names) && !repeats {
			return fmt.Errorf("unexpected argument %q after %s %s", args[len(names)], cmd.CommandPath(), see)
		}
		return nil
	}
}

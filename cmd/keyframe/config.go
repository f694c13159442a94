package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

func newConfigCommand() *cobra.Command {
	return group("config", "Settings: what holds and where it comes from", newConfigPrintCommand())
}

func newConfigPrintCommand() *cobra.Command {
	var showSource bool
	cmd := &cobra.Command{
		Use:   "print",
		Short: "Print every setting with the value that holds",
		Long: `Prints every setting with the value that holds, and checks them as serve does: the exit status is 1 where a broker would not
start with them. An empty variable counts as unset.`,
		Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			columns := []string{"setting", "value", "environment"}
			if showSource {
				columns = append(columns, "source")
			}
			out, err := newOutput(cmd, c, columns...)
			if err != nil {
				return err
			}
			for _, s := range settings() {
				row := []any{s.key, c.text(s.key), envName(s.key)}
				if showSource {
					row = append(row, c.source(s.key))
				}
				if err := out.row(row...); err != nil {
					return err
				}
			}
			_, wrong := brokerConfig(c, io.Discard)
			return errors.Join(out.close(), wrong)
		},
	}
	cmd.Flags().BoolVar(&showSource, "show-source", false, "say where each value comes from")
	addSettings(cmd, settingKeys()...)
	return cmd
}

// splitPair parses NAME=VALUE.
func splitPair(s, what string) (name, value string, err error) {
	name, value, ok := strings.Cut(s, "=")
	if !ok || name == "" {
		return "", "", fmt.Errorf("%s %q: write NAME=VALUE", what, s)
	}
	return name, value, nil
}

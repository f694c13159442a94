package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func newConfigCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Settings: what holds and where it comes from"}
	cmd.AddCommand(newConfigPrintCommand())
	return cmd
}

func newConfigPrintCommand() *cobra.Command {
	var showSource bool
	cmd := &cobra.Command{
		Use:   "print",
		Short: "Print every setting with the value that holds",
		Args:  cobra.NoArgs,
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
				value := c.str(s.key)
				if _, isList := s.value.([]string); isList {
					value = strings.Join(c.list(s.key), ",")
				}
				row := []any{s.key, value, envName(s.key)}
				if showSource {
					row = append(row, c.source(s.key))
				}
				if err := out.row(row...); err != nil {
					return err
				}
			}
			return out.close()
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

package main

import "github.com/spf13/cobra"

func newDumpCommand() *cobra.Command  { return &cobra.Command{Use: "dump"} }
func newCheckCommand() *cobra.Command { return &cobra.Command{Use: "check"} }

package main

import (
	"encoding/hex"
	"errors"
	"fmt"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/state"
)

func newFramesCommand() *cobra.Command {
	return group("frames", "List the key frames of a topic, or cut one", newFramesListCommand(), newFramesCutCommand())
}

func frameColumns() []string {
	return []string{"partition", "cut", "rows", "bytes", "time", "rejected", "pub"}
}

func frameRow(f *state.Frame) []any {
	return []any{f.Partition, f.Cut, f.Count, f.Bytes, timeText(f.CutTimeMs), f.Rejected, hex.EncodeToString(f.Pub)}
}

func newFramesListCommand() *cobra.Command {
	var follow bool
	cmd := &cobra.Command{
		Use:               "list TOPIC",
		Short:             "List the retained key frames: cut, rows, bytes, time and digest",
		Args:              arguments("TOPIC"),
		ValidArgsFunction: completeTopic,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			if follow && c.str("format") == "table" {
				return errors.New("--follow needs --format jsonl: a table has no end")
			}
			out, err := newOutput(cmd, c, frameColumns()...)
			if err != nil {
				return err
			}
			ctx, alive := plane.Following(cmd.Context())
			stream, err := followClient(c).Frames(ctx, connect.NewRequest(&state.FramesRequest{Topic: args[0], Follow: follow}))
			if err != nil {
				return stateError(c, err)
			}
			defer stream.Close()
			for stream.Receive() {
				alive(stream.Msg().AliveMs)
				for _, f := range stream.Msg().Frames {
					if err := out.row(frameRow(f)...); err != nil {
						return err
					}
				}
				if err := out.flush(); err != nil {
					return err
				}
			}
			if err := stream.Err(); err != nil && cmd.Context().Err() == nil {
				return stateError(c, err)
			}
			return out.close()
		},
	}
	cmd.Flags().BoolVar(&follow, "follow", false, "go on and print every new frame")
	addSettings(cmd, "state-url", "format")
	return cmd
}

func newFramesCutCommand() *cobra.Command {
	var nameOnly bool
	cmd := &cobra.Command{
		Use:   "cut TOPIC",
		Short: "Cut a key frame of every partition now, and name the cut",
		Long: `Cuts a key frame of every partition at its synced end, and prints the frames; in JSON each with the name of the cut, and whether it is
consistent: whether the frames hold whatever was committed anywhere in the topic before anything that they hold.

The name is good as long as the key frames are kept. They are not thinned out, as others are, while fewer than a third of keyframe.retain, 8 by
default, were asked for since; and they go when the deltas below them are trimmed: keyframe.delta.retention.ms after the cut, a day by default, or
when keyframe.delta.retention.bytes of newer ones are there.`,
		Example: `  cut=$(keyframe frames cut users --name)  # before a dump is taken
  keyframe reconcile users dump.tsv --at "$cut"`,
		Args:              arguments("TOPIC"),
		ValidArgsFunction: completeTopic,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			answer, err := stateClient(c).Cut(cmd.Context(), connect.NewRequest(&state.CutRequest{Topic: args[0]}))
			if err != nil {
				return stateError(c, err)
			}
			fmt.Fprintln(cmd.ErrOrStderr(), cutSummary(args[0], answer.Msg))
			if nameOnly {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), answer.Msg.Name)
				return err
			}
			columns := frameColumns()
			var cut []any
			if c.str("format") != "table" { // there it stands above, and has no place beside pub
				columns, cut = append(columns, "name", "consistent"), []any{answer.Msg.Name, answer.Msg.Consistent}
			}
			out, err := newOutput(cmd, c, columns...)
			if err != nil {
				return err
			}
			for _, f := range answer.Msg.Frames {
				if err := out.row(append(frameRow(f), cut...)...); err != nil {
					return err
				}
			}
			return out.close()
		},
	}
	cmd.Flags().BoolVar(&nameOnly, "name", false, "print the cut's name alone, as --at takes it; empty where nothing was ever committed")
	addSettings(cmd, "state-url", "format")
	return cmd
}

// cutSummary names the cut. Without a frame there is no cut that could be named: only partitions without a committed record have none.
func cutSummary(topic string, cut *state.CutResponse) string {
	switch {
	case len(cut.Frames) == 0 && cut.Consistent:
		return fmt.Sprintf("nothing to cut: topic %s is empty", topic)
	case len(cut.Frames) == 0:
		return fmt.Sprintf("nothing to cut: an open transaction holds back all that topic %s has", topic)
	case !cut.Consistent:
		return fmt.Sprintf("cut %s, not consistent: an open transaction held a partition back", cut.Name)
	}
	return fmt.Sprintf("cut %s, consistent", cut.Name)
}

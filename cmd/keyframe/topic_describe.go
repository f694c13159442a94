package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
)

func newTopicDescribeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "describe TOPIC",
		Short: "The topic, its configs with their sources, and its partitions with their offsets",
		Long: `Prints the topic, its configs and where they come from, and for each partition its offsets: log start, high watermark, the last
stable offset where an open transaction holds it below that, and of a key-framed topic the delta start (from there on the raw deltas
are kept, below it only rows), how far it is folded, and how many key frames there are. --format json prints a list of one object,
with the lists "configs" and "partitions"; jsonl that object on a line.`,
		Args:              arguments("TOPIC"),
		ValidArgsFunction: completeTopic,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			return withAdmin(cmd.Context(), c, func(admin *kadm.Client) error { return describeTopic(cmd, c, admin, args[0]) })
		},
	}
	addSettings(cmd, "brokers", "state-url", "format")
	return cmd
}

func describeTopic(cmd *cobra.Command, c *config, admin *kadm.Client, topic string) error {
	ctx := cmd.Context()
	topics, err := admin.ListTopics(ctx, topic)
	if err != nil {
		return err
	}
	t := topics[topic]
	if err := topicError("describe", topic, t.Err, ""); err != nil {
		return err
	}
	starts, startErr := admin.ListStartOffsets(ctx, topic)
	ends, endErr := admin.ListEndOffsets(ctx, topic)
	stable, stableErr := admin.ListCommittedOffsets(ctx, topic)
	configs, configErr := admin.DescribeTopicConfigs(ctx, topic)
	if err := errors.Join(startErr, endErr, stableErr, configErr); err != nil {
		return err
	}
	if risk := flushRisk(configValues(configs, topic)); risk != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), risk)
	}
	plane := map[int32]planePartition{}
	if strings.Contains(configValues(configs, topic)["cleanup.policy"], "compact") {
		if plane, err = askPlane(ctx, stateClient(c), topic); err != nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "without delta start and key frames: %v\n", stateError(c, err))
		}
	}
	partitions := nested{columns: []string{"partition", "leader_epoch", "log_start", "delta_start", "high_watermark", "last_stable", "folded", "frames", "newest_cut", "failure"}}
	for _, p := range t.Partitions.Sorted() {
		start, _ := starts.Lookup(topic, p.Partition)
		end, _ := ends.Lookup(topic, p.Partition)
		lastStable := any(absent{})
		if at, ok := stable.Lookup(topic, p.Partition); ok && at.Offset < end.Offset {
			lastStable = at.Offset
		}
		x := plane[p.Partition].cells()
		partitions.rows = append(partitions.rows, []any{p.Partition, p.LeaderEpoch, start.Offset, x.deltaStart, end.Offset, lastStable, x.folded, x.frames, x.newestCut, x.failure})
	}
	return printTopic(cmd, c, t, configRows(configs), partitions)
}

// flushRisk says what a topic of ours gives up that does not wait for syncs; "" if it gives up nothing.
func flushRisk(configs map[string]string) string {
	messages := configs["flush.messages"]
	if _, ours := configs["keyframe.fold"]; !ours || messages == "1" {
		return ""
	}
	return fmt.Sprintf("flush.messages is %s: records are acknowledged and visible before they are synced, and a killed process or a power cut "+
		"loses those that were not; set it to 1 to wait for the sync", messages)
}

func configRows(configs kadm.ResourceConfigs) nested {
	rows := nested{columns: []string{"config", "value", "source"}}
	for _, r := range configs {
		slices.SortFunc(r.Configs, func(a, b kadm.Config) int { return cmp.Compare(a.Key, b.Key) })
		for _, k := range r.Configs {
			rows.rows = append(rows.rows, []any{k.Key, k.MaybeValue(), k.Source.String()})
		}
	}
	return rows
}

// printTopic prints one table under the other, or one row of JSON.
func printTopic(cmd *cobra.Command, c *config, t kadm.TopicDetail, configs, partitions nested) error {
	if c.str("format") != "table" {
		out, err := newOutput(cmd, c, "topic", "id", "configs", "partitions")
		if err != nil {
			return err
		}
		return errors.Join(out.row(t.Topic, topicID(t.ID), configs, partitions), out.close())
	}
	to := cmd.OutOrStdout()
	fmt.Fprintf(to, "topic %s, id %s, %d partition(s)\n", t.Topic, topicID(t.ID), len(t.Partitions))
	return errors.Join(printTable(to, cmd, c, configs), printTable(to, cmd, c, partitions.withoutEmpty()))
}

func printTable(to io.Writer, cmd *cobra.Command, c *config, rows nested) error {
	fmt.Fprintln(to)
	out, err := newOutput(cmd, c, rows.columns...)
	if err != nil {
		return err
	}
	for _, row := range rows.rows {
		if err := out.row(row...); err != nil {
			return err
		}
	}
	return out.close()
}

// withoutEmpty leaves out the columns that no row has.
func (n nested) withoutEmpty() nested {
	kept := nested{rows: make([][]any, len(n.rows))}
	for i, column := range n.columns {
		if !slices.ContainsFunc(n.rows, func(row []any) bool { return row[i] != any(absent{}) }) {
			continue
		}
		kept.columns = append(kept.columns, column)
		for j, row := range n.rows {
			kept.rows[j] = append(kept.rows[j], row[i])
		}
	}
	return kept
}

// planePartition is what the state plane adds to a partition; nothing where it was not asked or did not answer.
type planePartition struct {
	*state.Partition
	frames int
	newest *state.Frame
}

type planeCells struct{ deltaStart, folded, frames, newestCut, failure any }

func (p planePartition) cells() planeCells {
	none := absent{}
	if p.Partition == nil {
		return planeCells{none, none, none, none, none}
	}
	cells := planeCells{p.DeltaStartOffset, p.FoldedPosition, p.frames, none, none}
	if p.newest != nil {
		cells.newestCut = p.newest.Cut
	}
	if p.Failure != "" {
		cells.failure = p.Failure
	}
	return cells
}

// askPlane asks for the partitions and their frames; it proves too that a state plane answers and that the topic is key-framed.
func askPlane(ctx context.Context, plane stateconnect.StateServiceClient, topic string) (map[int32]planePartition, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	stream, err := plane.Frames(ctx, connect.NewRequest(&state.FramesRequest{Topic: topic}))
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	out := map[int32]planePartition{}
	for stream.Receive() {
		for _, p := range stream.Msg().Partitions {
			out[p.Partition] = planePartition{Partition: p}
		}
		for _, f := range stream.Msg().Frames {
			p := out[f.Partition]
			p.frames++
			if p.newest == nil || f.Cut > p.newest.Cut {
				p.newest = f
			}
			out[f.Partition] = p
		}
	}
	return out, stream.Err()
}

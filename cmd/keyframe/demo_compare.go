package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/bench/githistory"
	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/state"
)

// comparison collects what was compared with Git; a difference ends the demo.
type comparison struct {
	trees map[string]map[string]string // commit to tree, asked once
	lines []table.Row
}

// add compares the state of one copy with Git's own tree of the commit.
func (c *comparison) add(ctx context.Context, repo *githistory.Repo, who string, at stop, got map[string]string) error {
	if c.trees == nil {
		c.trees = map[string]map[string]string{}
	}
	want, ok := c.trees[at.commit]
	if !ok {
		var err error
		if want, err = repo.Tree(ctx, at.commit); err != nil {
			return err
		}
		c.trees[at.commit] = want
	}
	if n, example := differing(want, got); n > 0 {
		return fmt.Errorf("%s at commit %d (%.12s, offset %d): %d path(s) differ from git ls-tree, the first is %q: git has %q, the copy has %q",
			who, at.number, at.commit, at.offset, n, example, want[example], got[example])
	}
	c.lines = append(c.lines, table.Row{at.number, at.commit[:min(12, len(at.commit))], at.offset, len(want), who, "equal"})
	return nil
}

// differing counts the paths whose entries differ, absent ones included, and names the first in order.
func differing(a, b map[string]string) (n int, example string) {
	differs := func(path string) {
		if n++; example == "" || path < example {
			example = path
		}
	}
	for path, v := range a {
		if other, ok := b[path]; !ok || other != v {
			differs(path)
		}
	}
	for path := range b {
		if _, ok := a[path]; !ok {
			differs(path)
		}
	}
	return n, example
}

func (c *comparison) print(out io.Writer) error {
	t := table.NewWriter()
	t.SetOutputMirror(out)
	t.SetStyle(plainTable())
	t.AppendHeader(table.Row{"commit", "id", "offset", "paths", "copy", "against git ls-tree"})
	// Stable, unlike the table's own sort: the copies of each commit stand in the order in which they were compared.
	slices.SortStableFunc(c.lines, func(a, b table.Row) int { return cmp.Compare(a[0].(int), b[0].(int)) })
	t.AppendRows(c.lines)
	fmt.Fprintln(out)
	t.Render()
	return nil
}

// compareReplica compares the rows of a replica with Git, and its digest with the log's.
func (d *demo) compareReplica(ctx context.Context, who string, replica *client.Replica, at stop) error {
	rows := map[string]string{}
	for row, err := range replica.Scan(ctx, nil) {
		if err != nil {
			return err
		}
		rows[string(row.Key)] = string(row.Value)
	}
	for _, v := range replica.Verify(ctx) {
		if v.Outcome != client.Equal {
			return fmt.Errorf("%s: partition %d at %d is %s: %s (%w)", who, v.Partition, v.At, v.Outcome, v.Reason, errors.Join(v.Err))
		}
	}
	return d.report.add(ctx, d.repo, who, at, rows)
}

// stateAt reads the state at an offset from the state plane.
func (d *demo) stateAt(ctx context.Context, offset int64) (map[string]string, error) {
	rows := map[string]string{}
	request := &state.ScanRequest{Topic: demoTopic, At: &state.At{Point: &state.At_Offset{Offset: offset}}}
	err := scanRows(ctx, d.rows, request, func(r *state.Row) error {
		rows[string(r.Key)] = string(r.Value)
		return nil
	})
	return rows, err
}

// consume folds what a plain Kafka consumer gets from earliest up to an offset, as any program would: last value wins, null
// deletes.
func (d *demo) consume(ctx context.Context, end int64) (map[string]string, int, error) {
	consumer, err := kgo.NewClient(kgo.SeedBrokers(d.kafka), kgo.ConsumeTopics(demoTopic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		return nil, 0, err
	}
	defer consumer.Close()
	rows, records := map[string]string{}, 0
	for next := int64(0); next < end; {
		fetches := consumer.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return nil, records, err
		}
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			if next = r.Offset + 1; r.Offset >= end {
				break
			}
			records++
			if r.Value == nil {
				delete(rows, string(r.Key))
			} else {
				rows[string(r.Key)] = string(r.Value)
			}
		}
	}
	return rows, records, nil
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/bootstrap"
	"github.com/keyframelog/keyframe/bench/compare"
	"github.com/keyframelog/keyframe/bench/produce"
	"github.com/keyframelog/keyframe/bench/result"
	"github.com/keyframelog/keyframe/bench/resync"
	"github.com/keyframelog/keyframe/bench/target"
)

const (
	// jetstreamDir is a module of its own.
	jetstreamDir = "bench/peers/nats"
	// dropMax is how long an interrupted run has to remove what it has made.
	dropMax = time.Minute
)

// jetstream is a workload of NATS JetStream's key-value store: a program that starts its server itself, and prints a result.
type jetstream struct {
	program string
	dir     string // for what it needs files for
	args    []string
}

// Run implements bench.Workload; the target is not looked at.
func (j jetstream) Run(ctx context.Context, _ *target.Target, _ bench.Progress) (*result.Result, error) {
	cmd := exec.CommandContext(ctx, j.program, j.args...)
	cmd.Env, cmd.Stderr = append(os.Environ(), "TMPDIR="+j.dir), os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = dropMax
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %v: %w", filepath.Base(j.program), j.args, err)
	}
	r := &result.Result{}
	if err := json.Unmarshal(out, r); err != nil {
		return nil, fmt.Errorf("%s %v printed no result: %w", filepath.Base(j.program), j.args, err)
	}
	return r, nil
}

// compareJetstream runs a row of it, whose server runs while it is its turn.
func (s *servers) compareJetstream(ctx context.Context, r row, theirs jetstream, pairs int) (*compare.Comparison, error) {
	if err := s.stopKafka(); err != nil {
		return nil, err
	}
	ours, err := s.keyframe(ctx)
	if err != nil {
		return nil, err
	}
	theirs.dir, theirs.program = s.dir, filepath.Join(s.dir, "nats")
	build := exec.CommandContext(ctx, "go", "build", "-C", jetstreamDir, "-o", theirs.program, ".")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build %s: %w: %s", jetstreamDir, err, out)
	}
	fmt.Fprintf(os.Stderr, "%s: %d pairs\n", r.name, pairs)
	return compare.Run(ctx, compare.Side{Target: ours, Workload: r.ours},
		compare.Side{Target: &target.Target{Config: target.Config{Name: "jetstream-kv"}}, Workload: theirs}, pairs, bench.Silent)
}

// jetstreamRows are the state workloads beside it: a million keys of 100 B.
func jetstreamRows() []row {
	put := produce.DefaultConfig()
	put.Topic = put.Compacted()
	put.Keys, put.ValueBytes, put.Settle = 1_000_000, 100, true
	state := bootstrap.DefaultConfig()
	state.Updates, state.Cut = []int64{1_000_000, 10_000_000}, true
	away := resync.DefaultConfig()
	away.Updates, away.Configs, away.Settle = 5_000_000, trimmed(), true
	puts := func(more ...string) jetstream {
		return jetstream{args: append([]string{"produce", "--duration", put.Duration.String(), "--settle"}, more...)}
	}
	return []row{
		{
			name: "jetstream-put", title: "keyed puts of 100 B, 1 M keys; JetStream KV page cache, we fsync", ours: put, theirs: puts(),
			aims: []aim{{"records", 5}, {"settled throughput", 0}, {"broker CPU", 0}},
		},
		{
			name: "jetstream-put-fsync", title: "the same, both fsync", ours: put, theirs: puts("--sync", "always"),
			aims: []aim{{"records", 5}, {"settled throughput", 0}},
		},
		{
			name: "jetstream-bootstrap", title: "bootstrap of 1 M keys of 100 B, verified, in memory; JetStream KV, the faster of WatchAll and an ordered consumer",
			ours: state, theirs: jetstream{args: []string{"bootstrap", "--updates", "1000000,10000000"}},
			aims: []aim{{"bootstrap", 5}, {"received", 0}, {"records read", 0}, {"while writing, broker CPU", 0}},
		},
		{
			name: "jetstream-resync", title: "resync after 20 k of 1 M keys changed among 5 M updates; JetStream KV, the same",
			ours: away, theirs: jetstream{args: []string{"resync", "--updates", "5000000"}},
			aims: []aim{{"resync", 0}, {"received", 0}, {"records read", 0}},
		},
	}
}

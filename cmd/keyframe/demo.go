package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/bench/githistory"
	"github.com/keyframelog/keyframe/broker"
	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
)

// demoTopic maps a path to "mode id".
const demoTopic = "files"

// demoStops is at how many commits on the way the states are compared, besides the head.
const demoStops = 5

type demoFlags struct {
	git        string
	maxCommits int
}

func newDemoCommand() *cobra.Command {
	var flags demoFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Replay a Git history through a broker of its own, and check every copy against Git",
		Long: `Starts a broker in a temporary directory, produces the history of a Git repository as deltas (key = path, value = mode and blob
id, a deletion = a tombstone), cuts key frames, bootstraps replicas, and compares with what git ls-tree prints: at the head and at
five commits on the way. In the end a short fault drill breaks what replicas are told (keyframe drill drift). Leaves nothing behind.`,
		Args: arguments(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if flags.maxCommits < 0 {
				return fmt.Errorf("--max-commits %d: write a number of commits, or 0 for the whole history", flags.maxCommits)
			}
			ctx, out, stop := whileRead(cmd.Context(), cmd.OutOrStdout())
			defer stop()
			return out.ended(cmd.Context(), runDemo(ctx, out, flags))
		},
	}
	cmd.Flags().StringVar(&flags.git, "git", ".", "repository whose history is read")
	must(cmd.MarkFlagDirname("git"))
	cmd.Flags().IntVar(&flags.maxCommits, "max-commits", 0, "stop after this many commits (0: the whole history)")
	return cmd
}

// demo is one run: a broker, the history, and what is compared.
type demo struct {
	out    io.Writer
	screen io.Writer // what the progress bar is drawn on
	repo   *githistory.Repo
	kafka  string // address
	state  string // URL
	rows   stateconnect.StateServiceClient
	report comparison
}

func runDemo(ctx context.Context, out *demoOutput, flags demoFlags) (err error) {
	began := time.Now()
	repo, err := githistory.Open(ctx, flags.git)
	if err != nil {
		return fmt.Errorf("%w\n  --git PATH (make demo GIT=PATH) reads another repository", err)
	}
	commits, err := repo.Count(ctx)
	if err != nil {
		return err
	}
	if flags.maxCommits > 0 {
		commits = min(commits, flags.maxCommits)
	}
	path, _ := filepath.Abs(flags.git)
	if err := requireChanges(ctx, repo, commits, path); err != nil {
		return err
	}
	fmt.Fprintf(out, "keyframe demo: %d commits of %s as a key-framed topic, checked against git ls-tree\n\n", commits, path)

	dir, err := os.MkdirTemp("", "keyframe-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	node, err := startDemoBroker(ctx, filepath.Join(dir, "data"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	say(out, "broker", "started in %s on %s, data in a temporary directory", since(began), node.KafkaAddr())

	d := &demo{out: out, screen: out.to, repo: repo, kafka: node.KafkaAddr().String(), state: "http://" + node.StateAddr().String()}
	d.rows = demoStateClient(d.state)
	if err := d.run(ctx, commits, filepath.Join(dir, "replica")); err != nil {
		return err
	}
	if err := demoDrill(ctx, out, dir); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nall equal, in %s\n", since(began))
	return nil
}

// requireChanges refuses a history that makes no delta: it would have neither a frame nor a state to compare.
func requireChanges(ctx context.Context, repo *githistory.Repo, commits int, path string) error {
	left := commits
	for commit, err := range repo.Commits(ctx) {
		if err != nil {
			return err
		}
		if len(commit.Changes) > 0 {
			return nil
		}
		if left--; left <= 0 {
			break
		}
	}
	return fmt.Errorf("nothing to replay: %d commit(s) of %s change no file\n  --git PATH (make demo GIT=PATH) reads another repository", commits, path)
}

func startDemoBroker(ctx context.Context, dir string) (*broker.Broker, error) {
	cfg := broker.DefaultConfig()
	cfg.DataDir = dir
	cfg.KafkaAddr, cfg.StateAddr = "127.0.0.1:0", "127.0.0.1:0"
	cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return broker.Start(ctx, cfg)
}

// run is the main job: produce while a replica follows, cut, bootstrap, compare.
func (d *demo) run(ctx context.Context, commits int, replicaDir string) error {
	if err := d.createTopic(ctx, commits); err != nil {
		return err
	}
	follower, err := d.replica(ctx, client.FromEarliest, client.Memory())
	if err != nil {
		return err
	}
	defer follower.Close()
	stops, err := d.produceHistory(ctx, commits, follower)
	if err != nil {
		return err
	}
	head := stops[len(stops)-1]
	if err := d.cutFrame(ctx); err != nil {
		return err
	}
	if err := d.compareHead(ctx, head, replicaDir); err != nil {
		return err
	}
	for _, stop := range stops[:len(stops)-1] {
		if err := d.comparePast(ctx, stop); err != nil {
			return err
		}
	}
	return d.report.print(d.out)
}

// compareHead bootstraps copies in each way that there is, and compares all of them with Git.
func (d *demo) compareHead(ctx context.Context, head stop, replicaDir string) error {
	fmt.Fprintln(d.out)
	for _, copyOf := range []struct {
		name  string
		from  client.From
		store client.Store
	}{
		{"replica from a key frame", client.FromFrame, client.Memory()},
		{"replica from a frame, on disk", client.FromFrame, client.Dir(replicaDir)},
		{"replica from earliest", client.FromEarliest, client.Memory()},
	} {
		began := time.Now()
		replica, err := d.replica(ctx, copyOf.from, copyOf.store)
		if err != nil {
			return err
		}
		err = replica.WaitFor(ctx, 0, head.offset)
		took := time.Since(began)
		if err == nil {
			err = d.compareReplica(ctx, copyOf.name, replica, head)
		}
		if err := errors.Join(err, replica.Close()); err != nil {
			return err
		}
		say(d.out, "replica", "%s: current after %s", copyOf.name, took.Round(time.Millisecond/10))
	}
	began := time.Now()
	consumed, records, err := d.consume(ctx, head.offset)
	if err != nil {
		return err
	}
	say(d.out, "consumer", "plain Kafka consumer: %d records in %s", records, since(began))
	return d.report.add(ctx, d.repo, "plain Kafka consumer", head, consumed)
}

// comparePast reads the state as it was at an earlier commit, from the state plane and as a consumer that stops there.
func (d *demo) comparePast(ctx context.Context, at stop) error {
	began := time.Now()
	rows, err := d.stateAt(ctx, at.offset)
	if err != nil {
		return err
	}
	say(d.out, "time travel", "state at offset %d: %d rows in %s", at.offset, len(rows), since(began))
	if err := d.report.add(ctx, d.repo, "state plane, at the offset", at, rows); err != nil {
		return err
	}
	consumed, _, err := d.consume(ctx, at.offset)
	if err != nil {
		return err
	}
	return d.report.add(ctx, d.repo, "plain Kafka consumer", at, consumed)
}

func (d *demo) replica(ctx context.Context, from client.From, store client.Store) (*client.Replica, error) {
	return client.OpenReplica(ctx, client.Config{
		Brokers: []string{d.kafka}, StateURL: d.state, Topic: demoTopic, From: from, Store: store,
		KafkaOptions: []kgo.Opt{kgo.FetchMaxWait(100 * time.Millisecond)},
	})
}

func say(out io.Writer, what, format string, args ...any) {
	fmt.Fprintf(out, "%-12s %s\n", what, fmt.Sprintf(format, args...))
}

func since(t time.Time) time.Duration { return time.Since(t).Round(time.Millisecond / 10) }

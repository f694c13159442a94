package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/table"
)

func newReplicaCommand() *cobra.Command {
	return group("replica", "Run verified copies of a topic's state, and list those that there are",
		newReplicaRunCommand(), newReplicaListCommand(), newReplicaSettleCommand())
}

type replicaFlags struct {
	dir      string
	name     string
	from     string
	policy   string
	exit     bool
	timeout  time.Duration
	interval time.Duration
}

func newReplicaRunCommand() *cobra.Command {
	var flags replicaFlags
	cmd := &cobra.Command{
		Use:   "run TOPIC",
		Short: "Follow a topic into memory or a directory, and print position, digest and verdicts",
		Long: `Bootstraps from the newest key frame, follows the log, and compares its digest with the log's at every key frame. A directory
keeps rows, position and digest in one commit, so that the next run goes on where this one ended. Keys that differ from the log's are
named, each of them with the hash of its row here and in the log, and made what the log has; they stay as they are where replicas agree
with one another and not with the broker, until somebody has settled who is right (keyframe replica list). With --on-drift halt a partition that differs
is no longer followed, and the command ends once every other one has been compared at each key frame that is known by then; all keys that differ are named.

A copy that lies so far back that the log no longer knows what was deleted since is replaced by the newest key frame, and whether it differed is not known
any more. It is not, and the command fails, while replicas agree with one another and not with the broker; and with --on-drift halt, where it halted
before because the copy differed: another --on-drift, or keyframe repair, replaces it.

Where a directory's tables are damaged beyond that, DIR/table is set aside as DIR/table.damaged (one is kept), and what
cannot be read of it is loaded from a key frame; with --on-drift report or halt they are left as they are, and that is the error.

It runs until it is interrupted; --exit ends it when it has reached the end that the topic had at the start, has hashed all of its rows anew (about half a
second for a million of them) and has verified itself there, and fails if that takes longer than --timeout. The exit status is 1 unless every verdict at the
end is "equal".`,
		Example: `  keyframe replica run users
  keyframe replica run users --dir ./users-replica --exit`,
		Args:              arguments("TOPIC"),
		ValidArgsFunction: completeTopic,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			return runReplica(cmd, c, args[0], flags)
		},
	}
	cmd.Flags().StringVar(&flags.dir, "dir", "", "keep the copy in this directory (default: in memory)")
	cmd.Flags().StringVar(&flags.name, "name", "", "what the replica is called in keyframe replica list (default: of host and process, or as in --dir)")
	cmd.Flags().StringVar(&flags.from, "from", "frame", "start a new copy from the newest key frame, or from earliest")
	cmd.Flags().StringVar(&flags.policy, "on-drift", "repair", "what becomes of keys that differ, once they are named: repair them, report and go on, halt and leave the copy as it is, or rebootstrap from a key frame")
	cmd.Flags().BoolVarP(&flags.exit, "exit", "e", false, "stop at the end, after verifying")
	cmd.Flags().DurationVar(&flags.timeout, "timeout", 5*time.Minute, "with --exit: fail after this long")
	cmd.Flags().DurationVar(&flags.interval, "interval", 10*time.Second, "how often the position is printed while following")
	completeFlag(cmd, "from", "frame", "earliest")
	completeFlag(cmd, "on-drift", "repair", "report", "halt", "rebootstrap")
	must(cmd.MarkFlagDirname("dir"))
	addSettings(cmd, "brokers", "state-url")
	return cmd
}

func (f replicaFlags) config(c *config, topic string, log *replicaLog) (client.Config, error) {
	cfg := client.Config{
		Brokers: brokerList(c), StateURL: c.str("state-url"), Topic: topic, Name: f.name, Store: client.Memory(),
		OnVerdict: log.verdict, OnEvent: log.event, OnDifference: log.difference, KafkaOptions: []kgo.Opt{kgo.WithHooks(log)},
	}
	if f.interval <= 0 || f.timeout <= 0 {
		return cfg, fmt.Errorf("--interval %s, --timeout %s: both must be longer than nothing", f.interval, f.timeout)
	}
	if f.dir != "" {
		cfg.Store = client.Dir(f.dir)
	}
	switch f.from {
	case "frame":
		cfg.From = client.FromFrame
	case "earliest":
		cfg.From = client.FromEarliest
	default:
		return cfg, fmt.Errorf("--from %q: use frame or earliest", f.from)
	}
	switch f.policy {
	case "repair":
		cfg.OnDrift = client.Repair
	case "report":
		cfg.OnDrift = client.Report
	case "halt":
		cfg.OnDrift = client.Halt
	case "rebootstrap":
		cfg.OnDrift = client.Rebootstrap
	default:
		return cfg, fmt.Errorf("--on-drift %q: use repair, report, halt or rebootstrap", f.policy)
	}
	return cfg, nil
}

func runReplica(cmd *cobra.Command, c *config, topic string, flags replicaFlags) error {
	ctx := cmd.Context()
	log := newReplicaLog(replicaLines{cmd.OutOrStdout()}, flags.policy != "report")
	cfg, err := flags.config(c, topic, log)
	if err != nil {
		return err
	}
	if flags.exit {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, flags.timeout)
		defer cancel()
	}
	ends, err := endOffsets(ctx, c, "replicate", topic)
	if err != nil {
		return err
	}
	if _, err := askPlane(ctx, stateClient(c), topic); err != nil {
		return fmt.Errorf("replicate topic %s: %w", topic, stateError(c, err))
	}
	var reopened time.Time
	for {
		began := time.Now()
		replica, err := client.OpenReplica(ctx, cfg)
		if err != nil {
			return flags.ended(cmd.Context(), ctx, topic, adviseDir(flags.dir, err))
		}
		err = followReplica(ctx, replica, ends, flags, log, began)
		closing := replica.Close()
		if flags.reopens(err) && ctx.Err() == nil && time.Since(reopened) >= reopenEvery {
			reopened = time.Now()
			log.reopened()
			continue
		}
		if errors.Is(err, client.ErrCorrupt) {
			closing = nil // it commits what was applied, and says the same
		}
		return errors.Join(flags.ended(cmd.Context(), ctx, topic, adviseDir(flags.dir, err)), adviseDir(flags.dir, closing))
	}
}

// reopenEvery is how often a directory is opened again at most: what opening has not mended, doing so at once does not either.
const reopenEvery = time.Minute

// reopens tells whether opening the directory again mends what has ended following.
func (f replicaFlags) reopens(err error) bool {
	return errors.Is(err, client.ErrReopen) && (f.policy == "repair" || f.policy == "rebootstrap")
}

// ended tells an interruption, which is the normal way to end following, and the end of --timeout from a failure.
func (f replicaFlags) ended(command, bounded context.Context, topic string, err error) error {
	var refused *client.ReplaceRefusedError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return adviseRefused(topic, f.dir, err)
	case command.Err() != nil && f.exit:
		return command.Err()
	case command.Err() != nil:
		return nil
	case errors.Is(err, client.ErrDisputed):
		return fmt.Errorf("%w\n  Nothing is repaired from it until that is settled: keyframe replica list %s says how", err, topic)
	case errors.Is(err, client.ErrDrifted):
		return fmt.Errorf("%w\n  With --on-drift repair, the default, the keys that differ are made what the log has, unless keyframe replica list %s says\n"+
			"  that they are disputed", err, topic)
	case bounded.Err() != nil:
		return fmt.Errorf("not verified within %s (--timeout): %w", f.timeout, err)
	}
	return err
}

// adviseRefused says what to do about a copy that stays as it is where the log has only a key frame for it.
func adviseRefused(topic, dir string, err error) error {
	if errors.Is(err, client.ErrDisputed) {
		return fmt.Errorf("%w\n  To go on: keyframe replica list %s says how to settle that. To give the copy up: remove %s", err, topic, cmp.Or(dir, "it"))
	}
	return fmt.Errorf("%w\n  To go on: keyframe repair %s --dir %s, or another --on-drift, has the key frame take its place", err, topic, cmp.Or(dir, "DIR"))
}

// adviseDir says what to do about a directory that is damaged: not what to do about a broker's, which is the only copy there is.
func adviseDir(dir string, err error) error {
	var damaged *damage.Error
	if dir == "" || !errors.As(err, &damaged) {
		return err
	}
	var stopped *client.PartitionError
	switch corrupt := errors.Is(err, client.ErrCorrupt) || errors.Is(err, table.ErrCorrupt); {
	case corrupt && errors.As(err, &stopped) && !errors.Is(err, client.ErrReopen): // the rest can be read
		return fmt.Errorf("%v\n  To go on: run it again: with --on-drift repair, the default, the rows that are damaged are fetched again", err)
	case corrupt:
		return fmt.Errorf("%v\n  To go on: run it again: with --on-drift repair, the default, %s is set aside as %s.damaged, and the copy is loaded anew from a key frame", err,
			filepath.Join(dir, "table"), filepath.Join(dir, "table"))
	}
	return fmt.Errorf("%v\n  To go on: remove %s, or choose another directory; the copy is loaded anew from a key frame", err, dir)
}

func endOffsets(ctx context.Context, c *config, do, topic string) (map[int32]int64, error) {
	ends := map[int32]int64{}
	err := withAdmin(ctx, c, func(admin *kadm.Client) error {
		listed, err := admin.ListEndOffsets(ctx, topic)
		if err := errors.Join(err, listed.Error()); err != nil {
			return err
		}
		listed.Each(func(o kadm.ListedOffset) { ends[o.Partition] = o.Offset })
		return nil
	})
	return ends, topicError(do, topic, err, "")
}

func followReplica(ctx context.Context, replica *client.Replica, ends map[int32]int64, flags replicaFlags, log *replicaLog, began time.Time) error {
	if err := waitForEnds(ctx, replica, ends); err != nil {
		return err
	}
	log.printf("current after %s", time.Since(began).Round(time.Millisecond))
	if flags.exit {
		log.positions(replica)
		return proveNow(ctx, replica, ends, log)
	}
	ticker := time.NewTicker(flags.interval)
	defer ticker.Stop()
	for {
		log.positions(replica)
		select {
		case <-ctx.Done():
			return nil
		case <-log.stopped:
			return replica.Err()
		case <-ticker.C:
		}
	}
}

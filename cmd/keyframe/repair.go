package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/client"
)

type repairFlags struct {
	dir     string
	dryRun  bool
	timeout time.Duration
	asJSON  bool
}

func newRepairCommand() *cobra.Command {
	var flags repairFlags
	cmd := &cobra.Command{
		Use:   "repair TOPIC --dir DIR",
		Short: "Make the copy in a replica's directory what the log has, at the cost of the difference",
		Long: `Opens the directory of a replica that is not running, hashes the stored rows anew, follows the log to the end that it has now, and fetches the
rows of the keys that differ; rows that disk or memory has changed are found and fetched as well. Each key that is put right is printed as keyframe
verify prints it, then what it cost; at the end the copy is proved equal to the log.

Where replicas agree with one another and not with the broker (keyframe replica list), or its rows are damaged, nothing is repaired from it: the keys are
printed, and the copy stays as it is. So it does where it lies so far back that the log has only a whole key frame for it; which of its keys differ is not known
then, and the exit status is 2. Else that key frame takes its place, also where the copy is of a replica that has halted.

Where the tables are damaged beyond that, DIR/table is set aside as DIR/table.damaged (one is kept), and a key frame is loaded of each partition of which
not all rows can be read from there.

--dry-run changes nothing: it is keyframe verify, with what a repair would cost beside a whole key frame.

The exit status is 0 if the copy is equal to the log (with --dry-run: was), 1 if it differs, 2 for trouble.`,
		Example: `  keyframe repair users --dir ./users-replica --dry-run
  keyframe repair users --dir ./users-replica`,
		Args:              arguments("TOPIC"),
		ValidArgsFunction: completeTopic,
		Annotations:       map[string]string{troubleAnnotation: ""},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(cmd)
			switch {
			case err != nil:
				return err
			case flags.dir == "":
				return errors.New("--dir is missing: name the directory of a replica")
			case flags.timeout <= 0:
				return fmt.Errorf("--timeout %s: it must be longer than nothing", flags.timeout)
			case flags.dryRun:
				return verifyDir(cmd, c, args[0], flags.dir, flags.asJSON, true)
			}
			return repairDir(cmd, c, args[0], flags)
		},
	}
	cmd.Flags().StringVar(&flags.dir, "dir", "", "the directory of a replica that is not running")
	cmd.Flags().BoolVar(&flags.dryRun, "dry-run", false, "print what differs and what a repair would cost, and change nothing")
	cmd.Flags().DurationVar(&flags.timeout, "timeout", 5*time.Minute, "fail after this long")
	cmd.Flags().BoolVar(&flags.asJSON, "json", false, "one JSON object a line: short for --format jsonl")
	must(cmd.MarkFlagDirname("dir"))
	addSettings(cmd, "brokers", "state-url", "format")
	return cmd
}

func repairDir(cmd *cobra.Command, c *config, topic string, flags repairFlags) error {
	p, err := newDifferPrinter(cmd, c, flags.asJSON, differSides{here: flags.dir, log: topic})
	if err != nil {
		return err
	}
	log := newReplicaLog(flushed{p}, true)
	log.brief = true
	cfg := client.Config{
		Brokers: brokerList(c), StateURL: c.str("state-url"), Topic: topic, Store: client.Dir(flags.dir), OnDrift: client.Repair, ScrubRate: -1,
		OnVerdict: log.verdict, OnEvent: log.event, OnDifference: log.difference, KafkaOptions: []kgo.Opt{kgo.WithHooks(log)},
	}
	if err := client.CheckDir(cfg); err != nil { // before anything is created
		return adviseCopy(topic, flags.dir, err)
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), flags.timeout)
	defer cancel()
	err = repairNow(ctx, c, cfg, log)
	verdict := client.Equal
	var refused *client.ReplaceRefusedError
	switch {
	case errors.As(err, &refused):
		return errors.Join(adviseRefused(topic, flags.dir, err), p.flush())
	case err != nil && cmd.Context().Err() != nil:
		return errors.Join(cmd.Context().Err(), p.flush())
	case err != nil && ctx.Err() != nil:
		return errors.Join(fmt.Errorf("not repaired within %s (--timeout): %w", flags.timeout, err), p.flush())
	case errors.Is(err, errNotEqual):
		verdict = client.Drifted
	case err != nil:
		return errors.Join(adviseCopy(topic, flags.dir, err), p.flush())
	}
	if err := p.close([]string{"verdict"}, verdict.String()); err != nil {
		return err
	}
	if text := repairSummary(p, log); p.text != nil && text != "" {
		if p.keys() > 0 && verdict != client.Equal {
			text += "; where that is not said to be repaired, the copy is as it was"
		}
		fmt.Fprintln(cmd.ErrOrStderr(), text)
	}
	if verdict != client.Equal {
		fmt.Fprintln(cmd.ErrOrStderr(), err)
		return exitError(1)
	}
	return nil
}

// repairSummary says what became of the copy; "": it was as it is.
func repairSummary(p *differPrinter, log *replicaLog) string {
	anew, mended := log.tally()
	switch {
	case p.keys() > 0:
		return p.summary() + " in the copy"
	case anew > 0:
		return fmt.Sprintf("%d partition(s) of the copy were loaded anew", anew)
	case mended:
		return "no key was changed in the copy"
	}
	return ""
}

// repairNow brings a copy to the end that the log has now, and puts right on the way and there what differs.
func repairNow(ctx context.Context, c *config, cfg client.Config, log *replicaLog) (err error) {
	ends, err := endOffsets(ctx, c, "repair a copy of", cfg.Topic)
	if err != nil {
		return err
	}
	if _, err := askPlane(ctx, stateClient(c), cfg.Topic); err != nil {
		return fmt.Errorf("repair a copy of topic %s: %w", cfg.Topic, stateError(c, err))
	}
	replica, err := client.OpenReplica(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, replica.Close()) }()
	if err := waitForEnds(ctx, replica, ends); err != nil {
		return err
	}
	return proveNow(ctx, replica, ends, log)
}

// flushed prints at once: what comes next may take a while.
type flushed struct{ *differPrinter }

func (f flushed) fact(text string, columns []string, values ...any) error {
	return errors.Join(f.differPrinter.fact(text, columns, values...), f.flush())
}

func (f flushed) key(d client.Difference) error {
	return errors.Join(f.differPrinter.key(d), f.flush())
}

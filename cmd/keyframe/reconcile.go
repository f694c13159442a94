package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/client/reconcile"
)

type reconcileFlags struct {
	source          sourceFlags
	at              string
	dryRun          bool
	allowEmpty      bool
	transactionalID string
	timeout         time.Duration
	asJSON          bool
}

func newReconcileCommand() *cobra.Command {
	var flags reconcileFlags
	cmd := &cobra.Command{
		Use:   "reconcile TOPIC [FILE]",
		Short: "Make a topic's state that of a dump: write the keys that differ, and no others",
		Long: `Reads all rows of a source's state, from FILE or standard input, compares them with the topic at a cut that is made before the first line is read,
and writes what differs as deltas: a put for each key that the topic lacks or has with another value, a delete for each that the dump does not have.
It prints each such key: + the topic gets it, - it loses it, ~ its value changes; behind the key stand the hashes of the rows. Done again, it writes nothing.

` + sourceLong + `

` + atLong + ` Done again with the same cut it finds its own
deltas.

Where a transaction is open it waits for its end, up to two minutes. Where it fails midway it says how many deltas were written; done again, it writes
the others.

The exit status is 0 if the topic's state is that of the dump now, 1 if others have changed it since the cut, 2 for trouble, such as a topic that could
not be compared; with --dry-run 0 if it is that of the dump, 1 if something differs or was written since the cut.`,
		Example: `  psql -Atc "select id, row_to_json(u) from users u" -F $'\t' | keyframe reconcile users --dry-run
  keyframe state scan users --format jsonl | keyframe reconcile users-copy`,
		Args:              sourceArguments,
		ValidArgsFunction: completeTopic,
		Annotations:       map[string]string{troubleAnnotation: ""},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			if flags.timeout <= 0 {
				return fmt.Errorf("--timeout %s: it must be longer than nothing", flags.timeout)
			}
			source, err := openSource(cmd, fileArgument(args), flags.source)
			if err != nil {
				return err
			}
			return errors.Join(reconcileSource(cmd, c, args[0], source, flags), source.close())
		},
	}
	flags.source.addFlags(cmd)
	cmd.Flags().BoolVar(&flags.dryRun, "dry-run", false, "print what differs, and write nothing")
	addCutFlag(cmd, &flags.at)
	cmd.Flags().BoolVar(&flags.allowEmpty, "allow-empty", false, "a dump without rows deletes everything")
	cmd.Flags().StringVar(&flags.transactionalID, "transactional-id", "", "write everything in one transaction under this id: all or nothing")
	cmd.Flags().DurationVar(&flags.timeout, "timeout", time.Minute, "give up when nothing came of the broker for this long")
	cmd.Flags().BoolVar(&flags.asJSON, "json", false, "one JSON object a line: short for --format jsonl")
	addSettings(cmd, "brokers", "state-url", "format")
	return cmd
}

// sourceArguments are TOPIC [FILE].
func sourceArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 2 {
		return nil
	}
	return arguments("TOPIC")(cmd, args)
}

func fileArgument(args []string) string {
	if len(args) > 1 {
		return args[1]
	}
	return ""
}

func reconcileSource(cmd *cobra.Command, c *config, topic string, source *sourceFile, flags reconcileFlags) error {
	at, err := sourcePoint(cmd, c, flags.at)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(cmd.Context())
	defer cancel(nil)
	quiet := newSilence(silenceTold, flags.timeout, cmd.ErrOrStderr(), cancel)
	defer quiet.stop()
	by := &http.Client{Transport: quiet.over(http.DefaultTransport)}
	report := &sourceReport{cmd: cmd, c: c, asJSON: flags.asJSON, topic: topic, source: source.name, named: true, toHere: true}
	if flags.dryRun {
		err := report.compare(ctx, by, source, at)
		return cmp.Or(quiet.stop(), err)
	}
	producer, err := newProducer(ctx, c, topic, by)
	if err != nil {
		return err
	}
	defer producer.Close()
	done, err := producer.PublishState(ctx, source.rows(), client.PublishOptions{
		At: at, AllowEmpty: flags.allowEmpty, TransactionalID: flags.transactionalID,
		OnCompared: report.compared, OnDifference: report.differs, OnMoved: report.moves,
		OnWritten: func(written, all int64) { report.writes(quiet, written, all) },
		Logger:    slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err == nil {
		report.wrote = true
		status := report.end(done)
		if done.Verdict == client.Inconclusive { // because it was interrupted?
			return cmp.Or(cmd.Context().Err(), status)
		}
		return status
	}
	if report.p != nil {
		done.Verdict, done.Reason = client.Inconclusive, "nothing was written"
		if report.wrote {
			done.Reason = "not all of it was written: do it again"
		}
		_ = report.end(done) // which is a status; the error is another one
	}
	return cmp.Or(quiet.stop(), reconcileError(c, topic, err))
}

// writes is told how many deltas are written. What differs is printed by then, however this ends.
func (r *sourceReport) writes(quiet *silence, written, all int64) {
	switch written {
	case 0:
		r.wrote, r.err = true, r.flush()
		quiet.wait(1)
	case all:
		quiet.wait(-1)
	default:
		quiet.wait(0)
	}
}

// newProducer connects a producer that compares with the log.
func newProducer(ctx context.Context, c *config, topic string, by *http.Client) (*client.Producer, error) {
	probe, err := kafkaClient(ctx, c) // says where nothing answers
	if err != nil {
		return nil, err
	}
	probe.Close()
	p, err := client.NewProducer(ctx, client.ProducerConfig{
		Brokers: brokerList(c), Topic: topic, StateURL: c.str("state-url"), HTTPClient: by, Options: []kgo.Opt{
			kgo.ClientID("keyframe"), kgo.RetryTimeout(30 * time.Second),
		},
	})
	var code *kerr.Error
	if errors.As(err, &code) {
		return nil, topicError("reconcile", topic, code, "")
	}
	return p, err
}

// reconcileError says what to do about what a comparison fails with.
func reconcileError(c *config, topic string, err error) error {
	var twice *reconcile.DuplicateKeyError
	var large *client.RowTooLargeError
	switch {
	case errors.As(err, &large):
		return fmt.Errorf("%w\n  Nothing was written. keyframe topic alter %s --topic-config max.message.bytes=%d makes it admit them", err, topic, large.Bytes)
	case errors.Is(err, client.ErrEmptySource):
		return fmt.Errorf("%w\n  Nothing was written. If that is meant: --allow-empty", err)
	case errors.Is(err, reconcile.ErrNotACut):
		return fmt.Errorf("%w\n  keyframe frames list %s shows those that are kept; keyframe frames cut %s makes one, before the dump is taken", err, topic, topic)
	case errors.Is(err, reconcile.ErrTooOld):
		return fmt.Errorf("%w\n  Make a cut (keyframe frames cut %s), then take another dump", err, topic)
	case errors.Is(err, reconcile.ErrSourceChanged), errors.As(err, &twice):
		return fmt.Errorf("%w\n  Nothing was changed. Take a dump of one moment", err)
	case errors.Is(err, reconcile.ErrOpenTransaction):
		return fmt.Errorf("%w\n  Nothing was written. keyframe reconcile %s --dry-run compares all the same; Kafka's kafka-transactions.sh find-hanging names the transaction", err, topic)
	}
	return stateError(c, err)
}

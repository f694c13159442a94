package broker

import (
	"context"
	"fmt"
	"iter"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/client/reconcile"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/state"
)

// Rows of a source are full values, whatever the fold: documents in any spelling are equal to those that the topic has of them, and what differs is put.
func TestPublishStateOfEachFold(t *testing.T) {
	b := startBroker(t)
	for fold, x := range map[string]struct {
		before, source, after map[string]string
		written               int64
	}{
		"counter": {
			map[string]string{"a": "5", "b": "7", "c": "1"}, map[string]string{"a": "5", "b": "-8", "d": "3"},
			map[string]string{"a": "5", "b": "-8", "d": "3"}, 3,
		},
		"json-merge-patch": {
			map[string]string{"a": `{"x":1,"y":[2]}`, "b": `{"x":1,"z":2}`, "c": `"gone"`},
			map[string]string{"a": "{ \"y\": [2.0], \"x\": 1e0 }", "b": `{"x": 1}`, "d": `{"n": null}`},
			map[string]string{"a": `{"x":1,"y":[2]}`, "b": `{"x":1}`, "d": `{"n":null}`}, 3,
		},
		"debezium": {
			map[string]string{"a": `{"id":1,"name":"x"}`, "b": `{"id":2}`}, map[string]string{"a": `{"name": "x", "id": 1}`, "b": `{"id": 2, "name": "y"}`},
			map[string]string{"a": `{"id":1,"name":"x"}`, "b": `{"id":2,"name":"y"}`}, 1,
		},
	} {
		t.Run(fold, func(t *testing.T) {
			s := b.sourced(t, fold, fold, 1)
			for key, value := range x.before {
				s.write(0, key, value)
			}
			done, err := s.p.PublishState(s.ctx, sourceOf(x.source), client.PublishOptions{})
			require.NoError(t, err)
			require.Equal(t, client.Equal, done.Verdict, done.Reason)
			require.Equal(t, x.written, done.Written)
			require.Equal(t, x.after, s.state())
			again, err := s.p.PublishState(s.ctx, sourceOf(x.source), client.PublishOptions{})
			require.NoError(t, err)
			require.Zero(t, again.Written)
		})
	}
}

// onFirst runs once, when the first record was acknowledged and whoever waits for it does not know yet.
type onFirst struct {
	once sync.Once
	do   func()
}

func (h *onFirst) OnProduceRecordUnbuffered(*kgo.Record, error) { h.once.Do(h.do) }

// many rows, so that they are written in many batches.
func many(value string) map[string]string {
	rows := map[string]string{}
	for i := range 300 {
		rows[fmt.Sprintf("key-%03d", i)] = value + strconv.Itoa(i)
	}
	return rows
}

// In a transaction all of a source is written or nothing: before it commits readers of committed records and the state see none of it, then all, and
// where it is given up midway nothing stays.
func TestPublishStateInATransaction(t *testing.T) {
	b := startBroker(t)
	h := &onFirst{}
	s := b.sourced(t, "u", "last-value", 2, kgo.WithHooks(h), kgo.ProducerBatchMaxBytes(1024))
	s.write(0, "old", "1")
	was := s.state()
	admin := kadm.NewClient(s.cl)
	committed := func() (n int64) {
		ends, err := admin.ListCommittedOffsets(s.ctx, "u")
		require.NoError(t, err)
		ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
		return n
	}
	before := committed()

	ctx, giveUp := context.WithCancel(s.ctx)
	h.do = func() {
		require.Greater(t, s.deltas(), before)
		require.Equal(t, before, committed())
		require.Equal(t, was, s.state())
		giveUp()
	}
	opts := client.PublishOptions{TransactionalID: "publisher"}
	_, err := s.p.PublishState(ctx, sourceOf(many("a")), opts)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, was, s.state())
	require.Equal(t, s.deltas(), committed(), "the transaction is still open")

	source := many("b")
	h.once = sync.Once{}
	h.do = func() { require.Equal(t, was, s.state()) }
	done, err := s.p.PublishState(s.ctx, sourceOf(source), opts)
	require.NoError(t, err)
	require.Equal(t, client.Equal, done.Verdict, done.Reason)
	require.EqualValues(t, 301, done.Written)
	require.Equal(t, source, s.state())
	again, err := s.p.PublishState(s.ctx, sourceOf(source), opts)
	require.NoError(t, err)
	require.Zero(t, again.Written)
}

// onCommit runs when the end of a transaction was sent, and not answered yet.
type onCommit struct{ do func() }

func (h onCommit) OnBrokerWrite(_ kgo.BrokerMetadata, key int16, _ int, _, _ time.Duration, _ error) {
	if key == kmsg.EndTxn.Int16() {
		h.do()
	}
}

// Who gives up when the commit is on its way is not told that nothing was written.
func TestPublishStateIsGivenUpWhileItCommits(t *testing.T) {
	b := startBroker(t)
	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	s := b.sourced(t, "u", "last-value", 1, kgo.WithHooks(onCommit{giveUp}))
	_, err := s.p.PublishState(ctx, sourceOf(map[string]string{"a": "1"}), client.PublishOptions{TransactionalID: "publisher"})
	if err == nil {
		return // the answer came before it was heard that nobody waits for it
	}
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "it is not known whether the transaction was committed")
}

// A delta that the log refuses midway is named, and that not all of them were written; in a transaction none is.
func TestPublishStateThatIsRefusedMidway(t *testing.T) {
	b := startBroker(t)
	s := b.sourced(t, "u", "last-value", 1)
	admin := kadm.NewClient(s.cl)
	limit := func(bytes string) {
		_, err := admin.AlterTopicConfigs(s.ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &bytes}}, "u")
		require.NoError(t, err)
	}
	source := sourceOf(map[string]string{"large": strings.Repeat("0123456789abcdef", 64)})
	for _, id := range []string{"", "publisher"} {
		limit("100000")
		_, err := s.p.PublishState(s.ctx, source, client.PublishOptions{TransactionalID: id, OnWritten: func(written, _ int64) {
			if written == 0 {
				limit("80")
			}
		}})
		require.ErrorIs(t, err, kerr.MessageTooLarge)
		require.ErrorContains(t, err, `key "large": `)
		if id != "" {
			require.ErrorContains(t, err, "the transaction was aborted: ")
		}
		require.Empty(t, s.state())
	}
}

// A row of nearly all the bytes that one may have goes alone in its batch, which has more.
func TestPublishStateOfAVeryLargeRow(t *testing.T) {
	b := startBroker(t)
	s := b.sourced(t, "u", "last-value", 1)
	limit := "33554432"
	_, err := kadm.NewClient(s.cl).AlterTopicConfigs(s.ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &limit}}, "u")
	require.NoError(t, err)
	done, err := s.p.PublishState(s.ctx, sourceOf(map[string]string{"a": strings.Repeat("x", fold.RowBytesMax-32)}), client.PublishOptions{})
	require.NoError(t, err)
	require.Equal(t, client.Equal, done.Verdict, done.Reason)
	require.EqualValues(t, 1, done.Written)
}

// A producer whose requests are smaller than what the topic admits is kept to that.
func TestPublishStateInSmallRequests(t *testing.T) {
	b := startBroker(t)
	s := b.sourced(t, "u", "last-value", 1, kgo.BrokerMaxWriteBytes(1<<20))
	source := map[string]string{"a": "1"}
	done, err := s.p.PublishState(s.ctx, sourceOf(source), client.PublishOptions{})
	require.NoError(t, err)
	require.EqualValues(t, 1, done.Written)
	require.Equal(t, source, s.state())
}

// A producer of its own transactions goes on with them: what is published is in one beside them.
func TestPublishStateOfATransactionalProducer(t *testing.T) {
	b := startBroker(t)
	s := b.sourced(t, "u", "last-value", 1, kgo.TransactionalID("own"))
	transact := func(value string) {
		require.NoError(t, s.p.Client().BeginTransaction())
		require.NoError(t, s.p.ProduceSync(s.ctx, s.p.Put([]byte("a"), []byte(value))).FirstErr())
		require.NoError(t, s.p.Client().EndTransaction(s.ctx, kgo.TryCommit))
	}
	transact("1")
	source := map[string]string{"a": "2", "b": "2"}
	done, err := s.p.PublishState(s.ctx, sourceOf(source), client.PublishOptions{})
	require.NoError(t, err)
	require.Equal(t, client.Equal, done.Verdict, done.Reason)
	require.EqualValues(t, 2, done.Written)
	transact("3")
	require.Equal(t, map[string]string{"a": "3", "b": "2"}, s.state())
}

// onLog calls a function for each message that is logged.
type onLog struct {
	slog.Handler
	of func(message string, attrs map[string]string)
}

func (h onLog) Enabled(context.Context, slog.Level) bool { return true }

func (h onLog) Handle(_ context.Context, r slog.Record) error {
	attrs := map[string]string{}
	r.Attrs(func(a slog.Attr) bool {
		attrs[a.Key] = a.Value.String()
		return true
	})
	h.of(r.Message, attrs)
	return nil
}

// What is in a transaction that is open, and what others wrote behind its beginning, is seen once it has ended: that is waited for, and said. Then it is
// newer than the source, and the keys are named: also one of which the source has what the log had.
func TestPublishStateBesideAnOpenTransaction(t *testing.T) {
	b := startBroker(t)
	s := b.sourced(t, "u", "last-value", 1)
	for _, key := range []string{"a", "b", "c", "d"} {
		s.write(0, key, "1")
	}
	other, err := kgo.NewClient(kgo.SeedBrokers(b.KafkaAddr().String()), kgo.TransactionalID("other"))
	require.NoError(t, err)
	defer other.Close()
	require.NoError(t, other.BeginTransaction())
	began := time.Now()
	for _, key := range []string{"a", "d"} {
		require.NoError(t, other.ProduceSync(s.ctx, &kgo.Record{Topic: "u", Key: []byte(key), Value: []byte("within")}).FirstErr())
	}
	s.write(0, "b", "behind")
	source := map[string]string{"a": "2", "b": "2", "c": "2", "d": "1"}

	ctx, giveUp := context.WithCancel(s.ctx)
	var differ []string
	done, err := s.p.PublishState(ctx, sourceOf(source), client.PublishOptions{
		Logger:       slog.New(onLog{of: func(string, map[string]string) { giveUp() }}),
		OnDifference: func(d client.Difference) { differ = append(differ, string(d.Key)) },
	})
	require.ErrorIs(t, err, reconcile.ErrOpenTransaction)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []string{"a", "b", "c"}, differ, "what is known is told")
	require.EqualValues(t, 3, done.Puts)
	require.Zero(t, done.Written)

	waited := 0
	var moved []string
	done, err = s.p.PublishState(s.ctx, sourceOf(source), client.PublishOptions{
		Logger: slog.New(onLog{of: func(message string, attrs map[string]string) {
			require.Contains(t, message, "a transaction is open")
			require.Equal(t, "0", attrs["partition"])
			require.Equal(t, "other", attrs["transactional_id"])
			since, err := time.Parse("2006-01-02 15:04:05.999999999 -0700 MST", attrs["since"])
			require.NoError(t, err)
			require.WithinDuration(t, began, since, time.Minute)
			require.NoError(t, other.EndTransaction(s.ctx, kgo.TryCommit))
			waited++
		}}),
		OnMoved: func(d client.Difference) { moved = append(moved, string(d.Key)) },
	})
	require.NoError(t, err)
	require.Equal(t, 1, waited)
	require.Equal(t, []string{"a", "b", "d"}, moved)
	require.EqualValues(t, 3, done.Moved)
	require.EqualValues(t, 1, done.Written)
	require.Equal(t, client.Drifted, done.Verdict)
	require.Equal(t, "3 keys were written by others since the cut, and left alone", done.Reason)
	require.Equal(t, map[string]string{"a": "within", "b": "behind", "c": "2", "d": "within"}, s.state())
}

// Deltas that were lost before the log, by acks=0 or in a dual write, are found and written, with acks=all, whatever the producer's own acks are; and one
// that comes while the source is read is newer than the source.
func TestPublishStateFindsWhatNeverCame(t *testing.T) {
	b := startBroker(t)
	s := b.sourced(t, "u", "last-value", 3, kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite())
	source := many("v")
	lost := 0
	for key, value := range source {
		if key[len(key)-1] == '7' {
			lost++ // the source has it, and the log was never told
			continue
		}
		s.p.Produce(s.ctx, s.p.Put([]byte(key), []byte(value)), nil)
	}
	s.p.Produce(s.ctx, s.p.Put([]byte("gone"), []byte("x")), nil) // its delete was never told either
	require.NoError(t, s.p.Flush(s.ctx))
	for _, p := range s.topic.Partitions { // acks=0 acknowledges nothing: the records are there when the next with acks=all is
		s.write(p.Index, fmt.Sprintf("last of %d", p.Index), "v")
		source[fmt.Sprintf("last of %d", p.Index)] = "v"
	}
	came := len(source) - lost + 1
	require.Eventually(t, func() bool { return s.deltas() == int64(came) }, guard, guard/6000)

	var named []string
	began := false
	live := func(yield func(client.Row, error) bool) {
		if !began {
			began = true
			s.write(0, "key-007", "live")
		}
		sourceOf(source)(yield)
	}
	done, err := s.p.PublishState(s.ctx, iter.Seq2[client.Row, error](live), client.PublishOptions{
		OnDifference: func(d client.Difference) { named = append(named, string(d.Key)) },
	})
	require.NoError(t, err)
	require.EqualValues(t, lost-1, done.Puts)
	require.EqualValues(t, 1, done.Deletes)
	require.EqualValues(t, 1, done.Moved)
	require.Equal(t, client.Drifted, done.Verdict)
	require.Contains(t, done.Reason, "1 key was written by others")
	require.IsIncreasing(t, named)
	require.Len(t, named, lost)
	source["key-007"] = "live"
	require.Equal(t, source, s.state())
}

// What was the source's at the cut and was written since has moved, and the verdict is the same for who compares, runs dry, or publishes.
func TestPublishStateAtAnEarlierCut(t *testing.T) {
	b := startBroker(t)
	s := b.sourced(t, "u", "last-value", 1)
	s.write(0, "a", "1")
	s.write(0, "b", "2")
	source := map[string]string{"a": "1", "b": "3"}
	first, err := s.p.PublishState(s.ctx, sourceOf(source), client.PublishOptions{DryRun: true})
	require.NoError(t, err)
	point := &state.At{Point: &state.At_Cut{Cut: first.Cut}}
	s.write(0, "a", "9")
	s.write(0, "b", "3")
	var moved []client.Difference
	requireMoved := func(c client.Comparison, err error) {
		t.Helper()
		require.NoError(t, err)
		require.Equal(t, client.Drifted, c.Outcome)
		require.Equal(t, "1 key was written by others since the cut, and left alone", c.Reason)
		require.Zero(t, c.Puts+c.Deletes)
		require.EqualValues(t, 1, c.Moved)
		require.Len(t, moved, 1)
		require.Equal(t, "a", string(moved[0].Key))
		require.EqualValues(t, 4, moved[0].Cut)
		moved = nil
	}
	onMoved := func(d client.Difference) { moved = append(moved, d) }
	requireMoved(client.Compare(s.ctx, client.CompareConfig{
		StateURL: "http://" + b.StateAddr().String(), Topic: "u", At: point, OnMoved: onMoved,
	}, sourceOf(source)))
	for _, dry := range []bool{true, false} {
		done, err := s.p.PublishState(s.ctx, sourceOf(source), client.PublishOptions{At: point, DryRun: dry, OnMoved: onMoved})
		requireMoved(done.Comparison, err)
		require.Equal(t, client.Drifted, done.Verdict)
		require.Zero(t, done.Written)
	}
	s.write(0, "a", "1")
	done, err := s.p.PublishState(s.ctx, sourceOf(source), client.PublishOptions{At: point})
	require.NoError(t, err)
	require.Equal(t, client.Equal, done.Verdict)
	require.Empty(t, done.Reason)
}

// What a dry run finds is what a run writes, and it writes nothing; an empty source deletes only what it is told to.
func TestPublishStateWritesNothingUnasked(t *testing.T) {
	b := startBroker(t)
	s := b.sourced(t, "u", "last-value", 1, kgo.ProducerLinger(time.Minute))
	s.p.Produce(s.ctx, s.p.Put([]byte("a"), []byte("1")), nil) // it is on its way before the source is looked at
	done, err := s.p.PublishState(s.ctx, sourceOf(map[string]string{"a": "1"}), client.PublishOptions{})
	require.NoError(t, err)
	require.Zero(t, done.Written)
	before := s.deltas()
	require.EqualValues(t, 1, before)
	done, err = s.p.PublishState(s.ctx, sourceOf(map[string]string{"a": "2", "b": "1"}), client.PublishOptions{DryRun: true})
	require.NoError(t, err)
	require.EqualValues(t, 2, done.Puts)
	require.Equal(t, client.Drifted, done.Verdict)
	_, err = s.p.PublishState(s.ctx, sourceOf(nil), client.PublishOptions{})
	require.ErrorIs(t, err, client.ErrEmptySource)
	require.Equal(t, before, s.deltas())
	done, err = s.p.PublishState(s.ctx, sourceOf(nil), client.PublishOptions{AllowEmpty: true})
	require.NoError(t, err)
	require.Equal(t, client.Equal, done.Verdict)
	require.Empty(t, s.state())

	alone, err := client.NewProducer(s.ctx, client.ProducerConfig{Brokers: []string{b.KafkaAddr().String()}, Topic: "u"})
	require.NoError(t, err)
	defer alone.Close()
	_, err = alone.PublishState(s.ctx, sourceOf(nil), client.PublishOptions{})
	require.ErrorIs(t, err, client.ErrNoStatePlane)
}

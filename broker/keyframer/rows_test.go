package keyframer_test

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/delta"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/log"
	"github.com/keyframelog/keyframe/storage/table"
)

// rows fetches all rows from an offset, in one answer.
func rows(t *testing.T, n *node, index int32, from int64) []batch.Batch {
	t.Helper()
	b, next := fetch(t, n, index, from, 1<<20)
	require.Equal(t, n.partition(index).Bounds().DeltaStart, next)
	return b
}

func fetch(t *testing.T, n *node, index int32, from int64, maxBytes int) (list []batch.Batch, next int64) {
	t.Helper()
	prefix := []byte("what was there")
	b, next, err := n.partition(index).Rows(context.Background(), from, maxBytes, prefix)
	require.NoError(t, err)
	require.Equal(t, "what was there", string(b[:len(prefix)]))
	for rest := b[len(prefix):]; len(rest) > 0; {
		var one batch.Batch
		one, rest, err = batch.Split(rest)
		require.NoError(t, err)
		require.NoError(t, one.VerifyCRC())
		list = append(list, one)
	}
	return list, next
}

func records(t *testing.T, batches []batch.Batch) (all []batch.Record) {
	t.Helper()
	for _, b := range batches {
		r := batch.NewReader(1 << 20)
		require.NoError(t, r.Reset(b))
		first := true
		for record, err := range r.All() {
			require.NoError(t, err)
			if first {
				require.Equal(t, b.BaseOffset(), record.Offset, "the first record has the batch's base offset")
			}
			first = false
			record.Key, record.Value = append([]byte(nil), record.Key...), clone(record.Value)
			all = append(all, record)
		}
		require.False(t, first, "never an empty batch")
	}
	return all
}

func clone(b []byte) []byte {
	if b == nil {
		return nil
	}
	return append([]byte{}, b...)
}

// trimmed returns a node whose partition 0 was trimmed to its newest frame; the batch after it is there raw.
func trimmed(t *testing.T, kind fold.Kind, s keyframer.Settings, appends func(n *node, l *memlog.Log)) (*node, *memlog.Log) {
	n := newNode(t, keyframer.Config{})
	l := n.add(kind, s, 1)[0]
	appends(n, l)
	n1 := n.cut().Frames[0].Cut
	last := "0"
	l.Append(memlog.Put("last", last))
	n.applied()
	trim(n, l, s, n1)
	return n, l
}

// trim makes the keyframer trim to its newest frame below the last batch.
func trim(n *node, l *memlog.Log, s keyframer.Settings, n1 int64) {
	n.t.Helper()
	s.DeltaRetentionMs = 0
	n.settle(s)
	n.eventually("a trim", func() bool { return l.Bounds().DeltaStart == n1 && cuts(n.table(0))[0] == n1 })
	s.DeltaRetentionMs = -1
	n.settle(s)
}

func TestRowsOfLastValue(t *testing.T) {
	header := batch.Header{Key: "h", Value: []byte("x")}
	n, _ := trimmed(t, fold.LastValue, calm(), func(n *node, l *memlog.Log) {
		l.Append(memlog.Put("a", "1"), memlog.Put("b", "1"), memlog.Put("gone", "1"))   // 0-2
		l.Append(memlog.Put("a", "2"), memlog.Record(0, "c", []byte("3"), header))      // 3-4
		l.Append(memlog.Delete("gone"), memlog.Put("d", ""), memlog.Put("x", "4"))      // 5-7
		l.Append(memlog.Put("x", "5"), memlog.Put("x", "6"), memlog.Put("b", "7"))      // 8-10
		l.Append(memlog.Put("nobody", "1"), memlog.Put("e", "8"), memlog.Put("e", "9")) // 11-13
		l.Append(memlog.Delete("nobody"))                                               // 14
	})
	batches := rows(t, n, 0, 0)
	require.Len(t, batches, 1)
	b := batches[0]
	require.EqualValues(t, 3, b.BaseOffset(), "the first record is the first row at or above the fetch offset")
	require.EqualValues(t, 14, b.LastOffset(), "the last offset is N1 - 1")
	require.EqualValues(t, -1, b.ProducerID())
	require.EqualValues(t, -1, b.ProducerEpoch())
	require.EqualValues(t, -1, b.BaseSequence())
	require.False(t, b.IsTransactional())
	require.False(t, b.IsControl())

	var seen []string
	for _, r := range records(t, batches) {
		require.EqualValues(t, 1_000_000, r.Timestamp, "the record's own timestamp")
		value := "null"
		if r.Value != nil {
			value = fmt.Sprintf("%q", r.Value)
		}
		seen = append(seen, fmt.Sprintf("%d %s=%s %d", r.Offset, r.Key, value, r.Headers.Len()))
	}
	require.Equal(t, []string{
		`3 a="2" 0`, `4 c="3" 1`, `5 gone=null 0`, `6 d="" 0`, `9 x="6" 0`, `10 b="7" 0`, `13 e="9" 0`, `14 nobody=null 0`,
	}, seen)

	require.EqualValues(t, 9, rows(t, n, 0, 7)[0].BaseOffset(), "between rows: the next one")
	require.EqualValues(t, 9, rows(t, n, 0, 9)[0].BaseOffset(), "at a row: that one")
}

// Each answer goes on exactly where the one before it ended, whatever its size.
func TestRowsInSmallAnswers(t *testing.T) {
	n, l := trimmed(t, fold.LastValue, calm(), func(n *node, l *memlog.Log) {
		for i := range 40 {
			l.Append(memlog.Put(fmt.Sprint("k", i%25), fmt.Sprint(i)), memlog.Put("often", fmt.Sprint(i)))
		}
	})
	want := records(t, rows(t, n, 0, 0))
	for _, maxBytes := range []int{0, 1, 200, 300, 1000} {
		var got []batch.Record
		for from := int64(0); from < l.Bounds().DeltaStart; {
			batches, next := fetch(t, n, 0, from, maxBytes)
			require.NotEmpty(t, batches, "at least one batch")
			last := batches[len(batches)-1]
			require.Equal(t, next-1, last.LastOffset(), "last offset = next row - 1")
			size := 0
			for _, b := range batches {
				size += len(b)
			}
			if maxBytes > 200 {
				require.LessOrEqual(t, size, maxBytes)
			}
			got = append(got, records(t, batches)...)
			from = next
		}
		require.Equal(t, want, got)
	}
}

func TestRowsOfFoldsSayPut(t *testing.T) {
	n, _ := trimmed(t, fold.Counter, calm(), func(n *node, l *memlog.Log) {
		l.Append(memlog.Put("a", "1"), memlog.Record(delta.Add, "a", []byte("5"), batch.Header{Key: "h", Value: []byte("x")}))
		l.Append(memlog.Put("b", "1"), memlog.Delete("b"), memlog.Record(delta.Put, "c", []byte("9")))
	})
	var seen []string
	for _, r := range records(t, rows(t, n, 0, 0)) {
		op, _ := r.Headers.Get(delta.HeaderOp)
		seen = append(seen, fmt.Sprintf("%d %s=%s %s %d", r.Offset, r.Key, r.Value, op, r.Headers.Len()))
	}
	require.Equal(t, []string{"1 a=6 put 2", "3 b= delete 1", "4 c=9 put 1"}, seen)
}

func TestRowsSplitOnLeaderEpoch(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	l := n.add(fold.LastValue, calm(), 1)[0]
	l.SetEpoch(3)
	l.Append(memlog.Put("a", "1"), memlog.Put("b", "1"))
	l.SetEpoch(5)
	l.Append(memlog.Put("c", "1"))
	n1 := n.cut().Frames[0].Cut
	l.Append(memlog.Put("last", "1"))
	epochs := map[int64]int32{}
	for o := range n1 {
		epochs[o] = l.EpochAt(o)
	}
	n.stop()
	n.start()
	s := spec(fold.LastValue, l)
	s.Partitions[0].Log = epochLog{l, epochs} // memlog forgets what it trims
	require.NoError(t, n.k.Add(s, calm()))
	n.applied()
	trim(n, l, calm(), n1)
	batches := rows(t, n, 0, 0)
	require.Len(t, batches, 2)
	require.EqualValues(t, 3, batches[0].LeaderEpoch())
	require.EqualValues(t, 1, batches[0].LastOffset())
	require.EqualValues(t, 5, batches[1].LeaderEpoch())
}

type epochLog struct {
	*memlog.Log
	epochs map[int64]int32
}

func (l epochLog) EpochAt(offset int64) int32 { return l.epochs[offset] }

// Offset deltas of a batch end at 2^31-1. The table is given rows that far apart directly.
func TestRowsSplitOnOffsetDelta(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	far := int64(math.MaxInt32)
	log := &farLog{Log: memlog.New(n.clock.Now), start: 3*far + 10}
	s := spec(fold.LastValue)
	s.Partitions = []keyframer.PartitionSpec{{Ordinal: 1, Log: log}}
	tab, err := n.tables.Table(1, table.Identity{TopicID: s.ID, Fold: s.Fold})
	require.NoError(t, err)
	put := func(key string, offset int64) table.Change {
		return table.Change{Key: []byte(key), Deltas: []table.Delta{
			{Delta: delta.Delta{Op: delta.Put, Key: []byte(key), Value: []byte("v")}, Offset: offset},
		}}
	}
	require.NoError(t, n.tables.Commit(context.Background(), []table.Fold{{
		Table: tab, Changes: []table.Change{put("a", 0), put("b", far), put("c", far+1), put("d", 3*far)}, End: 3*far + 10, Cut: true,
	}}))
	require.NoError(t, n.k.Add(s, calm()))
	require.NoError(t, n.partition(0).Failure())
	batches := rows(t, n, 0, 0)
	require.Len(t, batches, 3)
	require.EqualValues(t, 2, batches[0].NumRecords())
	require.Equal(t, far, batches[0].LastOffset())
	require.Equal(t, far+1, batches[1].BaseOffset())
	require.Equal(t, 2*far+1-1+1, batches[1].LastOffset(), "as far as a batch can reach; the consumer fetches there next")
	require.Equal(t, 3*far, batches[2].BaseOffset())
	require.Equal(t, 3*far+9, batches[2].LastOffset())
	require.Equal(t, 3*far, rows(t, n, 0, 2*far+2)[0].BaseOffset())
}

func TestRowsErrors(t *testing.T) {
	n, l := trimmed(t, fold.LastValue, calm(), func(n *node, l *memlog.Log) {
		l.Append(memlog.Put("a", "1"))
		l.Append(batch.Record{Value: []byte("null key")})
	})
	_, next, err := n.partition(0).Rows(context.Background(), l.Bounds().DeltaStart, 100, nil)
	require.ErrorIs(t, err, keyframer.ErrAboveRows)
	require.Equal(t, l.Bounds().DeltaStart, next)
	b, next, err := n.partition(0).Rows(context.Background(), 1, 100, nil)
	require.NoError(t, err)
	require.Empty(t, b, "no row is left in [1, N1): the raw batches follow")
	require.EqualValues(t, 2, next)
}

// staleTopic is trimmed, of ten keys and what came behind them; its tombstones go as soon as they may, and who missed them is told.
func staleTopic(t *testing.T, then ...batch.Record) (*node, *memlog.Log, keyframer.Settings) {
	s := calm()
	s.DeleteRetentionMs = 0
	s.StaleFetchError = true
	n, l := trimmed(t, fold.LastValue, s, func(n *node, l *memlog.Log) {
		for i := range 10 {
			l.Append(memlog.Put(fmt.Sprint("k", i), "v"))
		}
		for _, r := range then {
			l.Append(r)
		}
	})
	return n, l, s
}

// A consumer that comes back below the horizon has missed deletes; one that reads from the start has not.
func TestStaleFetch(t *testing.T) {
	n, l, s := staleTopic(t, memlog.Delete("k3"))
	expire(n, s, 11)
	p := n.partition(0)
	_, _, err := p.Rows(context.Background(), 5, 1<<20, nil)
	require.ErrorIs(t, err, keyframer.ErrStaleFetch)
	require.EqualValues(t, 1, n.metric("keyframe_stale_fetches_total"))

	c := &consumer{n: n}
	for c.next < l.Bounds().DeltaStart {
		require.NoError(t, c.fetch(), "reading from the log start, at %d", c.next)
	}
	c.next = 5
	require.NoError(t, c.fetch(), "what was given may be read again")
	c = &consumer{n: n}
	require.NoError(t, c.fetch())
	c.next = 5
	require.ErrorIs(t, c.fetch(), keyframer.ErrStaleFetch, "a jump is a gap")
	c.next = 1
	require.NoError(t, c.fetch(), "before the gap")
	require.EqualValues(t, 2, n.metric("keyframe_stale_fetches_total"))

	s.StaleFetchError = false
	n.settle(s)
	_, _, err = p.Rows(context.Background(), 5, 1<<20, nil)
	require.NoError(t, err, "kafka: what is left")
	require.EqualValues(t, 3, n.metric("keyframe_stale_fetches_total"), "counted all the same")
}

// consumer reads a partition's rows one at a time, as one connection.
type consumer struct {
	n       *node
	session keyframer.Session
	next    int64
}

func (c *consumer) fetch() error {
	p := c.n.partition(0)
	b := p.Bounds()
	_, next, err := p.Rows(keyframer.WithSession(context.Background(), &c.session), c.next, 1, nil)
	if err == nil {
		c.session.Fetched([16]byte{7}, 0, c.next, next, b.LogStart, b.DeltaStart)
		c.next = next
	}
	return err
}

// A look-up among the rows is no fetch: it misses nothing, wherever it begins.
func TestEachRow(t *testing.T) {
	n, l, s := staleTopic(t, memlog.Delete("k3"), memlog.Put("k4", "v"))
	expire(n, s, 11)
	var seen []int64
	n1, err := n.partition(0).EachRow(context.Background(), 5, func(offset, timestamp int64) bool {
		require.EqualValues(t, 1_000_000, timestamp)
		seen = append(seen, offset)
		return offset < 8
	})
	require.NoError(t, err)
	require.Equal(t, l.Bounds().DeltaStart, n1)
	require.Equal(t, []int64{5, 6, 7, 8}, seen)
	require.Zero(t, n.metric("keyframe_stale_fetches_total"))
	_, err = n.partition(0).EachRow(context.Background(), n1, nil)
	require.ErrorIs(t, err, keyframer.ErrAboveRows)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = n.partition(0).EachRow(ctx, 0, nil)
	require.ErrorIs(t, err, context.Canceled)
}

// expire lets all tombstones below N1 go.
func expire(n *node, s keyframer.Settings, horizon int64) {
	n.t.Helper()
	n.eventually("expiry", func() bool {
		n.clock.advance(time.Second) // each time: a trim that is still under way takes its time from the clock, too
		n.settle(s)
		return n.table(0).Horizon() == horizon
	})
}

// Bootstrapping works while keys are deleted, trimmed and expired behind the consumer's back, as long as what expires was folded when
// it began.
func TestBootstrapWhileTombstonesExpire(t *testing.T) {
	n, l, s := staleTopic(t, memlog.Delete("k9"))
	l.Append(memlog.Delete("k0"), memlog.Delete("k1"))
	c := &consumer{n: n}
	require.NoError(t, c.fetch())
	expire(n, s, 11)
	require.NoError(t, c.fetch(), "the horizon is still at or below the delta start offset of when the reading began")

	n1 := n.cut().Frames[0].Cut
	l.Append(memlog.Put("last", "2"))
	n.applied()
	trim(n, l, s, n1)
	require.NoError(t, c.fetch())
	expire(n, s, n1)
	require.ErrorIs(t, c.fetch(), keyframer.ErrStaleFetch, "it was given k0 and k1, and their tombstones came and went")
	c.next = 0
	for c.next < n1 {
		require.NoError(t, c.fetch(), "a new reading on the same connection, at %d", c.next)
	}
}

// farLog is a log whose raw deltas begin far above 0 and hold nothing yet.
type farLog struct {
	*memlog.Log
	start int64
}

func (l *farLog) Bounds() log.Bounds {
	return log.Bounds{DeltaStart: l.start, HighWatermark: l.start, LastStable: l.start, LogEnd: l.start}
}

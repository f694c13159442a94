package keyframer_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/table"
)

func TestTrimsToFramesThatAreOldEnough(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	s := calm()
	l := n.add(fold.LastValue, s, 1)[0]
	for i := range 4 {
		l.Append(memlog.Put("a", fmt.Sprint(i)), memlog.Put(fmt.Sprint("k", i), "v"))
		n.cut()
		n.clock.advance(4 * time.Second)
	}
	s.DeltaRetentionMs = 10_000 // the frames at 2, 4, 6, 8 are 16, 12, 8 and 4 s old
	n.settle(s)
	n.eventually("a trim", func() bool {
		return n.metric("keyframe_trims_total") == 1 && n.metric("keyframe_frame_verify_seconds") == 1
	})
	require.EqualValues(t, 4, l.Bounds().DeltaStart)
	require.Equal(t, []int64{4, 6, 8}, cuts(n.table(0)), "N1 is the oldest frame")

	n.clock.advance(time.Hour)
	n.settle(s)
	n.eventually("the next trim", func() bool { return l.Bounds().DeltaStart == 6 && len(cuts(n.table(0))) == 2 })
	require.Equal(t, []int64{6, 8}, cuts(n.table(0)), "the batch with the last offset stays")
}

func TestTrimsWhatIsTooMuch(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	s := calm()
	l := n.add(fold.LastValue, s, 1)[0]
	for i := range 10 {
		l.Append(memlog.Put("a", fmt.Sprint(i)))
		n.clock.advance(time.Second)
		n.cut()
	}
	s.DeltaRetentionBytes = l.SizeBytes() / 2
	n.settle(s)
	n.eventually("a trim", func() bool { return l.Bounds().DeltaStart == 5 && len(cuts(n.table(0))) == 6 })
	s.DeltaRetentionBytes = 0
	n.settle(s)
	n.eventually("all but the last batch", func() bool { return l.Bounds().DeltaStart == 9 })
}

// What is kept is known of every frame, however unevenly the bytes lie among the offsets.
func TestTrimsNoMoreThanIsTooMuch(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	s := calm()
	l := n.add(fold.LastValue, s, 1)[0]
	for i := range 10 {
		size := 1000
		if i == 0 {
			size = 90_000
		}
		l.Append(memlog.Put("a", strings.Repeat("x", size)))
		n.clock.advance(time.Second)
		n.cut()
	}
	s.DeltaRetentionBytes = 50_000 // without the first batch 10 kB are left
	n.settle(s)
	n.eventually("a trim", func() bool { return l.Bounds().DeltaStart > 0 })
	require.EqualValues(t, 1, l.Bounds().DeltaStart)
}

// Frames close to the delta start offset wait to be trimmed to, but not for ever where no more are cut.
func TestTrimsInTheEnd(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	s := calm()
	l := n.add(fold.LastValue, s, 1)[0]
	for i := range 4 {
		l.Append(memlog.Put("a", fmt.Sprint(i)))
		n.cut()
		n.clock.advance(time.Minute)
	}
	require.NoError(t, l.TrimTo(context.Background(), 1))
	s.DeltaRetentionMs = (24 * time.Hour).Milliseconds()
	n.clock.advance(24 * time.Hour)
	n.settle(s)
	n.clock.advance(90 * time.Minute)
	n.settle(s)
	n.eventually("a trim", func() bool { return l.Bounds().DeltaStart == 3 })
}

func TestThinsToRetain(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	s := calm()
	s.Retain = 3
	l := n.add(fold.LastValue, s, 1)[0]
	for i := range 10 {
		l.Append(memlog.Put("a", fmt.Sprint(i)))
		n.clock.advance(time.Second)
		n.cut()
	}
	n.eventually("three frames above the oldest", func() bool { return len(cuts(n.table(0))) == 4 })
	require.EqualValues(t, 1, cuts(n.table(0))[0])
	require.EqualValues(t, 10, cuts(n.table(0))[3])
}

func TestTombstonesExpireAfterTheirTrim(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	s := calm()
	s.DeltaRetentionMs, s.DeleteRetentionMs = 0, 5000
	l := n.add(fold.LastValue, s, 1)[0]
	l.Append(memlog.Put("a", "1"), memlog.Put("b", "1"))
	l.Append(memlog.Delete("a"))
	n.cut()
	l.Append(memlog.Put("b", "2"))
	n.eventually("a trim", func() bool {
		n.settle(s)
		return strings.Contains(n.logged.String(), "trimmed delta_start=3") // in both halves: its time is that of the table's
	})
	require.Len(t, records(t, rows(t, n, 0, 0)), 2, "b and the tombstone of a")
	n.clock.advance(4 * time.Second)
	n.settle(s)
	require.Zero(t, n.table(0).Horizon())
	n.clock.advance(2 * time.Second)
	n.eventually("expiry", func() bool {
		n.settle(s)
		return n.table(0).Horizon() == 3
	})
	require.Len(t, records(t, rows(t, n, 0, 0)), 1)
}

// A frame whose rows are not what was folded is not trimmed to: they are folded from the log again, and then it is.
func TestDamagedRowsAreNotTrimmedTo(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	s := calm()
	l := n.add(fold.LastValue, s, 1)[0]
	for i := range 50 {
		l.Append(memlog.Put(fmt.Sprint("k", i), "value value value"))
	}
	n.cut()
	l.Append(memlog.Put("z", "1"))
	n.applied()
	damage(t, n, []byte("value value value"))
	p := n.partition(0)
	s.DeltaRetentionMs = 0
	n.settle(s)
	n.eventually("folded again", func() bool {
		return strings.Contains(n.logged.String(), "ERROR rows are damaged on disk: they are folded from the log again")
	})
	n.foldedAgain(p)
	n.eventually("trimmed", func() bool { return l.Bounds().DeltaStart == 50 })
	_, err := n.table(0).Verify(t.Context(), 50)
	require.NoError(t, err)
	l.Append(memlog.Put("z", "2"))
	n.cut()
	l.Append(memlog.Put("z", "3"))
	n.clock.advance(time.Second)
	n.settle(s)
	n.eventually("trimmed", func() bool { return l.Bounds().DeltaStart == 52 })
	require.EqualValues(t, 1, n.metric("keyframe_scrub_corrupt_total"))
	_, err = n.table(0).Verify(t.Context(), 52)
	require.NoError(t, err)
}

func damage(t *testing.T, n *node, value []byte) {
	it, err := n.pdb.NewIter(nil)
	require.NoError(t, err)
	var key, changed []byte
	for ok := it.First(); ok; ok = it.Next() {
		if bytes.Contains(it.Value(), value) {
			key = bytes.Clone(it.Key())
			changed = bytes.Replace(it.Value(), value, bytes.ToUpper(value), 1)
			break
		}
	}
	require.NoError(t, it.Close())
	require.NotEmpty(t, key)
	require.NoError(t, n.pdb.Set(key, changed, pebble.NoSync))
}

// A crash between the log's trim and the table's is made good when the partition is opened.
func TestInterruptedTrim(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	l := n.add(fold.LastValue, calm(), 1)[0]
	for i := range 3 {
		l.Append(memlog.Put("a", fmt.Sprint(i)))
		n.cut()
	}
	n.stop()
	require.NoError(t, l.TrimTo(context.Background(), 2))
	n.start()
	require.NoError(t, n.k.Add(spec(fold.LastValue, l), calm()))
	require.Equal(t, []int64{2, 3}, cuts(n.table(0)))
}

// The table is derived data as long as the log reaches back to its start.
func TestRebuild(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	l := n.add(fold.JSONMergePatch, calm(), 1)[0]
	for i := range 100 {
		l.Append(memlog.Put(fmt.Sprint("k", i%30), fmt.Sprintf(`{"n%d":%d}`, i%7, i)))
	}
	n.cut()
	before := n.table(0).Digest()
	pub := n.table(0).Pub(n.table(0).Frames()[0])
	require.NoError(t, n.k.Remove(context.Background(), topicName))
	require.NoError(t, n.k.Add(spec(fold.JSONMergePatch, l), calm()))
	require.Zero(t, n.table(0).Position())
	n.cut()
	require.Equal(t, before, n.table(0).Digest())
	require.Equal(t, pub, n.table(0).Pub(n.table(0).Frames()[0]))
}

// A log that ends below what was folded has lost records that somebody may have read. The table is rebuilt, in another incarnation: a
// replica above the loss must not take the records to come for those that it had.
func TestTableAheadOfItsLog(t *testing.T) {
	killed := errors.New("killed")
	for _, tc := range []struct {
		name    string
		durable bool  // before the crash
		crash   error // nil: none
	}{{"no crash", true, nil}, {"crash before the incarnation", false, killed}, {"crash before the table goes", true, killed}} {
		t.Run(tc.name, func(t *testing.T) {
			n := newNode(t, keyframer.Config{})
			l := n.add(fold.LastValue, calm(), 1)[0]
			for i := range 4 {
				l.Append(memlog.Put(fmt.Sprint("k", i), "v"))
				n.cut()
			}
			l.Truncate(3)
			s := spec(fold.LastValue, l)
			before, drawn := s.Partitions[0].Incarnation, 0
			renew := func(crash error, durable bool) func(context.Context) ([16]byte, error) {
				return func(context.Context) ([16]byte, error) {
					_, ok := n.k.Topic(topicName)
					require.False(t, ok, "nobody finds a partition before it is open")
					if durable {
						drawn++
						s.Partitions[0].Incarnation = [16]byte{0xff, byte(drawn)}
					}
					return s.Partitions[0].Incarnation, crash
				}
			}
			n.restart()
			s.Partitions[0].RenewIncarnation = renew(tc.crash, tc.durable)
			require.NoError(t, n.k.Add(s, calm()))
			if tc.crash != nil {
				require.ErrorIs(t, n.partition(0).Failure(), tc.crash)
				n.restart()
				s.Partitions[0].RenewIncarnation = renew(nil, true)
				require.NoError(t, n.k.Add(s, calm()))
			}
			n.cut()
			require.Equal(t, 1, drawn)
			require.NotEqual(t, before, n.partition(0).Incarnation)
			require.Equal(t, s.Partitions[0].Incarnation, n.partition(0).Incarnation)
			require.Equal(t, s.Partitions[0].Incarnation, n.table(0).Identity().Incarnation)
			require.EqualValues(t, 3, n.table(0).Digest().Count, "the log reaches its start: rebuilt from it")
			require.Contains(t, n.logged.String(), "folded to offset 4, but the log ends at 3")
			require.Contains(t, n.logged.String(), "ERROR the table is ahead of its log")

			n.restart()
			require.NoError(t, n.k.Add(s, calm()))
			require.Equal(t, 1, drawn, "never at a restart")
			require.EqualValues(t, 3, n.table(0).Position())
		})
	}
}

// Where the log does not reach back to its start nothing can be rebuilt: the partition fails at every start, also when other records
// have taken the offsets of those that are lost.
func TestTableAheadOfATrimmedLog(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	l := n.add(fold.LastValue, calm(), 1)[0]
	for i := range 3 {
		l.Append(memlog.Put(fmt.Sprint("k", i), "v"))
		n.cut()
	}
	n.stop()
	require.NoError(t, l.TrimTo(context.Background(), 2))
	l.Truncate(2)
	n.start()
	s, drawn := spec(fold.LastValue, l), 0
	s.Partitions[0].RenewIncarnation = func(context.Context) ([16]byte, error) {
		drawn++
		s.Partitions[0].Incarnation = [16]byte{0xff, byte(drawn)}
		return s.Partitions[0].Incarnation, nil
	}
	require.NoError(t, n.k.Add(s, calm()))
	require.ErrorIs(t, n.partition(0).Failure(), keyframer.ErrFailed)
	require.ErrorContains(t, n.partition(0).Failure(), "ahead of its log")
	_, err := n.partition(0).Live()
	require.ErrorIs(t, err, keyframer.ErrFailed)
	l.SetEpoch(1)
	for range 3 {
		l.Append(memlog.Put("a", "1")) // wakes nobody
	}
	n.restart()
	require.NoError(t, n.k.Add(s, calm()))
	require.ErrorContains(t, n.partition(0).Failure(), "restore both from one backup")
	require.Equal(t, 1, drawn)
}

// The incarnation could not be drawn, and others took the offsets of the records that are lost: the loss is seen all the same.
func TestTableAheadOfALogThatWentOn(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	l := n.add(fold.LastValue, calm(), 1)[0]
	for _, key := range []string{"kept", "lost"} {
		l.Append(memlog.Put(key, "v"))
		n.cut()
	}
	l.Truncate(1)
	s := spec(fold.LastValue, l)
	s.Partitions[0].RenewIncarnation = func(context.Context) ([16]byte, error) { return [16]byte{}, errors.New("the disk is full") }
	n.restart()
	require.NoError(t, n.k.Add(s, calm()))
	require.ErrorContains(t, n.partition(0).Failure(), "the disk is full")
	l.SetEpoch(1)
	l.Append(memlog.Put("new", "v"))
	s.Partitions[0].RenewIncarnation = func(context.Context) ([16]byte, error) { return [16]byte{9}, nil }
	n.restart()
	require.NoError(t, n.k.Add(s, calm()))
	n.applied()
	for key, want := range map[string]bool{"kept": true, "lost": false, "new": true} {
		_, ok := n.get(0, key)
		require.Equal(t, want, ok, key)
	}
}

// A table that went, with the topic's policy or because it was damaged, took with it at which offset rows had left: where deltas are folded onto
// rows, another fold of the same log is another state, and replicas of the former must not take it for the same.
func TestTableBegunAnewWhereRowsHaveLeft(t *testing.T) {
	for _, tc := range []struct {
		name    string
		fold    fold.Kind
		start   int64
		another bool
		lastly  string
	}{
		{"folded onto rows", fold.Counter, 1, true, "7"},
		{"whole values", fold.LastValue, 1, false, "4"},
		{"none have left", fold.Counter, 0, false, "7"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			n := newNode(t, keyframer.Config{})
			l := n.add(tc.fold, calm(), 1)[0]
			l.Append(memlog.Put("a", "1"))
			l.Append(memlog.Put("b", "1"))
			n.cut()
			require.NoError(t, l.HideBelow(context.Background(), tc.start))
			l.Append(memlog.Put("a", "2"))
			n.cut()
			l.Append(memlog.Put("a", "4"))
			require.NoError(t, n.k.Remove(context.Background(), topicName))
			s, drawn := spec(tc.fold, l), 0
			was := s.Partitions[0].Incarnation
			s.Partitions[0].RenewIncarnation = func(context.Context) ([16]byte, error) {
				drawn++
				s.Partitions[0].Incarnation = [16]byte{0xff, byte(drawn)}
				return s.Partitions[0].Incarnation, nil
			}
			require.NoError(t, n.k.Add(s, calm()))
			n.applied()
			require.Equal(t, tc.another, n.partition(0).Incarnation != was)
			require.Equal(t, tc.lastly, value(n, "a"))
			n.cut()
			n.restart()
			require.NoError(t, n.k.Add(s, calm()))
			require.Equal(t, map[bool]int{true: 1}[tc.another], drawn, "it is drawn once")
		})
	}
}

func TestRowsThatAreLost(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	l := n.add(fold.LastValue, calm(), 1)[0]
	for i := range 4 {
		l.Append(memlog.Put(fmt.Sprint("k", i), "v"))
	}
	n.cut()
	require.NoError(t, n.k.Remove(context.Background(), topicName)) // takes the rows with it
	require.NoError(t, l.TrimTo(context.Background(), 2))
	require.NoError(t, n.k.Add(spec(fold.LastValue, l), calm()))
	require.ErrorContains(t, n.partition(0).Failure(), "the log keeps deltas from 2 only")
}

// Another identity under the same ordinal is dropped where the log can rebuild it, and an error where it cannot.
func TestOtherIdentity(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	l := n.add(fold.LastValue, calm(), 1)[0]
	l.Append(memlog.Put("a", "1"))
	l.Append(memlog.Put("b", "1"))
	n.cut()
	n.restart()
	other := spec(fold.LastValue, l)
	other.Partitions[0].Incarnation = [16]byte{0xff}
	require.NoError(t, n.k.Add(other, calm()))
	n.cut()
	require.EqualValues(t, 2, n.table(0).Digest().Count)
	require.Equal(t, [16]byte{0xff}, n.table(0).Identity().Incarnation)
	n.restart()
	require.NoError(t, l.TrimTo(context.Background(), 1))
	require.NoError(t, n.k.Add(spec(fold.LastValue, l), calm()))
	require.ErrorIs(t, n.partition(0).Failure(), table.ErrIdentity)
}

// The table's half of a trim fails once. The frame at the delta start offset is all there is of the rows below it: it is not thinned,
// and the half that failed is done later.
func TestTableTrimFailsOnce(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	s := calm()
	l := n.add(fold.LastValue, s, 1)[0]
	for i := range 5 {
		l.Append(memlog.Put(fmt.Sprint("k", i), "v"))
		n.cut()
		n.clock.advance([]time.Duration{20, 20, 1, 20, 20}[i] * time.Second)
	}
	n.noTables.Store(true)
	s.DeltaRetentionMs = 40_500
	n.settle(s)
	n.eventually("failed upkeep", func() bool { return strings.Contains(n.logged.String(), "upkeep failed") })
	n1 := l.Bounds().DeltaStart
	require.Positive(t, n1)
	require.Less(t, cuts(n.table(0))[0], n1, "the log is trimmed, the table is not")
	n.noTables.Store(false)
	s.Retain, s.DeltaRetentionMs = 2, 3_600_000
	n.clock.advance(10 * time.Second)
	n.settle(s)
	n.eventually("thinned", func() bool { return len(cuts(n.table(0))) <= 3 })
	require.Equal(t, n1, cuts(n.table(0))[0])
	n.restart()
	require.NoError(t, n.k.Add(spec(fold.LastValue, l), calm()))
	require.NoError(t, n.partition(0).Failure())
}

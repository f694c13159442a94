package keyframer_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/log"
)

// at gives a record a timestamp.
func at(r batch.Record, ms int64) batch.Record {
	r.Timestamp = ms
	return r
}

// Rows go by their own timestamps, in the order of the log, up to the first that is young enough: as Kafka deletes segments from the start
// on. Consumers get nothing below at once, and the table lets go: at the newest cut where nothing came behind it.
func TestRetentionOverRows(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	s := calm()
	l := n.add(fold.LastValue, s, 1)[0]
	now := n.clock.Now().UnixMilli()
	l.Append(at(memlog.Put("a", "1"), now-50_000), at(memlog.Put("b", "1"), now-40_000))
	l.Append(at(memlog.Put("c", "1"), now-10_000), at(memlog.Put("d", "1"), now-60_000)) // d is old, but lies above c
	n.cut()
	l.Append(at(memlog.Put("e", "1"), now))
	n.cut()
	s.DeltaRetentionMs = 0
	n.settle(s)
	n.eventually("N1 at 4", func() bool { return l.Bounds().DeltaStart == 4 && len(cuts(n.table(0))) == 2 })

	s.RetentionMs = 30_000
	n.settle(s)
	n.eventually("the log start", func() bool { return l.Bounds().LogStart == 2 })
	n.eventually("the newest cut, once more", func() bool { return n.table(0).Start() == 2 })
	require.Equal(t, []int64{4, 5}, cuts(n.table(0)))
	for key, want := range map[string]bool{"a": false, "b": false, "c": true, "d": true, "e": true} {
		_, ok := n.get(0, key)
		require.Equal(t, want, ok, key)
	}
	require.EqualValues(t, 3, n.table(0).Digest().Count)

	n.clock.advance(time.Hour) // all of it is old, but for what is written now
	l.Append(at(memlog.Put("f", "1"), n.clock.Now().UnixMilli()))
	n.settle(s)
	n.eventually("the cut there, or the next one", func() bool { return l.Bounds().LogStart == 5 && n.table(0).Start() == 5 })
	n.applied()
	for _, key := range []string{"c", "d", "e"} {
		_, ok := n.get(0, key)
		require.False(t, ok, key)
	}
	_, ok := n.get(0, "f")
	require.True(t, ok)
}

// What goes by size leaves at least retention.bytes.
func TestRetentionOverRowsBySize(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	s := calm()
	l := n.add(fold.LastValue, s, 1)[0]
	value := string(make([]byte, 1000))
	for i := range 20 {
		l.Append(memlog.Put(fmt.Sprintf("k%02d", i), value))
		n.cut()
	}
	s.DeltaRetentionMs = 0
	n.clock.advance(time.Second)
	n.settle(s)
	n.eventually("N1 at the last batch", func() bool { return l.Bounds().DeltaStart == 19 })
	s.RetentionBytes = 10_000
	n.settle(s)
	n.eventually("the log start", func() bool { return l.Bounds().LogStart > 0 })
	require.EqualValues(t, 10, l.Bounds().LogStart, "9 rows of 1015 bytes and the batch are left: one less would be less than 10000")
}

// A windowed store's changelog: keys with the start of their window, put again and again while the window is open, and never deleted.
// Whoever restores it gets all windows that have not expired, at their last values, and no window that has.
func TestWindowedStoreChangelog(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	s := calm()
	s.IntervalRecords, s.DeltaRetentionMs, s.DeltaRetentionBytes, s.Retain, s.DeleteRetentionMs = 50, 4_000, 8_000, 3, 0
	s.RetentionMs = 20_000
	l := n.add(fold.LastValue, s, 1)[0]
	const window = 5_000
	want, last := map[string]string{}, map[string]int64{}
	var appended []int64 // when each batch was
	for step := range 120 {
		now := n.clock.Now().UnixMilli()
		appended = append(appended, now)
		var records []batch.Record
		for key := range 5 {
			id := fmt.Sprintf("key%d@%d", key, now/window*window)
			want[id], last[id] = fmt.Sprint(step), now
			records = append(records, at(memlog.Put(id, want[id]), now))
		}
		l.Append(records...)
		n.clock.advance(500 * time.Millisecond)
		if step%4 == 0 {
			n.settle(s)
		}
	}
	n.applied()
	now := n.clock.Now().UnixMilli()
	n.settle(s)
	young, _ := slices.BinarySearch(appended, now-s.RetentionMs)
	n.eventually("retention", func() bool { return l.Bounds().LogStart >= int64(5*young) })
	n.eventually("a trim", func() bool { return l.Bounds().DeltaStart > 0 })

	restored := map[string]string{}
	for from := l.Bounds().LogStart; from < l.Bounds().LogEnd; {
		var batches []batch.Batch
		if from < l.Bounds().DeltaStart {
			batches, from = fetch(t, n, 0, from, 1<<20)
		} else {
			var err error
			if batches, err = l.Batches(from, l.Bounds().LogEnd, 1<<20); errors.Is(err, log.ErrTrimmed) {
				continue // in between: rows
			}
			require.NoError(t, err)
			from = batches[len(batches)-1].NextOffset()
		}
		for _, r := range records(t, batches) {
			if r.Offset >= l.Bounds().LogStart {
				restored[string(r.Key)] = string(r.Value)
			}
		}
	}
	for id, value := range want {
		if last[id] >= now-s.RetentionMs {
			require.Equal(t, value, restored[id], id)
		}
	}
	for id := range restored {
		require.Greater(t, last[id], now-s.RetentionMs-2*window, "%s has expired long ago", id)
	}
	n.eventually("the table follows", func() bool { return n.table(0).Digest().Count < int64(len(want))/2 })
}

// An idle topic: no delta comes any more, and rows expire one after the other all the same. The newest frame is another one each time, at the
// same cut and with the same time, so that the cut's name holds; older frames keep their rows. So it is after a restart, and for a cut that
// somebody asks for while rows are due.
func TestRowsOfAnIdleTopicExpire(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	s := calm()
	l := n.add(fold.Counter, s, 1)[0]
	l.Append(memlog.Put("a", "1"))
	n.cut()
	l.Append(memlog.Put("b", "1"), memlog.Put("c", "1"), memlog.Put("d", "1"))
	name := n.cut().Name
	first := n.table(0).Frames()
	pubs := map[[32]byte]bool{n.table(0).Pub(first[1]): true}
	for start := int64(1); start <= 2; start++ {
		require.NoError(t, l.HideBelow(t.Context(), start))
		n.eventually("rows leave", func() bool { return n.table(0).Start() == start })
		frames := n.table(0).Frames()
		require.Equal(t, first[0], frames[0])
		require.Equal(t, []int64{4, start, 4 - start, first[1].CutTimeMs}, []int64{frames[1].Cut, frames[1].Start, frames[1].Rows(), frames[1].CutTimeMs})
		pubs[n.table(0).Pub(frames[1])] = true
		_, ok := n.get(0, string(rune('a'+start-1)))
		require.False(t, ok)
	}
	require.Len(t, pubs, 3)
	topic, _ := n.k.Topic(topicName)
	offsets, err := topic.Resolve(name)
	require.NoError(t, err)
	require.Equal(t, []int64{4}, offsets)

	n.stop()
	require.NoError(t, l.HideBelow(t.Context(), 3))
	n.start()
	require.NoError(t, n.k.Add(spec(fold.Counter, l), s))
	require.NoError(t, n.partition(0).Failure())
	cut := n.cut()
	require.EqualValues(t, 3, cut.Frames[0].Start)
	require.EqualValues(t, 1, cut.Frames[0].Rows())
	require.Equal(t, name, cut.Name)

	l.Append(memlog.Put("a", "5")) // onto nothing
	n.applied()
	v, ok := n.get(0, "a")
	require.True(t, ok)
	require.Equal(t, "5", v)
	require.EqualValues(t, 2, n.cut().Frames[0].Rows())
}

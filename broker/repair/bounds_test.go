package repair_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/repair"
	"github.com/keyframelog/keyframe/storage/table"
)

// A scan is work also where nobody waits for it any more: who asks and goes away does not begin one beside the other.
func TestAScanThatNobodyWaitsForIsBounded(t *testing.T) {
	w := newWorld(t, repair.Config{Grace: time.Second, Keep: time.Minute})
	sources := []repair.Source{w.source(0), w.source(1), w.source(2)}
	for _, src := range sources {
		v, err := src.Table.View(cut)
		require.NoError(t, err)
		require.NoError(t, v.Close())
	}
	g := &gate{reached: make(chan struct{}, 1), open: make(chan struct{})}
	w.gate.Store(g)
	gone, giveUp := context.WithCancel(context.Background())
	giveUp()
	for _, src := range sources[:2] {
		_, err := w.desk.Open(gone, src, cut)
		require.ErrorIs(t, err, context.Canceled)
	}
	w.pass(time.Hour)
	require.Equal(t, time.Minute, w.desk.Forget())
	_, err := w.desk.Open(context.Background(), sources[2], cut)
	require.ErrorIs(t, err, repair.ErrBusy)
	w.gate.Store(nil)
	close(g.open)
	w.open(sources[0]).Release() // when it has been read
	w.open(sources[1]).Release()
	w.open(sources[2])
	require.EqualValues(t, 3, w.metric("scan_seconds"))
}

// Who searches in many frames at once, in each question in all of them, is refused nothing, and each is read once; nor does it have to say that it is done.
func TestASearchInManyFrames(t *testing.T) {
	w := newWorld(t, repair.Config{})
	var sources []repair.Source
	for i := range int32(12) {
		sources = append(sources, w.source(i))
	}
	each := func(question func(*repair.Frame)) {
		for _, src := range sources {
			f, err := w.desk.Open(context.Background(), src, cut)
			require.NoError(t, err)
			question(f)
			f.Release()
		}
	}
	cells := func(first, n int) {
		each(func(f *repair.Frame) {
			_, err := f.Cells(context.Background(), first, n)
			require.NoError(t, err)
		})
	}
	cells(0, 64)
	cells(64, 200)
	each(func(f *repair.Frame) { require.Len(t, f.Tags(), rows-1) })
	for range 2 {
		each(func(f *repair.Frame) {
			got, _, err := collect(f, f.Tags()[0])
			require.NoError(t, err)
			require.Len(t, got, 1)
		})
	}
	cells(0, 64) // and begins anew
	require.Zero(t, w.metric("refused_total"))
	require.EqualValues(t, 12, w.metric("scan_seconds"))
}

// However many frames are damaged, so many are remembered.
func TestDamagedFramesThatAreRemembered(t *testing.T) {
	w := newWorld(t, repair.Config{Keep: time.Minute})
	var sources []repair.Source
	for i := range int32(70) {
		src := w.source(i)
		w.deleteRow(src, 100)
		sources = append(sources, src)
	}
	for range 2 {
		for _, src := range sources {
			_, err := w.desk.Open(context.Background(), src, cut)
			require.ErrorIs(t, err, repair.ErrCorrupt)
		}
	}
	require.Greater(t, w.metric("corrupt_total"), float64(70))
	before := w.metric("corrupt_total")
	_, err := w.desk.Open(context.Background(), sources[69], cut)
	require.ErrorIs(t, err, repair.ErrCorrupt)
	require.Equal(t, before, w.metric("corrupt_total"), "the latest is")
}

// What is refused is counted by its reason.
func TestRefusalsAreCounted(t *testing.T) {
	w := newWorld(t, repair.Config{MemoryBytes: 30 * rows})
	src, other := w.source(0), w.source(1)
	refused := func(want error, src repair.Source, at int64) {
		t.Helper()
		_, err := w.desk.Open(context.Background(), src, at)
		require.ErrorIs(t, err, want)
	}
	f := w.open(src)
	refused(repair.ErrBusy, other, cut)
	f.Release()
	w.pass(time.Hour)
	w.deleteRow(other, 3)
	refused(repair.ErrCorrupt, other, cut)
	refused(table.ErrNoFrame, src, 1)
	w.disputed.Store(true)
	refused(repair.ErrDisputed, src, cut)
	w.disputed.Store(false)
	small := newWorld(t, repair.Config{MemoryBytes: rows})
	_, err := small.desk.Open(context.Background(), small.source(0), cut)
	require.ErrorIs(t, err, repair.ErrTooLarge)
	const head = "# HELP keyframe_repair_refused_total Requests of repairs that were refused, by reason (corrupt, disputed, busy, large, other).\n" +
		"# TYPE keyframe_repair_refused_total counter\n"
	require.NoError(t, testutil.GatherAndCompare(w.metrics, strings.NewReader(head+`keyframe_repair_refused_total{reason="busy"} 1
keyframe_repair_refused_total{reason="corrupt"} 1
keyframe_repair_refused_total{reason="disputed"} 1
keyframe_repair_refused_total{reason="other"} 1
`), "keyframe_repair_refused_total"))
	require.NoError(t, testutil.GatherAndCompare(small.metrics, strings.NewReader(head+`keyframe_repair_refused_total{reason="large"} 1
`), "keyframe_repair_refused_total"))
}

// frameBytes is what a frame of these tests takes without cells.
const frameBytes = 512 + 20*(rows-1)

// Where memory is for two frames, a third has to wait until one was not used for a moment, and takes its place then.
func TestFramesMakeRoom(t *testing.T) {
	w := newWorld(t, repair.Config{MemoryBytes: 2*frameBytes + 1, Grace: 3 * time.Second, Keep: time.Minute})
	sources := []repair.Source{w.source(0), w.source(1), w.source(2)}
	first, second := w.open(sources[0]), w.open(sources[1])
	busy := func() {
		t.Helper()
		_, err := w.desk.Open(context.Background(), sources[2], cut)
		require.ErrorIs(t, err, repair.ErrBusy)
	}
	w.pass(time.Hour)
	busy()
	first.Release()
	first.Release() // once
	busy()
	w.pass(2 * time.Second)
	w.open(sources[0]).Release() // its replica came back
	w.pass(2 * time.Second)
	busy()
	require.EqualValues(t, 2, w.metric("scan_seconds"))
	w.pass(time.Second)
	third := w.open(sources[2])
	require.EqualValues(t, 2, w.metric("frames"))
	require.EqualValues(t, 3, w.metric("scan_seconds"))
	require.Len(t, second.Tags(), rows-1, "who is at it is not disturbed")
	third.Release()
	second.Release()

	// Of two that are idle, the one that was not used for longest goes.
	w.pass(time.Second)
	w.open(sources[1]).Release()
	w.pass(3 * time.Second)
	w.open(sources[0])
	require.EqualValues(t, 4, w.metric("scan_seconds"))
	w.open(sources[1])
	require.EqualValues(t, 4, w.metric("scan_seconds"), "it was kept")
}

func TestAFrameIsForgotten(t *testing.T) {
	w := newWorld(t, repair.Config{Keep: time.Minute})
	src := w.source(0)
	f := w.open(src)
	_, err := f.Cells(context.Background(), 0, 64)
	require.NoError(t, err)
	require.EqualValues(t, frameBytes+24*64, w.metric("held_bytes"))
	w.pass(time.Hour)
	require.Equal(t, time.Minute, w.desk.Forget())
	require.EqualValues(t, 1, w.metric("frames"), "it is in use")
	f.Release()
	w.pass(59 * time.Second)
	require.Equal(t, time.Second, w.desk.Forget(), "the goroutine comes again when it is due")
	require.EqualValues(t, 1, w.metric("frames"))
	w.pass(time.Second)
	w.desk.Forget()
	require.Zero(t, w.metric("frames"))
	require.Zero(t, w.metric("held_bytes"))
}

func TestMemoryIsBounded(t *testing.T) {
	ctx := context.Background()
	w := newWorld(t, repair.Config{MemoryBytes: 2*frameBytes + 24*100, Grace: time.Second})
	src, other := w.source(0), w.source(1)
	f, second := w.open(src), w.open(other)
	_, err := f.Cells(ctx, 0, 101)
	require.ErrorIs(t, err, repair.ErrBusy, "cells take memory, too")
	require.EqualValues(t, 1, w.metric("refused_total"))
	want, err := f.Cells(ctx, 0, 90)
	require.NoError(t, err)
	_, err = second.Cells(ctx, 0, 11)
	require.ErrorIs(t, err, repair.ErrBusy)
	_, err = second.Cells(ctx, 0, 10)
	require.NoError(t, err)
	require.EqualValues(t, 2*frameBytes+24*100, w.metric("held_bytes"))
	second.Release()
	_, err = f.Cells(ctx, 0, 100)
	require.ErrorIs(t, err, repair.ErrBusy, "who decodes comes back")
	w.pass(time.Second)
	more, err := f.Cells(ctx, 0, 100)
	require.NoError(t, err)
	require.Equal(t, want, more[:90])
	require.EqualValues(t, 1, w.metric("frames"))
	_, err = f.Cells(ctx, 0, 1<<20)
	require.ErrorIs(t, err, repair.ErrTooLarge)

	w = newWorld(t, repair.Config{MemoryBytes: 10 * rows})
	_, err = w.desk.Open(ctx, w.source(0), cut)
	require.ErrorIs(t, err, repair.ErrTooLarge)
}

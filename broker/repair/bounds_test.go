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
	w.pass(time.Second)
	w.open(sources[2])
	require.EqualValues(t, 3, w.metric("scan_seconds"))
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
	w := newWorld(t, repair.Config{Frames: 1, MemoryBytes: 30 * rows})
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

// Two frames are in work; a third has to wait until one was not used for a moment, and takes its place then.
func TestAtMostTwoFramesAreInWork(t *testing.T) {
	w := newWorld(t, repair.Config{Grace: 3 * time.Second, Keep: time.Minute})
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

// Replicas that have fetched what they found do not come back: their frame makes room for another at once. While one of them still searches it does not,
// and not for as long as it took to read it.
func TestAFrameThatHasServedMakesRoom(t *testing.T) {
	w := newWorld(t, repair.Config{Frames: 1, Grace: time.Hour, Keep: 24 * time.Hour})
	sources := []repair.Source{w.source(0), w.source(1)}
	ctx := context.Background()
	v, err := sources[0].Table.View(cut) // so that the next one reads nothing
	require.NoError(t, err)
	require.NoError(t, v.Close())
	g := &gate{reached: make(chan struct{}, 1), open: make(chan struct{})}
	w.gate.Store(g)
	opened := make(chan *repair.Frame)
	go func() {
		f, _ := w.desk.Open(ctx, sources[0], cut)
		opened <- f
	}()
	<-g.reached
	w.pass(time.Second) // so long it takes
	w.gate.Store(nil)
	close(g.open)
	first := <-opened
	require.NotNil(t, first)
	search := func(first int) {
		t.Helper()
		f := w.open(sources[0])
		_, err := f.Cells(ctx, first, 8)
		require.NoError(t, err)
		f.Release()
	}
	found := func() {
		t.Helper()
		f := w.open(sources[0])
		got, _, err := collect(f, f.Tags()[0])
		require.NoError(t, err)
		require.Len(t, got, 1)
		f.Release()
	}
	busy := func() {
		t.Helper()
		_, err := w.desk.Open(ctx, sources[1], cut)
		require.ErrorIs(t, err, repair.ErrBusy)
	}
	first.Release()
	search(0)
	search(8) // of the same replica
	search(0) // of another
	found()   // which has asked for tags as well
	w.pass(time.Minute)
	busy()
	tags := w.open(sources[0])
	for range 2 {
		_, _, err := collect(tags, 0)
		require.NoError(t, err)
	}
	tags.Release()
	busy()
	w.pass(time.Second - time.Millisecond)
	busy()
	w.pass(time.Millisecond)
	w.open(sources[1]).Release()
	w.pass(time.Minute)
	_, err = w.desk.Open(ctx, sources[0], cut)
	require.ErrorIs(t, err, repair.ErrBusy, "nobody has fetched anything from the other")
}

func TestAFrameIsForgotten(t *testing.T) {
	w := newWorld(t, repair.Config{Keep: time.Minute})
	src := w.source(0)
	f := w.open(src)
	_, err := f.Cells(context.Background(), 0, 64)
	require.NoError(t, err)
	require.EqualValues(t, 20*(rows-1)+24*64, w.metric("held_bytes"))
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
	w := newWorld(t, repair.Config{MemoryBytes: 30 * rows, Frames: 5, Grace: time.Second})
	f := w.open(w.source(0))
	src := w.source(1)
	_, err := w.desk.Open(context.Background(), src, cut)
	require.ErrorIs(t, err, repair.ErrBusy, "two do not fit")
	f.Release()
	w.pass(time.Second)
	w.open(src)
	require.EqualValues(t, 1, w.metric("frames"))

	w = newWorld(t, repair.Config{MemoryBytes: 10 * rows})
	_, err = w.desk.Open(context.Background(), w.source(0), cut)
	require.ErrorIs(t, err, repair.ErrTooLarge)
}

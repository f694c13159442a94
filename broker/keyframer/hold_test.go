package keyframer_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/table"
)

// holds is what a test holds.
type holds struct {
	mu          sync.Mutex
	from, since int64
	cuts        []int64
	heldBack    int
	onHeldBack  func(*holds)
	lost        []int32 // partitions
}

func newHolds() *holds { return &holds{from: math.MaxInt64, since: math.MaxInt64} }

func (h *holds) Held([16]byte, int32) (from, since int64, cuts []int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.from, h.since, slices.Clone(h.cuts)
}

func (h *holds) HeldBack(context.Context, [16]byte, int32) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.heldBack++
	if h.onHeldBack != nil {
		h.onHeldBack(h)
	}
	return nil
}

func (h *holds) Lost(topicID [16]byte, partition int32) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lost = append(h.lost, partition)
	h.cuts = nil
	return nil
}

func (h *holds) told() []int32 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.lost)
}

func (h *holds) set(from, since int64, cuts ...int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.from, h.since, h.cuts = from, since, cuts
}

func (h *holds) asked() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.heldBack
}

// cutEach appends one record and cuts, that many times: frames at 1, 2, and so on.
func (n *node) cutEach(l *memlog.Log, times int) {
	for range times {
		l.Append(memlog.Put(fmt.Sprint("k", l.Bounds().LogEnd%7), "v"))
		n.cut()
		n.clock.advance(time.Millisecond)
	}
}

// A trim that is due stops at what is held, and goes on when that is let go.
func TestTrimStopsAtWhatIsHeld(t *testing.T) {
	h := newHolds()
	n := newNode(t, keyframer.Config{Holds: h})
	l := n.add(fold.LastValue, calm(), 1)[0]
	n.cutEach(l, 10)
	h.set(5, math.MaxInt64, 5)
	settings := calm()
	settings.DeltaRetentionMs = 0
	n.settle(settings)
	n.eventually("the trim stops at the frame that is held", func() bool { return l.Bounds().DeltaStart == 5 && h.asked() > 0 })
	for range 5 { // it is tried again when a second has passed, and stays
		before := h.asked()
		n.clock.advance(2 * time.Second)
		n.settle(settings)
		n.eventually("another look", func() bool { return h.asked() > before })
		require.EqualValues(t, 5, l.Bounds().DeltaStart)
		require.Equal(t, []int64{5, 6, 7, 8, 9, 10}, cuts(n.table(0)))
	}
	h.set(7, math.MaxInt64)
	n.settle(settings)
	n.eventually("it follows", func() bool { return l.Bounds().DeltaStart == 7 })
	h.set(math.MaxInt64, math.MaxInt64)
	n.settle(settings)
	n.eventually("nothing is held any more", func() bool { return l.Bounds().DeltaStart == 9 })
}

// Who is told that he holds a trim up may let go, and the trim goes on at once.
func TestHeldBack(t *testing.T) {
	h := newHolds()
	h.from, h.onHeldBack = 3, func(h *holds) { h.from = 8 }
	n := newNode(t, keyframer.Config{Holds: h})
	l := n.add(fold.LastValue, calm(), 1)[0]
	n.cutEach(l, 10)
	require.Zero(t, h.asked(), "nothing is due")
	settings := calm()
	settings.DeltaRetentionMs = 0
	n.settle(settings)
	n.eventually("the trim goes on", func() bool { return l.Bounds().DeltaStart == 8 })
}

func TestThinningSparesWhatIsHeld(t *testing.T) {
	h := newHolds()
	n := newNode(t, keyframer.Config{Holds: h})
	l := n.add(fold.LastValue, calm(), 1)[0]
	n.cutEach(l, 12)
	h.set(3, math.MaxInt64, 3, 6)
	settings := calm()
	settings.Retain = 2
	n.settle(settings)
	n.eventually("all others go", func() bool { return slices.Equal(cuts(n.table(0)), []int64{1, 3, 6, 12}) })
	h.set(6, math.MaxInt64, 6)
	n.settle(settings)
	n.eventually("one more", func() bool { return slices.Equal(cuts(n.table(0)), []int64{1, 6, 12}) })
}

// What changed since a held offset stays complete.
func TestTombstonesThatAreHeldDoNotExpire(t *testing.T) {
	h := newHolds()
	n := newNode(t, keyframer.Config{Holds: h})
	l := n.add(fold.LastValue, calm(), 1)[0]
	for i := range 20 {
		l.Append(memlog.Put(fmt.Sprint("k", i), "v"))
	}
	for i := range 20 {
		l.Append(memlog.Delete(fmt.Sprint("k", i)))
	}
	n.cut()
	l.Append(memlog.Put("last", "v"))
	h.set(math.MaxInt64, 30)
	settings := calm()
	settings.DeltaRetentionMs, settings.DeleteRetentionMs = 0, 0
	n.clock.advance(time.Millisecond)
	n.settle(settings)
	n.eventually("trimmed", func() bool { return l.Bounds().DeltaStart == 40 && n.metric("keyframe_trims_total") == 1 }) // in both halves: the table has its time
	n.clock.advance(time.Hour)
	n.settle(settings)
	n.eventually("the others expire", func() bool { return n.table(0).Horizon() == 30 })
	view, err := n.table(0).View(40)
	require.NoError(t, err)
	kept := 0
	for row, err := range view.Offsets(30, true) {
		require.NoError(t, err)
		require.True(t, row.Tombstone)
		kept++
	}
	require.NoError(t, view.Close())
	require.Equal(t, 10, kept)
	h.set(math.MaxInt64, math.MaxInt64)
	n.clock.advance(time.Hour)
	n.settle(settings)
	n.eventually("all have expired", func() bool { return n.table(0).Horizon() == 40 })
}

// Whoever comes to hold a frame finds it there, however it falls together with trims and thinning.
func TestRetainedIsRetained(t *testing.T) {
	h := newHolds()
	n := newNode(t, keyframer.Config{Holds: h})
	settings := calm()
	settings.DeltaRetentionMs, settings.Retain = 0, 2
	l := n.add(fold.LastValue, settings, 1)[0]
	n.cutEach(l, 3)
	stop := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				l.Append(memlog.Put(fmt.Sprint("k", l.Bounds().LogEnd%7), "v"))
				if _, err := n.k.Cut(context.Background(), topicName); err != nil {
					t.Error(err)
				}
				n.clock.advance(time.Millisecond)
				if err := n.k.Configure(topicName, settings); err != nil {
					t.Error(err)
				}
			}
		}
	})
	p := n.partition(0)
	deadline := time.Now().Add(time.Minute)
	for i := 0; i < 300 || l.Bounds().DeltaStart <= 3 && time.Now().Before(deadline); i++ { // until there was a trim beside it
		var held table.Frame
		require.NoError(t, p.Retain(func(r keyframer.Retained) error {
			held = r.Frames[i%len(r.Frames)]
			h.set(held.Cut, math.MaxInt64, held.Cut)
			return nil
		}))
		for range 20 {
			_, err := n.table(0).Frame(held.Cut)
			require.NoError(t, err)
			require.LessOrEqual(t, l.Bounds().DeltaStart, held.Cut)
		}
		h.set(math.MaxInt64, math.MaxInt64)
	}
	close(stop)
	writer.Wait()
	require.Greater(t, l.Bounds().DeltaStart, int64(3), "nothing was trimmed meanwhile")
}

// trimming is a log that tells when it is about to be trimmed.
type trimming struct {
	*memlog.Log
	before func()
}

func (l *trimming) TrimTo(ctx context.Context, deltaStart int64) error {
	l.before()
	return l.Log.TrimTo(ctx, deltaStart)
}

// What is about to go is not retained: who comes between the decision and the deed gets something else.
func TestWhatIsGoingIsNotRetained(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	begun, gate := make(chan struct{}), make(chan struct{})
	trim := sync.OnceFunc(func() { close(gate) })
	t.Cleanup(trim)
	l := &trimming{Log: memlog.New(n.clock.Now), before: func() {
		close(begun)
		<-gate
	}}
	s := spec(fold.LastValue, l.Log)
	s.Partitions[0].Log = l
	require.NoError(t, n.k.Add(s, calm()))
	n.cutEach(l.Log, 6)
	retained := func() (deltaStart int64, at []int64) {
		require.NoError(t, n.partition(0).Retain(func(r keyframer.Retained) error {
			deltaStart = r.Bounds.DeltaStart
			for _, f := range r.Frames {
				at = append(at, f.Cut)
			}
			return nil
		}))
		return deltaStart, at
	}
	settings := calm()
	settings.DeltaRetentionMs = 0
	n.settle(settings)
	<-begun
	require.Zero(t, l.Bounds().DeltaStart)
	require.Equal(t, []int64{1, 2, 3, 4, 5, 6}, cuts(n.table(0)))
	deltaStart, at := retained()
	require.EqualValues(t, 5, deltaStart)
	require.Equal(t, []int64{5, 6}, at)
	n.settle(calm())
	trim()
	n.eventually("trimmed", func() bool { return slices.Equal(cuts(n.table(0)), []int64{5, 6}) })

	// A frame that is being thinned.
	n.cutEach(l.Log, 3)
	goOn := n.holdUp()
	settings = calm()
	settings.Retain = 3
	n.settle(settings)
	n.eventually("a frame is about to go", func() bool {
		_, at := retained()
		return len(at) == 4
	})
	require.Len(t, cuts(n.table(0)), 5)
	goOn()
	n.eventually("it has gone", func() bool { return len(cuts(n.table(0))) == 4 })
	_, at = retained()
	require.Equal(t, cuts(n.table(0)), at)
}

// Tombstones that are about to expire count as gone: who comes meanwhile is offered what changed since above them. Those that somebody came to hold
// before that stay.
func TestWhatIsGoingIsNotRetainedSince(t *testing.T) {
	h := newHolds()
	n := newNode(t, keyframer.Config{Holds: h})
	l := n.add(fold.LastValue, calm(), 1)[0]
	for i := range 20 {
		l.Append(memlog.Put(fmt.Sprint("k", i), "v"))
	}
	for i := range 20 {
		l.Append(memlog.Delete(fmt.Sprint("k", i)))
	}
	n.cut()
	l.Append(memlog.Put("last", "v"))
	settings := calm()
	settings.DeltaRetentionMs = 0
	n.clock.advance(time.Millisecond)
	n.settle(settings)
	n.eventually("trimmed", func() bool { return l.Bounds().DeltaStart == 40 && n.metric("keyframe_trims_total") == 1 })
	horizon := func() (at int64) {
		require.NoError(t, n.partition(0).Retain(func(r keyframer.Retained) error {
			at = r.Horizon
			return nil
		}))
		return at
	}
	require.Zero(t, horizon())

	h.set(math.MaxInt64, 30)
	goOn := n.holdUp()
	settings.DeleteRetentionMs = 0
	n.clock.advance(time.Hour)
	n.settle(settings)
	n.eventually("tombstones are about to expire", func() bool { return horizon() == 30 })
	require.Zero(t, n.table(0).Horizon(), "they are there still")
	h.set(math.MaxInt64, math.MaxInt64)
	goOn()
	n.eventually("they have", func() bool { return n.table(0).Horizon() >= 30 })
	n.clock.advance(time.Hour)
	n.settle(settings)
	n.eventually("the others too", func() bool { return n.table(0).Horizon() == 40 })
	require.EqualValues(t, 40, horizon())
}

// late is a replica that comes to hold something between the look at what is due and the deed.
type late struct {
	*holds
	come func(h *holds, asked int) // called at each look
	mu   sync.Mutex
	n    int
}

func (l *late) Held(id [16]byte, partition int32) (from, since int64, cuts []int64) {
	l.mu.Lock()
	l.n++
	if l.come != nil {
		l.come(l.holds, l.n)
	}
	l.mu.Unlock()
	return l.holds.Held(id, partition)
}

func (l *late) from(come func(*holds, int)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n, l.come = 0, come
}

// What is held by the time of the deed stays, though nothing was held when it was decided: a trim, a thinning, an expiry.
func TestHeldAtTheLastMoment(t *testing.T) {
	h := &late{holds: newHolds()}
	n := newNode(t, keyframer.Config{Holds: h})
	l := n.add(fold.LastValue, calm(), 1)[0]
	n.cutEach(l, 8)
	refused := func(what string, settings keyframer.Settings, look int, come func(*holds), stays func() bool, goes func() bool) {
		t.Helper()
		came := make(chan struct{})
		h.from(func(held *holds, asked int) {
			if asked == look { // the one before has decided
				come(held)
				close(came)
			}
		})
		n.clock.advance(time.Hour)
		n.settle(settings)
		<-came
		looks := func() int {
			h.mu.Lock()
			defer h.mu.Unlock()
			return h.n
		}
		before := looks()
		n.clock.advance(time.Hour)
		n.settle(settings)
		n.eventually(what+" is looked at again", func() bool { return looks() > before })
		require.True(t, stays(), what)
		h.set(math.MaxInt64, math.MaxInt64)
		n.clock.advance(time.Hour)
		n.settle(settings)
		n.eventually(what, goes)
	}
	thin := calm()
	thin.Retain = 6
	refused("thinning", thin, 2,
		func(held *holds) { held.set(math.MaxInt64, math.MaxInt64, cuts(n.table(0))...) },
		func() bool { return len(cuts(n.table(0))) == 8 },
		func() bool { return len(cuts(n.table(0))) == 7 })
	for i := range 4 {
		l.Append(memlog.Delete(fmt.Sprint("k", i)))
	}
	n.cutEach(l, 1)
	trim := calm()
	trim.DeltaRetentionMs = 0
	refused("the trim", trim, 2,
		func(held *holds) { held.set(1, math.MaxInt64) },
		func() bool { return l.Bounds().DeltaStart <= 1 },
		func() bool { return l.Bounds().DeltaStart == 8 })
	l.Append(memlog.Put("last", "v"))
	n.cutEach(l, 1)
	n.settle(trim)
	n.eventually("the deletions are trimmed", func() bool { return l.Bounds().DeltaStart == 13 && cuts(n.table(0))[0] == 13 })
	expire := trim
	expire.DeleteRetentionMs = 0
	refused("the expiry", expire, 3,
		func(held *holds) { held.set(math.MaxInt64, 9) },
		func() bool { return n.table(0).Horizon() <= 9 },
		func() bool { return n.table(0).Horizon() == 12 }) // behind the last tombstone
}

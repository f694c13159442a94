package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
)

// mirror applies changes as a watcher's user would.
type mirror struct {
	state map[string]string
	at    Positions
	seen  int
}

func (m *mirror) take(c Change) {
	if c.Deleted {
		delete(m.state, string(c.Key))
	} else {
		m.state[string(c.Key)] = string(c.Value)
	}
	m.at[c.Partition] = c.Next
	m.seen++
}

// follow watches until the mirror is at every offset in ends.
func (m *mirror) follow(ctx context.Context, r *Replica, ends map[int32]int64) error {
	var from Positions
	if m.at != nil {
		from = maps.Clone(m.at)
	} else {
		m.at = Positions{}
	}
	for c, err := range r.Watch(ctx, from) {
		if err != nil {
			return err
		}
		m.take(c)
		done := true
		for p, end := range ends {
			done = done && m.at[p].Offset >= end
		}
		if done {
			return nil
		}
	}
	return nil
}

func newMirror() *mirror { return &mirror{state: map[string]string{}} }

func TestWatchFromTheStartAndOn(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.log.append(0, "a", "1", "b", "1")
		g.log.cut(0)
		g.open()
		g.log.append(0, "a", "-", "c", "1")
		g.requireState(0)
		m := newMirror()
		require.NoError(t, m.follow(testContext(t), g.r, map[int32]int64{0: 4}))
		require.Equal(t, g.log.state(0), m.state)

		end := g.log.append(0, "b", "-", "d", "1", "e", "2")
		require.NoError(t, m.follow(testContext(t), g.r, map[int32]int64{0: end}))
		require.Equal(t, g.log.state(0), m.state)
		require.Equal(t, 2+3, m.seen, "two rows, then each change once")
	})
}

// Whatever is written, wherever a watcher stops and resumes, however little the replica keeps: the mirror is the state, or the
// watcher is told to begin anew.
func TestWatchResumesAnywhere(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		seed := rand.Uint64()
		t.Logf("seed %d", seed)
		rnd := rand.New(rand.NewPCG(seed, 1))
		resets, slow := 0, 0
		for range 30 {
			g := newRig(t, fold.LastValue, 2)
			g.cfg.Store = store()
			g.cfg.WatchChanges = 1 + rnd.IntN(40)
			ends := map[int32]int64{}
			write := func(n int) {
				for range n {
					p := rnd.Int32N(2)
					v := fmt.Sprint(rnd.IntN(1000))
					if rnd.IntN(3) == 0 {
						v = "-"
					}
					ends[p] = g.log.append(p, fmt.Sprintf("%d/%d", p, rnd.IntN(20)), v)
				}
				for p := range int32(2) { // the last change of all must be one
					ends[p] = g.log.append(p, fmt.Sprintf("%d/last", p), fmt.Sprint(rnd.Uint64()))
				}
			}
			write(20)
			g.log.cut(0)
			r := g.open()
			m := newMirror()
			for range 6 {
				write(rnd.IntN(60))
				for p, end := range ends {
					require.NoError(t, r.WaitFor(testContext(t), p, end))
				}
				for {
					err := m.follow(testContext(t), r, ends)
					var reset *WatchResetError
					var behind *SlowWatcherError
					if errors.As(err, &reset) {
						resets++
						m = newMirror()
						continue
					}
					if errors.As(err, &behind) {
						slow++
						m.at = behind.Resume
						continue
					}
					require.NoError(t, err)
					break
				}
				want := g.log.state(0)
				maps.Copy(want, g.log.state(1))
				require.Equal(t, want, m.state)
			}
			require.NoError(t, r.Close())
		}
		t.Logf("%d resets, %d times too slow", resets, slow)
	})
}

// A watcher that does not keep up costs the replica nothing; it is told where to go on, and loses nothing.
func TestSlowWatcher(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.cfg.WatchChanges = 8
		g.log.append(0, "a", "0")
		g.log.cut(0)
		r := g.open()
		g.log.append(0, "start", "1")
		g.requireState(0)
		m := newMirror()
		m.at = r.Positions()
		var slow *SlowWatcherError
		first := true
		g.log.append(0, "a", "1")
		for c, err := range r.Watch(testContext(t), m.at) {
			if err != nil {
				require.ErrorAs(t, err, &slow)
				break
			}
			m.take(c)
			if first {
				first = false
				for i := range 50 {
					g.log.append(0, "a", fmt.Sprint(i), fmt.Sprintf("k%d", i%3), "x")
				}
				g.log.append(0, "k1", "-")
				g.requireState(0)
			}
		}
		require.NotNil(t, slow)
		m.at = slow.Resume
		require.NoError(t, m.follow(testContext(t), r, map[int32]int64{0: r.Positions()[0].Offset}))
		want := g.log.state(0)
		delete(want, "start")
		require.Equal(t, want, m.state)
	})
}

// Whoever comes with a position that the replica has not reached yet is told of nothing below it, and of everything from there on.
func TestWatchWaitsForAPosition(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.log.append(0, "a", "1")
		g.log.cut(0)
		r := g.open()
		g.requireState(0)
		from := r.Positions()
		from[0] = Position{Incarnation: from[0].Incarnation, Offset: 3}
		ctx, cancel := context.WithCancel(testContext(t))
		next, stop := pullChanges(r.Watch(ctx, from))
		defer func() { cancel(); stop() }()
		g.log.append(0, "a", "2")
		require.NoError(t, r.WaitFor(testContext(t), 0, 2))
		g.log.append(0, "b", "2")
		require.NoError(t, r.WaitFor(testContext(t), 0, 3))
		g.log.append(0, "c", "3")
		c, err := next()
		require.NoError(t, err)
		require.Equal(t, "c", string(c.Key))
		require.EqualValues(t, 3, c.Offset)
	})
}

// When a state is replaced, watchers see the difference, and keys that vanished as deletions.
func TestWatchSeesAReplacedState(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.log.append(0, "gone", "1", "same", "1", "other", "1")
		g.log.cut(0)
		r := g.open()
		g.log.append(0, "tail", "1")
		g.requireState(0) // so the tail is assigned
		m := newMirror()
		require.NoError(t, m.follow(testContext(t), r, map[int32]int64{0: 4}))
		ctx, cancel := context.WithCancel(testContext(t))
		next, stop := pullChanges(r.Watch(ctx, m.at))
		defer stop()
		defer cancel()
		g.log.create(2, 1)
		g.log.append(0, "same", "1", "other", "2", "new", "3")
		g.log.cut(0)
		m.seen = 0
		for len(m.state) != 3 || m.at[0].Incarnation[15] != 2 {
			c, err := next()
			require.NoError(t, err)
			m.take(c)
		}
		require.Equal(t, g.log.state(0), m.state)
		require.LessOrEqual(t, m.seen, 5)

		var reset *WatchResetError
		old := Positions{0: {Incarnation: [16]byte{0: 'i', 15: 1}, Offset: 1}}
		for _, err := range r.Watch(testContext(t), old) {
			require.ErrorAs(t, err, &reset, "a position in another life of the log means nothing")
		}
	})
}

func pullChanges(seq func(func(Change, error) bool)) (next func() (Change, error), stop func()) {
	type item struct {
		c   Change
		err error
	}
	items, quit, ended := make(chan item), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for c, err := range seq {
			select {
			case items <- item{c, err}:
			case <-quit:
				return
			}
		}
	}()
	return func() (Change, error) {
			select {
			case i := <-items:
				return i.c, i.err
			case <-ended:
				return Change{}, errors.New("the watch ended")
			}
		}, func() {
			close(quit)
			select {
			case <-items:
			case <-ended:
			}
		}
}

// Of two positions it is named what tells them apart.
func TestWatchResetErrorText(t *testing.T) {
	one, other := [16]byte{0xaa}, [16]byte{0xbb}
	for want, e := range map[string]WatchResetError{
		"offset 5: the oldest position is 28":                                     {From: Position{one, 5, 0}, Horizon: Position{one, 28, 25}},
		"offset 28 with log start 0: the oldest position is 28 with log start 25": {From: Position{one, 28, 0}, Horizon: Position{one, 28, 25}},
		fmt.Sprintf("offset 28 of incarnation %x: the oldest position is 28 of another log, incarnation %x", one, other): {
			From: Position{one, 28, 0}, Horizon: Position{other, 28, 25}},
	} {
		e.Partition = 3
		require.EqualError(t, &e, "partition 3 cannot be watched from "+want+"; watch from the start")
	}
}

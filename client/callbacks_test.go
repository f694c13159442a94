package client

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
)

// inCallbacks are all methods of a replica as they are called within a callback, with a drift that is found, named and repaired.
var inCallbacks = map[string]func(t require.TestingT, r *Replica){
	"Close": func(t require.TestingT, r *Replica) { require.NoError(t, r.Close()) },
	"Verify": func(t require.TestingT, r *Replica) {
		require.Len(t, r.Verify(context.Background()), 1)
	},
	"Scrub": func(t require.TestingT, r *Replica) {
		require.Equal(t, Equal, r.Scrub(context.Background())[0].Outcome)
	},
	"WaitFor": func(t require.TestingT, r *Replica) {
		require.NoError(t, r.WaitFor(context.Background(), 0, 1))
		require.ErrorIs(t, r.WaitFor(context.Background(), 0, 1<<40), ErrInCallback)
	},
	"Watch": func(t require.TestingT, r *Replica) {
		changes, last := 0, error(nil)
		for _, err := range r.Watch(context.Background(), nil) {
			changes++
			last = err
		}
		require.Greater(t, changes, 90)
		require.ErrorIs(t, last, ErrInCallback)
	},
	"Scan": func(t require.TestingT, r *Replica) {
		for _, err := range r.Scan(context.Background(), nil) {
			require.NoError(t, err)
		}
	},
	"the others": func(t require.TestingT, r *Replica) {
		_, ok, err := r.Get(context.Background(), []byte("one"))
		require.True(t, ok)
		require.NoError(t, err)
		_, _, err = r.GetFrom(context.Background(), 0, []byte("one"))
		require.NoError(t, err)
		_, err = r.Digest()
		require.NoError(t, err)
		_, err = r.Position(0)
		require.NoError(t, err)
		require.Len(t, r.Positions(), 1)
		require.NoError(t, r.Err())
		require.NotEmpty(t, r.Name())
		require.Equal(t, []int32{0}, r.Partitions())
	},
}

// Every method may be called within every callback: it answers, or says that it would have to wait; the replica goes on, and can be closed.
func TestCallsWithinCallbacks(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		for _, within := range []string{"OnVerdict", "OnEvent", "OnDifference"} {
			for name, call := range inCallbacks {
				t.Run(within+"/"+name, func(t *testing.T) {
					g := newDriftRig(t, 100, store())
					done := make(chan struct{})
					var once sync.Once
					run := func() {
						once.Do(func() {
							defer close(done)
							call(saying{t}, g.r)
						})
					}
					verdict, event := g.cfg.OnVerdict, g.cfg.OnEvent
					g.cfg.OnVerdict = func(v Verdict) {
						if verdict(v); within == "OnVerdict" && v.Outcome == Drifted {
							run()
						}
					}
					g.cfg.OnEvent = func(e Event) {
						if event(e); within == "OnEvent" && e.Kind == Repaired {
							run()
						}
					}
					g.cfg.OnDifference = func(Difference) {
						if within == "OnDifference" {
							run()
						}
					}
					g.start()
					g.drift(10)
					select {
					case <-done:
					case <-time.After(guard):
						t.Fatal("it hangs")
					}
					if name != "Close" {
						g.await("the repair", func() bool { _, ok := g.saw(Repaired); return ok })
						g.lose = false
						g.log.append(0, "end", "1")
						g.requireState(0)
					}
					require.NoError(t, g.r.Close())
				})
			}
		}
	})
}

// saying fails a test from any goroutine.
type saying struct{ t *testing.T }

func (s saying) Errorf(format string, args ...any) { s.t.Errorf(format, args...) }
func (s saying) FailNow()                          { s.t.Fail() }

// A callback that takes its time holds up its own partition, once there is much to tell; no other. All is told in the end, one at a time.
func TestASlowCallbackHoldsUpItsPartitionAlone(t *testing.T) {
	g := newRig(t, fold.LastValue, 2)
	release := make(chan struct{})
	var calls [2]atomic.Int32
	verdict, event := g.cfg.OnVerdict, g.cfg.OnEvent
	one := func(partition int32, told func()) {
		require.EqualValues(saying{t}, 1, calls[partition].Add(1), "two at a time")
		told()
		calls[partition].Add(-1)
	}
	g.cfg.OnVerdict = func(v Verdict) {
		one(v.Partition, func() {
			if verdict(v); v.Partition == 0 {
				<-release
			}
		})
	}
	g.cfg.OnEvent = func(e Event) { one(e.Partition, func() { event(e) }) }
	r := g.open()
	var last int64
	equal := func(partition int32, at int64) func() bool {
		return func() bool {
			g.mu.Lock()
			defer g.mu.Unlock()
			for _, v := range g.verdicts {
				if v.Partition == partition && v.At == at {
					return v.Outcome == Equal
				}
			}
			return false
		}
	}
	for !r.callbacks.full(0) {
		for p := range int32(2) {
			last = g.log.append(p, "k", "v")
			g.log.cut(p)
		}
		g.await("partition 1", equal(1, last))
	}
	for range 3 * pendingFrames {
		for p := range int32(2) {
			last = g.log.append(p, "k", "v")
			g.log.cut(p)
		}
	}
	require.NoError(t, r.WaitFor(testContext(t), 1, last))
	g.await("partition 1", equal(1, last))
	at, err := r.Position(0)
	require.NoError(t, err)
	require.Less(t, at.Offset, last)
	close(release)
	require.NoError(t, r.WaitFor(testContext(t), 0, last))
	g.await("partition 0", equal(0, last))
}

// What is told of one partition is told in order, whoever comes behind; who waits is let go when it is told, or when he is to stop.
func TestCallbacksComeInOrder(t *testing.T) {
	var c callbacks
	begin, ended := make(chan struct{}), make(chan struct{})
	var told []int
	for i := range 10 * toldBehind {
		c.tell(0, func() {
			if i == 0 {
				<-begin
			}
			require.True(saying{t}, c.inside())
			told = append(told, i)
		})
	}
	require.True(t, c.full(0))
	require.False(t, c.inside())
	close(ended)
	c.wait(0, 0, ended)
	c.tell(1, func() {})
	c.wait(1, 0, nil)
	close(begin)
	c.wait(0, 0, nil)
	require.Len(t, told, 10*toldBehind)
	require.IsIncreasing(t, told)
	require.False(t, c.full(0))
	c.end()
	c.tell(0, func() { saying{t}.Errorf("told after the end") })
	c.running.Wait()
}

// Who waits for a call is let go when that has returned, also where the next one takes long.
func TestACallIsWaitedForAlone(t *testing.T) {
	for range 2000 {
		var c callbacks
		goOn := make(chan struct{})
		c.tell(0, func() {})
		c.tell(0, func() { <-goOn })
		late, cancel := context.WithTimeout(t.Context(), guard)
		c.wait(0, 1, late.Done())
		require.NoError(t, late.Err())
		cancel()
		close(goOn)
		c.running.Wait()
	}
}

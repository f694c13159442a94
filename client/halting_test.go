package client

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/state"
)

// haltRig is a replica of several partitions that halts on drift. It notes which keys have been named, and why the replica has ended, when it is first told
// that a partition has stopped, as who ends it then knows.
type haltRig struct {
	*rig
	lose  atomic.Bool      // what is written does not reach the replica
	name  func(Difference) // before a key counts as named
	first sync.Once
	keys  []string // named by now
	ended chan struct{}
	named []string // when it ended
	why   error
}

func newHaltRig(t *testing.T, partitions int32, store Store) *haltRig {
	g := &haltRig{rig: newRig(t, fold.LastValue, partitions), name: func(Difference) {}, ended: make(chan struct{})}
	g.cfg.OnDrift, g.cfg.Store, g.cfg.haltWait = Halt, store, time.Hour
	g.plane.interval.Store(never)
	g.tail.fault = func(s segment) []segment {
		if g.lose.Load() {
			s.records = nil
		}
		return []segment{s}
	}
	g.cfg.OnDifference = func(d Difference) {
		g.name(d)
		g.mu.Lock()
		defer g.mu.Unlock()
		g.keys = append(g.keys, string(d.Key))
	}
	event := g.cfg.OnEvent
	g.cfg.OnEvent = func(e Event) {
		if e.Kind == Stopped {
			g.first.Do(func() {
				g.mu.Lock()
				g.named = slices.Sorted(slices.Values(g.keys))
				g.mu.Unlock()
				if g.r != nil {
					g.why = g.r.Err()
				}
				close(g.ended)
			})
		}
		event(e)
	}
	for p := range partitions {
		g.log.append(p, "a"+string('0'+p), "1", "b"+string('0'+p), "1")
		g.log.cut(p)
	}
	return g
}

// drift has a partition miss two keys.
func (g *haltRig) drift(p int32) {
	g.lose.Store(true)
	end := g.log.append(p, "a"+string('0'+p), "2", "c"+string('0'+p), "2")
	require.NoError(g.t, g.r.WaitFor(testContext(g.t), p, end))
	g.lose.Store(false)
}

// awaitHalted waits until a partition has halted, whether that is told yet or not.
func (g *haltRig) awaitHalted(p int32) {
	deadline := time.After(guard)
	for {
		moved := g.r.halting.moved.wait()
		if g.r.partitions[p].failure() != nil {
			return
		}
		select {
		case <-moved:
		case <-deadline:
			g.t.Fatal("it never halts")
		}
	}
}

// requireEnded waits until the replica ends: then all these keys are named, and its error is that of all these partitions.
func (g *haltRig) requireEnded(keys []string, partitions ...int32) {
	g.t.Helper()
	select {
	case <-g.ended:
	case <-time.After(guard):
		g.t.Fatal("no partition ever stops")
	}
	require.Equal(g.t, keys, g.named)
	require.Equal(g.t, partitions, failed(g.why))
}

// failed are the partitions that an error names.
func failed(err error) (out []int32) {
	switch e := err.(type) {
	case *PartitionError:
		out = append(out, e.Partition)
	case interface{ Unwrap() []error }:
		for _, err := range e.Unwrap() {
			out = append(out, failed(err)...)
		}
	}
	return out
}

// Whoever ends a replica as soon as a partition of it has stopped knows each key that differs, of every partition that was found to differ by then, however
// slowly these are named. A partition of which nothing is due is not waited for.
func TestPartitionsHaltTogether(t *testing.T) {
	for name, wait := range map[string]time.Duration{"in time": time.Hour, "late": time.Nanosecond} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, store func() Store) {
				g := newHaltRig(t, 4, store())
				g.cfg.haltWait = wait
				naming, held := make(chan struct{}), make(chan struct{})
				once, release := sync.Once{}, sync.OnceFunc(func() { close(held) })
				g.name = func(d Difference) {
					if d.Partition == 1 {
						once.Do(func() { close(naming) })
						<-held
					}
				}
				g.open()
				t.Cleanup(release)
				g.drift(1)
				g.log.cut(1)
				<-naming
				g.drift(0)
				g.drift(2)
				g.log.cut(0)
				g.log.cut(2)
				g.awaitHalted(0)
				g.awaitHalted(2)
				require.Zero(t, g.happened(Stopped), "partition 1 is being named")
				require.Equal(t, "halted", g.awaitTold("that it has halted", func(x *state.ReplicaPartition) bool { return x.Phase == "halted" }).Phase)
				release()
				g.requireEnded([]string{"a0", "a1", "a2", "c0", "c1", "c2"}, 0, 1, 2)
				require.NoError(t, g.r.WaitFor(testContext(t), 3, g.log.append(3, "goes", "on")))
			})
		})
	}
}

// happened is count where a callback may be held.
func (g *haltRig) happened(kind EventKind) (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range g.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// requireWaiting requires that the replica has not ended yet, and why.
func (g *haltRig) requireWaiting(why string) {
	g.t.Helper()
	select {
	case <-g.ended:
		g.t.Fatal(why)
	case <-time.After(50 * time.Millisecond): // who does not wait has ended sooner
	}
}

// Who waits for keys that are being named goes on when they are, whatever becomes of that partition.
func TestHaltingGoesOnWhenKeysAreNamed(t *testing.T) {
	g := newHaltRig(t, 2, Memory())
	g.cfg.haltWait = time.Nanosecond
	g.open()
	p := g.r.partitions[1]
	p.unfollow() // as a partition that is found to differ is not followed
	p.setUnnamed(true)
	g.drift(0)
	g.log.cut(0)
	g.awaitHalted(0)
	g.requireWaiting("partition 1 is being named")
	p.setUnnamed(false)
	g.requireEnded([]string{"a0", "c0"}, 0)
}

// A frame that was cut before a partition halts counts, also where nobody has told of it yet.
func TestHaltingAsksForFrames(t *testing.T) {
	g := newHaltRig(t, 2, Memory())
	g.open()
	g.plane.silent.Store(true)
	g.drift(0)
	g.drift(1)
	g.log.cut(1)
	g.r.partitions[0].askNow()
	g.requireEnded([]string{"a0", "a1", "c0", "c1"}, 0, 1)
}

// A comparison at a partition's own position that is under way counts, though no frame is known that would call for it.
func TestHaltingWaitsForAComparison(t *testing.T) {
	g := newHaltRig(t, 2, Memory())
	g.open()
	g.drift(0)
	g.drift(1)
	asked, held := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(held) })
	t.Cleanup(release)
	before := func() {
		close(asked)
		<-held
	}
	g.plane.before.Store(&before)
	g.r.partitions[1].askNow()
	<-asked
	g.log.cut(0)
	g.awaitHalted(0)
	g.requireWaiting("partition 1 is being compared")
	release()
	g.requireEnded([]string{"a0", "a1", "c0", "c1"}, 0, 1)
}

// A partition that has not reached the cut of a frame that is known is waited for, until it has; for so long, or until the replica closes.
func TestHaltingWaitsForCuts(t *testing.T) {
	behind := func(t *testing.T, wait time.Duration) *haltRig {
		g := newHaltRig(t, 2, Memory())
		g.cfg.haltWait = wait
		g.open()
		g.drift(0)
		g.tail.hold()
		g.log.append(1, "a1", "2")
		g.log.cut(1)
		g.lose.Store(true)
		g.log.cut(0)
		g.awaitHalted(0)
		return g
	}
	t.Run("reached", func(t *testing.T) {
		g := behind(t, time.Hour)
		require.Zero(t, g.count(Stopped))
		g.tail.release()
		g.requireEnded([]string{"a0", "a1", "c0"}, 0, 1)
	})
	t.Run("right", func(t *testing.T) {
		g := behind(t, time.Hour)
		require.Zero(t, g.count(Stopped))
		g.lose.Store(false)
		g.tail.release()
		g.requireEnded([]string{"a0", "c0"}, 0)
	})
	t.Run("too late", func(t *testing.T) {
		g := behind(t, time.Nanosecond)
		g.requireEnded([]string{"a0", "c0"}, 0)
	})
	t.Run("closed", func(t *testing.T) {
		g := behind(t, time.Hour)
		require.NoError(t, g.r.Close())
		require.ErrorIs(t, g.r.Err(), ErrDrifted)
		require.Equal(t, 1, g.count(Stopped))
	})
}

// Two partitions that had drifted when the replica fell asleep, and whose log was trimmed meanwhile, are both named, however long it takes one of them to
// learn what has changed.
func TestHaltingBehindTheTrim(t *testing.T) {
	fs := vfs.NewMem()
	g := newHaltRig(t, 2, DirFS(fs, "replica"))
	g.open()
	g.drift(0)
	g.drift(1)
	require.NoError(t, g.r.Close())
	for p := range int32(2) {
		g.log.append(p, "later", "1")
		g.log.cut(p)
		g.log.trim(p)
	}
	named := make(chan struct{})
	event := g.cfg.OnEvent
	g.cfg.OnEvent = func(e Event) {
		event(e)
		if e.Kind == KeysNamed && e.Partition == 0 {
			close(named)
		}
	}
	alter := func(req *state.ResumeRequest, _ *state.ResumeResponse) {
		if req.Partition == 1 {
			<-named
		}
	}
	g.plane.alter.Store(&alter)
	g.r = nil
	r := g.open()
	require.ErrorIs(t, r.WaitFor(testContext(t), 0, 1<<40), ErrDrifted)
	g.told()
	require.Equal(t, []string{"a0", "a1", "c0", "c1"}, g.named)
	require.Equal(t, []int32{0, 1}, failed(r.Err()))
}

// A stored state that has halted before the others are there is a state all the same: the replica opens, and says so.
func TestOpenBesideAHaltedPartition(t *testing.T) {
	for range 10 {
		g := newHaltRig(t, 2, DirFS(vfs.NewMem(), "replica"))
		g.cfg.haltWait = time.Nanosecond
		g.open()
		g.drift(1)
		require.NoError(t, g.r.Close())
		alter := func(req *state.ResumeRequest, _ *state.ResumeResponse) {
			if req.Partition == 0 {
				<-g.ended
			}
		}
		g.plane.alter.Store(&alter)
		r := g.open()
		require.ErrorIs(t, r.Err(), ErrDrifted)
		require.NoError(t, r.WaitFor(testContext(t), 0, g.log.append(0, "goes", "on")))
	}
}

// refuse has the log go on from nothing that a partition has, and the key frame that it has is not to take the place of that.
func (g *haltRig) refuse(p int32) {
	for range 2 {
		g.log.append(p, "later", "1")
		g.log.cut(p)
	}
	g.log.trim(p)
	g.log.expire(p)
}

// A partition in the place of whose copy no frame may come ends as one that halts: it says so when the keys of the others are named.
func TestARefusedPartitionWaitsForTheOthers(t *testing.T) {
	for name, wait := range map[string]time.Duration{"in time": time.Hour, "late": time.Nanosecond} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, store func() Store) {
				g := newHaltRig(t, 2, store())
				g.cfg.haltWait = wait
				naming, held := make(chan struct{}), make(chan struct{})
				once, release := sync.Once{}, sync.OnceFunc(func() { close(held) })
				g.name = func(Difference) {
					once.Do(func() { close(naming) })
					<-held
				}
				g.open()
				t.Cleanup(release)
				g.drift(0)
				g.log.cut(0)
				<-naming
				g.plane.dispute(true)
				g.tail.hold()
				g.refuse(1)
				g.tail.release()
				g.awaitHalted(1)
				require.Zero(t, g.happened(Stopped), "partition 0 is being named")
				release()
				g.requireEnded([]string{"a0", "c0"}, 0, 1)
				var refused *ReplaceRefusedError
				require.ErrorAs(t, g.r.partitions[1].failure(), &refused)
			})
		})
	}
}

// Who waits for a partition goes on at once when that ends by being refused.
func TestARefusedPartitionIsNotWaitedFor(t *testing.T) {
	g := newHaltRig(t, 2, Memory())
	asked, held := make(chan struct{}), make(chan struct{})
	once, release := sync.Once{}, sync.OnceFunc(func() { close(held) })
	alter := func(req *state.ResumeRequest, _ *state.ResumeResponse) {
		if req.Partition == 1 {
			once.Do(func() { close(asked) })
			<-held
		}
	}
	g.open()
	t.Cleanup(release)
	g.plane.alter.Store(&alter)
	g.plane.dispute(true)
	g.tail.hold()
	g.refuse(1)
	g.tail.release()
	<-asked
	g.drift(0)
	g.log.cut(0)
	g.awaitHalted(0)
	require.Zero(t, g.happened(Stopped), "partition 1 is being loaded")
	release()
	g.requireEnded([]string{"a0", "c0"}, 0, 1)
}

// A directory that does not open because one of its partitions is refused has had the keys named of another that nobody has compared before, at each start.
func TestKeysAreNamedBesideARefusedPartition(t *testing.T) {
	g := newHaltRig(t, 2, DirFS(vfs.NewMem(), "replica"))
	g.open()
	g.drift(1)
	g.log.cut(1)
	g.requireEnded([]string{"a1", "c1"}, 1)
	g.drift(0)
	require.NoError(t, g.r.Close())
	g.log.cut(0)
	g.refuse(1)
	for range 2 {
		g.keys = nil
		_, err := openReplica(testContext(t), g.cfg.withDefaults(), g.tail)
		require.Equal(t, []int32{0, 1}, failed(err))
		var refused *ReplaceRefusedError
		require.ErrorAs(t, err, &refused)
		require.ElementsMatch(t, []string{"a0", "c0"}, g.keys)
	}
}

// The keys of a copy that is refused because it is found to differ are waited for as well, however long they take.
func TestARefusedPartitionIsNamed(t *testing.T) {
	g := newHaltRig(t, 2, DirFS(vfs.NewMem(), "replica"))
	g.cfg.haltWait = time.Nanosecond
	naming, held := make(chan struct{}), make(chan struct{})
	once, release := sync.Once{}, sync.OnceFunc(func() { close(held) })
	g.name = func(d Difference) {
		if d.Partition == 1 {
			once.Do(func() { close(naming) })
			<-held
		}
	}
	alter := func(req *state.ResumeRequest, m *state.ResumeResponse) {
		if req.RepairAt == nil {
			m.Answer, m.Partition.DeltaStartOffset = state.Answer_ANSWER_REPAIR, 1<<40
		}
	}
	g.open()
	t.Cleanup(release)
	g.drift(1)
	g.plane.alter.Store(&alter)
	g.tail.hold()
	for range 2 {
		g.log.append(1, "later", "1")
		g.log.cut(1)
	}
	g.log.trim(1)
	g.tail.release()
	<-naming
	g.drift(0)
	g.log.cut(0)
	g.awaitHalted(0)
	require.True(t, g.r.partitions[1].due(0, true), "it is being named")
	require.Zero(t, g.happened(Stopped))
	release()
	g.requireEnded([]string{"a0", "a1", "c0", "c1"}, 0, 1)
	var refused *ReplaceRefusedError
	require.ErrorAs(t, g.r.partitions[1].failure(), &refused)
}

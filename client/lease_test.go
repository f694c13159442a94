package client

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/state"
)

// awaitLease waits until cond holds for lease i.
func (g *rig) awaitLease(i int, what string, cond func(l fakeLease) bool) {
	deadline := time.After(guard)
	for {
		changed := g.plane.leases.changed.wait()
		if all := g.plane.leases.all(); len(all) > i && cond(all[i]) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			g.t.Fatalf("never: %s; leases %+v", what, g.plane.leases.all())
		}
	}
}

// slowFrame lets frames get no further than their middle until it is called.
func (g *rig) slowFrame() (finish func()) {
	gate := make(chan struct{})
	var once sync.Once
	slow := func(try int, b []byte) []byte {
		if try == 1 {
			return b[:len(b)/2]
		}
		<-gate
		return b
	}
	g.plane.fault.Store(&slow)
	finish = func() { once.Do(func() { close(gate) }) }
	g.t.Cleanup(finish)
	return finish
}

// A lease is renewed while its frame loads, with nothing reached, then with the position, until the replica is where the log ended when
// it was given.
func TestLeaseIsRenewedUntilTheTailIsJoined(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.plane.leases.lasts = 30 * time.Millisecond
		g.log.append(0, "big", strings.Repeat("v", 100_000))
		g.log.cut(0)
		g.log.append(0, "a", "1")
		g.tail.hold()
		finish := g.slowFrame()
		opened := make(chan struct{})
		go func() { defer close(opened); g.open() }()
		g.awaitLease(0, "renewals while it loads", func(l fakeLease) bool { return l.renewals >= 3 && l.position == -1 && !l.released })
		finish()
		<-opened
		g.awaitLease(0, "a renewal with the position", func(l fakeLease) bool { return l.position == 1 && !l.released })
		g.tail.release()
		g.awaitLease(0, "the release", func(l fakeLease) bool { return l.released && l.position == 2 })
		g.requireState(0)
		require.Len(t, g.plane.leases.all(), 1)
		_, ended := g.saw(LeaseEnded)
		require.False(t, ended)
	})
}

// A replica that closes gives its lease up.
func TestLeaseIsReleasedByClose(t *testing.T) {
	g := newRig(t, fold.LastValue, 1)
	g.log.append(0, "a", "1")
	g.log.cut(0)
	g.log.append(0, "a", "2")
	g.tail.hold()
	r := g.open()
	require.NoError(t, r.Close())
	g.awaitLease(0, "the release", func(l fakeLease) bool { return l.released })
}

// A lease that the log ends while a slow frame loads is an event with the log's reason. What is loaded is kept, and the log is asked how it goes
// on from there.
func TestLeaseEndsWhileAFrameLoads(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.plane.leases.lasts = 30 * time.Millisecond
		g.log.append(0, "big", strings.Repeat("v", 100_000))
		cut := g.log.cut(0)
		g.log.append(0, "a", "1")
		a := g.spy(nil)
		finish := g.slowFrame()
		opened := make(chan struct{})
		go func() { defer close(opened); g.open() }()
		g.awaitLease(0, "the lease", func(fakeLease) bool { return true })
		g.plane.leases.end(state.Reason_REASON_LEASE_EXPIRED)
		require.Eventually(t, func() bool { return g.reason(LeaseEnded) == state.Reason_REASON_LEASE_EXPIRED }, guard, time.Millisecond)
		finish()
		<-opened
		g.requireState(0)
		require.Equal(t, []state.Answer{state.Answer_ANSWER_FRAME, state.Answer_ANSWER_CONTINUE}, a.all())
		require.Equal(t, cut, a.request(1).Points[0].Offset)
		require.Equal(t, int64(2), g.plane.tries.Load(), "the frame was loaded once")
	})
}

// A lease that ends while the replica follows, but has not joined the tail yet, has it ask again.
func TestLeaseEndsOnTheWayToTheTail(t *testing.T) {
	for _, why := range []state.Reason{state.Reason_REASON_LEASE_EXPIRED, state.Reason_REASON_LEASE_REVOKED, state.Reason_REASON_TOPIC_DELETED} {
		g := newRig(t, fold.LastValue, 1)
		g.plane.leases.lasts = 30 * time.Millisecond
		g.log.append(0, "a", "1")
		g.log.cut(0)
		g.log.append(0, "a", "2")
		a := g.spy(nil)
		g.tail.hold()
		g.open()
		g.plane.leases.end(why)
		g.await("the event", func() bool { return g.reason(LeaseEnded) == why })
		g.tail.release()
		g.requireState(0)
		require.Equal(t, []state.Answer{state.Answer_ANSWER_FRAME, state.Answer_ANSWER_CONTINUE}, a.all())
		require.NoError(t, g.r.Close())
	}
}

// However fast the log is trimmed, a slow replica with a lease finds what it needs, from the frame to the tail, and what is held follows it.
func TestTrimmingBesideASlowReplica(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.Counter, 1)
		g.cfg.Store = store()
		g.plane.leases.lasts = 10 * time.Millisecond
		g.log.append(0, "n", "1")
		cut := g.log.cut(0)
		g.log.append(0, "n", "1")
		a := g.spy(nil)
		g.tail.hold()
		finish := g.slowFrame()
		opened := make(chan struct{})
		go func() { defer close(opened); g.open() }()
		g.awaitLease(0, "the lease", func(fakeLease) bool { return true })
		write := func() {
			for range 20 {
				g.log.append(0, "n", "1", "m", "1")
				g.log.append(0, "n", "1")
				g.log.cut(0)
				g.log.trimTo(0, g.plane.leases.from())
			}
		}
		write()
		finish()
		<-opened
		write()
		g.awaitLease(0, "the position", func(l fakeLease) bool { return l.position == cut })
		g.tail.release()
		g.requireState(0)
		g.awaitLease(0, "the release", func(l fakeLease) bool { return l.released })
		require.Equal(t, []state.Answer{state.Answer_ANSWER_FRAME}, a.all())
		g.log.trimTo(0, g.plane.leases.from())
		g.log.mu.Lock()
		defer g.log.mu.Unlock()
		require.Equal(t, g.log.parts[0].end, g.log.parts[0].deltaStart, "nothing is held any more")
	})
}

// A lease by which nothing is held any more once its frame is loaded is given up at once, not when it would be renewed.
func TestLeaseOfAnIdleTopic(t *testing.T) {
	g := newRig(t, fold.LastValue, 1)
	g.log.append(0, "a", "1")
	end := g.log.cut(0)
	g.open()
	require.NoError(t, g.r.Close()) // what follows is run's business, and nothing moves meanwhile
	p, leases := g.r.partitions[0], &g.plane.leases
	leases.mu.Lock()
	leases.lasts = time.Hour // from the first renewal on
	leases.mu.Unlock()
	given := leases.give(end)
	p.hold(t.Context(), plane.Answer{Info: plane.Partition{LastStable: end}, Lease: &plane.Lease{ID: given.Id, Expires: time.Now()}})
	g.awaitLease(1, "a renewal", func(l fakeLease) bool { return l.renewals == 1 && l.position == -1 })
	require.True(t, p.holds())
	g.awaitLease(1, "the release", func(l fakeLease) bool { return l.released })
	require.Equal(t, 2, leases.all()[1].renewals)
	p.letGo()
	g.r.cfg.HTTPClient.CloseIdleConnections()
}

// A partition has one lease at a time, and gives up the former before it keeps another.
func TestOneLeaseAtATime(t *testing.T) {
	g := newRig(t, fold.LastValue, 1)
	g.open()
	require.NoError(t, g.r.Close()) // what follows is run's business
	p := g.r.partitions[0]
	for i := range 3 {
		given := g.plane.leases.give(7)
		p.hold(t.Context(), plane.Answer{Info: plane.Partition{LastStable: 1 << 40}, Lease: &plane.Lease{ID: given.Id, Expires: time.UnixMilli(given.ExpiresMs)}})
		for j, l := range g.plane.leases.all() {
			require.Equal(t, j < i, l.released, "lease %d of %d", j, i)
		}
	}
	p.letGo()
	require.True(t, g.plane.leases.all()[2].released)
	require.Nil(t, p.lease)
	g.r.cfg.HTTPClient.CloseIdleConnections()
}

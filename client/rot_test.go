package client

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/state"
)

// rot flips a bit of a row that is kept in memory; flip does so again.
func (g *rig) rot(key string) (flip func()) {
	row, _, err := g.r.Get(testContext(g.t), []byte(key))
	require.NoError(g.t, err)
	flip = func() { row.Value[0] ^= 1 }
	flip()
	return flip
}

// last is the latest verdict.
func (g *rig) last() (v Verdict) {
	g.told()
	g.mu.Lock()
	defer g.mu.Unlock()
	if n := len(g.verdicts); n > 0 {
		v = g.verdicts[n-1]
	}
	return v
}

// rotsInMemory is a replica of which row a rots in memory, and others do, once it was found equal, and which is scrubbed. flip makes a what it was.
func rotsInMemory(t *testing.T, policy Policy, others ...string) (g *rig, flip func()) {
	return rotsInMemoryWith(t, policy, func(*rig) {}, others...)
}

// rotsInMemoryWith is rotsInMemory of a rig that is changed before the replica is opened.
func rotsInMemoryWith(t *testing.T, policy Policy, change func(*rig), others ...string) (g *rig, flip func()) {
	g = newRig(t, fold.LastValue, 1)
	change(g)
	g.cfg.OnDrift, g.cfg.ScrubRate, g.cfg.scrubPause = policy, 1_000_000, time.Hour
	g.plane.interval.Store(never)
	g.log.append(0, "a", "123456", "b", "1")
	g.log.cut(0)
	r := g.open()
	awaitFollowing(t, r.partitions[0])
	g.log.append(0, "b", "2")
	g.awaitVerdict(g.log.cut(0), Equal)
	flip = g.rot("a")
	for _, key := range others {
		g.rot(key)
	}
	r.scrubAll(testContext(t))
	return g, flip
}

// requireRotten requires that the replica is wrong by every comparison, in the program and as the broker is told, ever since it was first.
func (g *rig) requireRotten() {
	g.t.Helper()
	v := g.r.Verify(testContext(g.t))[0]
	require.Equal(g.t, Error, v.Outcome)
	require.ErrorIs(g.t, v.Err, ErrCorrupt)
	g.awaitTold("that it is rotten", func(x *state.ReplicaPartition) bool { return x.Outcome == state.Outcome_OUTCOME_ERROR })
	for i, parts := 0, g.plane.parts(); i < len(parts); i++ {
		if parts[i].Outcome == state.Outcome_OUTCOME_ERROR {
			require.Contains(g.t, parts[i].Reason, ErrCorrupt.Error())
			for _, x := range parts[i:] {
				require.Equal(g.t, state.Outcome_OUTCOME_ERROR, x.Outcome)
			}
			break
		}
	}
}

// Rows that are known to be rotten, and stay, are not equal to the log at the next key frame either, though the digest beside them is; they are once all were
// hashed anew and are what was applied.
func TestRottenRowsAreNotEqual(t *testing.T) {
	for _, background := range []bool{false, true} {
		t.Run(fmt.Sprint("background ", background), func(t *testing.T) {
			g, flip := rotsInMemory(t, Report)
			look := func() { require.Equal(t, Equal, g.r.Scrub(testContext(t))[0].Outcome) }
			if background {
				look = func() { g.r.scrubAll(testContext(t)) }
			}
			p := g.r.partitions[0]
			awaitFollowing(t, p)
			before, _ := p.lastVerified()
			g.log.append(0, "c", "1")
			cut := g.log.cut(0)
			g.awaitVerdict(cut, Error)
			g.requireRotten()
			now, _ := p.lastVerified()
			require.Equal(t, before, now, "nothing was verified since")

			flip()
			g.requireRotten() // nobody has looked
			look()
			require.Equal(t, Equal, g.r.Verify(testContext(t))[0].Outcome)
			g.awaitTold("that it is equal", func(x *state.ReplicaPartition) bool {
				return x.Outcome == state.Outcome_OUTCOME_EQUAL && x.Compared.Offset == cut
			})
		})
	}
}

// Nor is one that then catches up, its position having been trimmed: what came is the log's, and what was rotten is still there.
func TestRottenRowsAreNotEqualOnceCaughtUp(t *testing.T) {
	g, _ := rotsInMemory(t, Report)
	awaitFollowing(t, g.r.partitions[0])
	before, _ := g.r.partitions[0].lastVerified()
	g.log.append(0, "x", "1")
	require.NoError(t, g.r.WaitFor(testContext(t), 0, 4))
	g.tail.hold()
	g.log.append(0, "c", "1", "c", "-")
	g.log.cut(0)
	g.log.trim(0)
	g.tail.release()
	g.await("what changed", func() bool { return g.count(CaughtUp) == 1 })
	g.awaitTold("that it has caught up", func(x *state.ReplicaPartition) bool { return x.Bootstraps == 2 })
	g.requireRotten()
	now, _ := g.r.partitions[0].lastVerified()
	require.Equal(t, before, now, "nothing was verified since")
}

// Once the log has overwritten all that was rotten, the rows are the log's: the next comparison says so, and so does every one from then on, a scrub too. As
// long as it has overwritten some, what differs may be the others: that is no drift.
func TestRottenRowsAreOverwritten(t *testing.T) {
	for name, overwrite := range map[string][]string{
		"values": {"a", "new", "b", "new"}, "deletions": {"a", "-", "b", "-"}, "what is the same": {"a", "123456", "b", "2"},
	} {
		t.Run(name, func(t *testing.T) {
			g, _ := rotsInMemory(t, Report, "b")
			p := g.r.partitions[0]
			awaitFollowing(t, p)
			g.log.append(0, overwrite[:2]...)
			g.awaitVerdict(g.log.cut(0), Error)
			g.requireRotten()

			g.log.append(0, overwrite[2:]...)
			cut := g.log.cut(0)
			g.awaitVerdict(cut, Equal)
			g.requireState(0)
			now, _ := p.lastVerified()
			require.Equal(t, cut, now.offset)
			require.Equal(t, Equal, g.r.Scrub(testContext(t))[0].Outcome)
			require.Equal(t, Equal, g.r.Verify(testContext(t))[0].Outcome)
			g.awaitTold("that it is equal", func(x *state.ReplicaPartition) bool {
				return x.Outcome == state.Outcome_OUTCOME_EQUAL && x.Verified == cut
			})
			g.log.append(0, "c", "1")
			g.awaitVerdict(g.log.cut(0), Equal)
			require.Equal(t, 1, g.count(CorruptionFound))
			require.Zero(t, g.count(DriftFound))
		})
	}
}

// So it is where that is found beside a frame, where what overwrites them came as what has changed, and where they were overwritten before they were found.
func TestRottenRowsAreOverwrittenBesideAFrame(t *testing.T) {
	t.Run("at the position", func(t *testing.T) {
		g, _ := rotsInMemory(t, Report)
		g.plane.silent.Store(true)
		g.log.append(0, "a", "new")
		g.log.cut(0)
		require.NoError(t, g.r.WaitFor(testContext(t), 0, g.log.append(0, "c", "1")))
		require.Equal(t, Equal, g.r.Verify(testContext(t))[0].Outcome)
		require.Equal(t, Equal, g.r.Scrub(testContext(t))[0].Outcome)
		equal := g.outcomes()[Equal]
		g.plane.silent.Store(false)
		g.log.changed.notify()
		g.await("the frame that it has passed", func() bool { return g.outcomes()[Equal] > equal })
		require.Equal(t, 1, g.outcomes()[Drifted], "by the scrub")
	})
	t.Run("what has changed", func(t *testing.T) {
		g, _ := rotsInMemory(t, Report)
		awaitFollowing(t, g.r.partitions[0])
		g.log.append(0, "x", "1")
		require.NoError(t, g.r.WaitFor(testContext(t), 0, 4))
		g.tail.hold()
		g.log.append(0, "a", "new", "c", "-")
		cut := g.log.cut(0)
		g.log.trim(0)
		g.tail.release()
		g.awaitVerdict(cut, Equal)
		g.requireState(0)
		require.Equal(t, Equal, g.r.Scrub(testContext(t))[0].Outcome)
		require.Equal(t, 1, g.count(Bootstrapped))
	})
	t.Run("found later", func(t *testing.T) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.OnDrift, g.cfg.ScrubRate = Report, -1
		g.log.append(0, "a", "123456")
		g.log.cut(0)
		awaitFollowing(t, g.open().partitions[0])
		g.rot("a")
		g.log.append(0, "a", "new")
		cut := g.log.cut(0)
		g.awaitVerdict(cut, Drifted) // nobody has looked
		require.Equal(t, Drifted, g.r.Scrub(testContext(t))[0].Outcome)
		require.Equal(t, Equal, g.r.Verify(testContext(t))[0].Outcome)
		require.Equal(t, Equal, g.r.Scrub(testContext(t))[0].Outcome)
	})
}

// Rows that are found to be rotten while others are known to be count as well.
func TestMoreRottenRows(t *testing.T) {
	g, _ := rotsInMemory(t, Report)
	awaitFollowing(t, g.r.partitions[0])
	g.rot("b")
	g.r.scrubAll(testContext(t))
	g.log.append(0, "a", "new")
	g.awaitVerdict(g.log.cut(0), Error)
	g.log.append(0, "b", "new")
	g.awaitVerdict(g.log.cut(0), Equal)
	require.Equal(t, 1, g.count(CorruptionFound))
}

// Where they are repaired at a key frame, all of them may have been overwritten on the way to it: then there is nothing to repair. Else that is no drift either.
func TestRottenRowsAreOverwrittenBeforeTheirRepair(t *testing.T) {
	for name, c := range map[string]struct {
		overwritten []string
		repairs     int
	}{"all": {[]string{"a", "new", "b", "new"}, 0}, "one": {[]string{"a", "new"}, 1}} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, fold.LastValue, 1)
			g.cfg.ScrubRate = -1
			g.log.append(0, "a", "123456", "b", "1")
			g.log.cut(0)
			awaitFollowing(t, g.open().partitions[0])
			require.NoError(t, g.r.WaitFor(testContext(t), 0, g.log.append(0, "behind", "the frame")))
			g.rot("a")
			g.rot("b")
			g.tail.hold()
			g.log.append(0, c.overwritten...)
			cut := g.log.cut(0)
			require.Equal(t, Drifted, g.r.Scrub(testContext(t))[0].Outcome)
			g.tail.release()
			g.await("the word that it is equal", func() bool {
				v := g.last()
				return v.At == cut && v.Outcome == Equal
			})
			g.requireState(0)
			require.Equal(t, Equal, g.r.Scrub(testContext(t))[0].Outcome)
			require.Equal(t, c.repairs, g.count(Repaired))
			if c.repairs > 0 {
				require.Equal(t, LocalCorruption, g.lastRepair().Cause)
			}
			require.Equal(t, 1, g.count(CorruptionFound))
			require.Zero(t, g.count(DriftFound))
		})
	}
}

// Nor are rows equal that a repair finds to be rotten, and may not put right, when the log has overwritten what else differed.
func TestRottenRowsThatARepairFindsAreNotEqual(t *testing.T) {
	g := newDriftRig(t, 500, Memory())
	g.plane.interval.Store(never)
	g.start()
	g.plane.dispute(true)
	g.rot("k000000499")
	g.drift(1)
	g.await("the refusal", func() bool { return g.count(RepairRefused) == 1 })
	require.Equal(t, 1, g.count(CorruptionFound))
	require.NoError(t, g.r.WaitFor(testContext(t), 0, g.log.append(0, "k000000001", "x")))
	g.awaitVerdict(g.log.cut(0), Error)
	g.requireRotten()
}

// Nor is one that has halted because of them.
func TestRottenRowsHalt(t *testing.T) {
	g, _ := rotsInMemory(t, Halt)
	g.await("the end", func() bool { return g.count(Stopped) == 1 })
	g.requireRotten()
	g.awaitTold("that it has halted", func(x *state.ReplicaPartition) bool {
		return x.Phase == state.PhaseHalted && x.Outcome == state.Outcome_OUTCOME_ERROR
	})
}

// Once they were repaired, or loaded anew, they are, and the former are kept no longer.
func TestRottenRowsAreEqualAgain(t *testing.T) {
	for policy, kind := range map[Policy]EventKind{Repair: Repaired, Rebootstrap: Bootstrapped} {
		g, _ := rotsInMemory(t, policy)
		g.await("the right rows", func() bool { return g.count(kind) == map[EventKind]int{Repaired: 1, Bootstrapped: 2}[kind] })
		awaitFollowing(t, g.r.partitions[0])
		require.Equal(t, Equal, g.r.Verify(testContext(t))[0].Outcome)
		require.Nil(t, g.r.partitions[0].rotten.Load())
		require.NoError(t, g.r.Close())
	}
}

// On disk too, where the rows of a block cannot be read.
func TestUnreadableRowsAreNotEqual(t *testing.T) {
	g := newRig(t, fold.LastValue, 1)
	g.cfg.Store, g.cfg.ScrubRate, g.cfg.OnDrift = DirFS(vfs.NewMem(), "replica"), -1, Report
	g.plane.interval.Store(never)
	for i := range 1000 {
		g.log.append(0, fmt.Sprintf("k%04d", i), fmt.Sprintf("the value of row %04d%0400d", i, 0))
	}
	g.log.cut(0)
	require.NoError(t, g.open().Close())
	rot(t, g.cfg.Store.fs, "replica/table", "the value of row 0500")
	g.open()
	require.Equal(t, Drifted, g.r.Scrub(testContext(t))[0].Outcome)
	g.await("their names", func() bool { return g.count(KeysNamed) == 1 })
	awaitFollowing(t, g.r.partitions[0])
	g.log.append(0, "k0001", "x")
	g.awaitVerdict(g.log.cut(0), Error)
	g.requireRotten()
}

// A row that is known to be rotten, and stays, hides no drift of other keys: they are named, once, at a key frame and beside one, and again when others differ.
// What is rotten alone is named once.
func TestDriftBesideRottenRowsIsNamed(t *testing.T) {
	for name, frame := range map[string]bool{"at a frame": true, "beside one": false} {
		t.Run(name, func(t *testing.T) {
			named, lose := map[string]int{}, false
			g, _ := rotsInMemoryWith(t, Report, func(g *rig) {
				g.cfg.OnDifference = func(d Difference) { named[string(d.Key)]++ }
				g.tail.fault = func(s segment) []segment {
					if lose {
						s.records = nil
					}
					return []segment{s}
				}
			})
			p := g.r.partitions[0]
			look := func(names int) {
				t.Helper()
				if frame {
					cut := g.log.cut(0)
					g.awaitVerdict(cut, Error)
				} else {
					require.Equal(t, Error, g.r.Verify(testContext(t))[0].Outcome)
				}
				g.await("the names", func() bool { return g.count(KeysNamed) >= names })
				awaitFollowing(t, p)
				g.told()
				require.Equal(t, names, g.count(KeysNamed))
			}
			write := func(key string, lost bool) {
				t.Helper()
				g.log.mu.Lock()
				lose = lost
				g.log.mu.Unlock()
				require.NoError(t, g.r.WaitFor(testContext(t), 0, g.log.append(0, key, "2")))
			}
			awaitFollowing(t, p)
			write("x", false)
			look(1)
			require.Equal(t, map[string]int{"a": 1}, named)
			write("c", true)
			look(2)
			require.Equal(t, map[string]int{"a": 2, "c": 1}, named)
			write("y", false)
			look(2)
			write("d", true)
			look(3)
			require.Equal(t, map[string]int{"a": 3, "c": 2, "d": 1}, named)
			require.Zero(t, g.count(DriftFound))
			require.Equal(t, 1, g.count(CorruptionFound))
		})
	}
}

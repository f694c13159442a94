package client

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/sketch"
	"github.com/keyframelog/keyframe/proto/state"
)

// driftRig is a replica of rows keys k0, k1, ... of 115 bytes each. drift has it lose a batch that changes n of them, deletes n/4 and makes n/4, and cuts
// a frame behind it.
type driftRig struct {
	*rig
	rows int
	only bool // values change, and nothing else
	lose bool
	cuts int
}

func newDriftRig(t *testing.T, rows int, store Store) *driftRig {
	g := &driftRig{rig: newRig(t, fold.LastValue, 1), rows: rows}
	g.cfg.Store = store
	g.tail.fault = func(s segment) []segment {
		if g.lose && len(s.records) > 1 {
			s.records = nil
		}
		return []segment{s}
	}
	kv := make([]string, 0, 2*rows)
	for i := range rows {
		kv = append(kv, fmt.Sprintf("k%09d", i), fmt.Sprintf("y%0104d", i))
	}
	g.log.append(0, kv...)
	g.log.cut(0)
	return g
}

func (g *driftRig) start() *driftRig {
	g.open()
	g.log.append(0, "one", "1")
	g.requireState(0)
	return g
}

func (g *driftRig) drift(n int) (cut int64) {
	g.t.Helper()
	g.cuts++
	var kv []string
	for i := range n {
		at := (i*7919 + g.cuts) % g.rows
		switch {
		case i%4 == 3 && n > 1 && !g.only:
			kv = append(kv, fmt.Sprintf("k%09d", at), "-")
		case i%4 == 2 && n > 1 && !g.only:
			kv = append(kv, fmt.Sprintf("new%09d-%d", at, g.cuts), fmt.Sprintf("y%0104d", i))
		default:
			kv = append(kv, fmt.Sprintf("k%09d", at), fmt.Sprintf("x%0103d%d", i, g.cuts%10))
		}
	}
	if n == 1 {
		kv = append(kv, kv...)
	}
	g.tail.hold()
	g.lose = true
	g.log.append(0, kv...)
	cut = g.log.cut(0)
	require.Eventually(g.t, func() bool { return g.r.partitions[0].knows(cut) }, guard, time.Millisecond)
	g.tail.release()
	return cut
}

func (g *driftRig) awaitRepair(cut int64, by Method) *RepairResult {
	g.t.Helper()
	g.await("the repair", func() bool { r := g.lastRepair(); return r != nil && r.Cut == cut })
	r := g.lastRepair()
	require.Equal(g.t, by, r.Method)
	require.Equal(g.t, g.log.stateAt(0, cut), g.state())
	stored, kept, _, err := g.r.partitions[0].rows().scrub()
	require.NoError(g.t, err)
	require.Equal(g.t, stored, kept)
	return r
}

// What a repair costs grows with what differs, not with what there is.
func TestRepairCost(t *testing.T) {
	g := newDriftRig(t, 100_000, Memory()).start()
	g.only = true
	for _, c := range []struct {
		keys, bytes int
		trips       int
	}{{1, 4 << 10, 3}, {1000, 200 << 10, 6}, {10_000, 2 << 20, 8}} {
		before := g.plane.repair.sketches.Load() + g.plane.repair.resolves.Load()
		r := g.awaitRepair(g.drift(c.keys), BySketch)
		t.Logf("%d keys, %d bytes, %d round trips, %s", r.Keys, r.Bytes, r.RoundTrips, r.Duration)
		require.EqualValues(t, c.keys, r.Keys)
		require.LessOrEqual(t, r.Bytes, int64(c.bytes))
		require.LessOrEqual(t, r.RoundTrips, c.trips)
		require.EqualValues(t, r.RoundTrips, g.plane.repair.sketches.Load()+g.plane.repair.resolves.Load()-before)
	}
}

// Every key that differed is told, with both hashes, and the tally of the partition.
func TestRepairNamesKeys(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newDriftRig(t, 2000, store())
		found := map[string]Difference{}
		g.cfg.OnDifference = func(d Difference) { found[string(d.Key)] = d }
		g.start()
		before := g.state()
		cut := g.drift(100)
		r := g.awaitRepair(cut, BySketch)
		after := g.state()
		require.Len(t, found, 100)
		require.EqualValues(t, 100, r.Keys)
		var h digest.Hasher
		entry := func(state map[string]string, key string) digest.Entry {
			if v, ok := state[key]; ok {
				return h.Entry([]byte(key), []byte(v))
			}
			return digest.Entry{}
		}
		for key, d := range found {
			require.Equal(t, Difference{Cut: cut, Key: []byte(key), Here: entry(before, key), Log: entry(after, key)}, d)
			require.NotEqual(t, d.Here, d.Log)
		}
		last, n := g.r.partitions[0].lastRepair()
		require.Equal(t, *r, last)
		require.EqualValues(t, 1, n)
	})
}

// A state plane that sends garbage, lies about rows, or never comes to an end costs no more than a bound, and never gets a wrong row in.
func TestRepairFromALiar(t *testing.T) {
	noise := func(first int, cells []sketch.Cell) []sketch.Cell {
		rnd := rand.New(rand.NewPCG(uint64(first), 1))
		for i := range cells {
			cells[i].Sum, cells[i].Check = rnd.Uint64(), rnd.Uint32()
		}
		return cells
	}
	wrong := func(rows []*state.Row) []*state.Row {
		rows[len(rows)/2].Value = []byte("not this")
		return rows
	}
	fewer := func(rows []*state.Row) []*state.Row { return rows[1:] }
	elsewhere := func(rows []*state.Row) []*state.Row { rows[0].Offset = 1 << 40; return rows }
	for name, c := range map[string]struct {
		cells func(int, []sketch.Cell) []sketch.Cell
		tags  func([]uint64) []uint64
		rows  func([]*state.Row) []*state.Row
		by    Method
	}{
		"endless sketch": {cells: noise, by: ByTags},
		"missing tags":   {cells: noise, tags: func(t []uint64) []uint64 { return t[1:] }, by: ByFrame},
		"too many tags":  {cells: noise, tags: func(t []uint64) []uint64 { return append(t, t...) }, by: ByFrame},
		"wrong tags":     {cells: noise, tags: func(t []uint64) []uint64 { t[0]++; return t }, by: ByFrame},
		"wrong row":      {rows: wrong, by: ByFrame},
		"missing row":    {rows: fewer, by: ByFrame},
		"future row":     {rows: elsewhere, by: ByFrame},
		"fewer cells":    {cells: func(_ int, c []sketch.Cell) []sketch.Cell { return c[1:] }, by: ByTags},
		"more cells":     {cells: func(_ int, c []sketch.Cell) []sketch.Cell { return append(c, c...) }, by: ByTags},
	} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, store func() Store) {
				g := newDriftRig(t, 5000, store())
				if c.cells != nil {
					g.plane.repair.cells.Store(&c.cells)
				}
				if c.tags != nil {
					g.plane.repair.tags.Store(&c.tags)
				}
				if c.rows != nil {
					g.plane.repair.rows.Store(&c.rows)
				}
				g.start()
				r := g.awaitRepair(g.drift(40), c.by)
				require.EqualValues(t, 40, r.Keys)
				if c.by == ByTags {
					require.Less(t, r.Bytes, int64(3*8*5000))
				}
				require.Equal(t, c.by == ByFrame, g.count(RepairFailed) == 1)
				g.log.append(0, "goes", "on")
				g.requireState(0)
			})
		})
	}
}

// Most of the state differs: the whole frame is cheaper than its rows one by one.
func TestRepairOfEverything(t *testing.T) {
	g := newDriftRig(t, 3000, Memory()).start()
	r := g.awaitRepair(g.drift(2900), ByFrame)
	require.EqualValues(t, 2900, r.Keys)
	require.Zero(t, g.plane.repair.resolves.Load())
}

// A broker that says that its rows are damaged, or that replicas agree against it, repairs nobody, neither key by key nor with a frame. The replica
// stays as it is and follows on, and repairs itself once the broker can.
func TestNobodyIsRepairedFromADoubtfulBroker(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		for _, why := range []state.Reason{state.Reason_REASON_BROKER_CORRUPT, state.Reason_REASON_DISPUTED} {
			for _, call := range []string{"sketch", "resolve", "resume"} {
				t.Run(fmt.Sprint(why, call), func(t *testing.T) {
					g := newDriftRig(t, 500, store()).start()
					refuse := func(c string) state.Reason {
						if c == call {
							return why
						}
						if call == "resume" {
							return state.Reason_REASON_UNKNOWN_FRAME
						}
						return state.Reason_REASON_UNSPECIFIED
					}
					g.plane.repair.refuse.Store(&refuse)
					before, frames := g.state(), g.plane.tries.Load()
					g.drift(30)
					g.await("the refusal", func() bool { return g.count(RepairRefused) > 0 })
					e, _ := g.saw(RepairRefused)
					require.ErrorIs(t, e.Err, ErrUnrepairable)
					end := g.log.append(0, "goes", "on")
					require.NoError(t, g.r.WaitFor(testContext(t), 0, end))
					before["goes"] = "on"
					require.Equal(t, before, g.state())
					require.Equal(t, frames, g.plane.tries.Load())
					require.Zero(t, g.count(Repaired))
					require.NoError(t, g.r.Err())

					g.plane.repair.refuse.Store(nil)
					g.awaitRepair(g.drift(2), BySketch)
				})
			}
		}
	})
}

// Many who repair at once wait for one another.
func TestRepairWaitsForABusyBroker(t *testing.T) {
	g := newDriftRig(t, 500, Memory()).start()
	busy := 7
	refuse := func(string) state.Reason { // the calls of one replica come one after the other
		if busy--; busy >= 0 {
			return state.Reason_REASON_TOO_MANY_REPAIRS
		}
		return state.Reason_REASON_UNSPECIFIED
	}
	g.plane.repair.refuse.Store(&refuse)
	r := g.awaitRepair(g.drift(10), BySketch)
	require.Equal(t, 7+2, r.RoundTrips)
	require.Zero(t, g.count(RepairFailed))
}

// The frame is thinned before it can be asked about: another one is asked for, and reached.
func TestRepairFrameIsGone(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newDriftRig(t, 500, store()).start()
		gone := make(chan int64, 1)
		refuse := func(call string) state.Reason {
			if call == "sketch" {
				select {
				case cut := <-gone:
					g.log.append(0, "behind", "it")
					g.log.thin(0, cut)
				default:
				}
			}
			return state.Reason_REASON_UNSPECIFIED
		}
		g.plane.repair.refuse.Store(&refuse)
		g.log.mu.Lock()
		end := g.log.parts[0].end
		g.log.mu.Unlock()
		gone <- end + 10
		require.Equal(t, end+10, g.drift(10))
		g.awaitRepair(end+11, BySketch)
		require.EqualValues(t, 1, g.plane.repair.resumes.Load())
		require.Equal(t, 1, g.count(Bootstrapped))
	})
}

// Halt changes nothing, and says what differs.
func TestHaltNamesKeys(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newDriftRig(t, 500, store())
		g.cfg.OnDrift = Halt
		var found []Difference
		g.cfg.OnDifference = func(d Difference) { found = append(found, d) }
		g.start()
		before := g.state()
		cut := g.drift(12)
		require.ErrorIs(t, g.r.WaitFor(testContext(t), 0, cut+1), ErrDrifted)
		require.Len(t, found, 12)
		require.Equal(t, before, g.state())
		require.Zero(t, g.count(Repaired))
	})
}

// Bytes that change in memory are found by a scrub, told apart from drift, and fetched again, also where the topic is idle.
func TestRottenRowsAreFetchedAgain(t *testing.T) {
	for name, rot := range map[string]func(row Row){
		"value": func(row Row) { row.Value[3] ^= 1 },
		"key":   func(row Row) { row.Key[3] ^= 1 },
	} {
		for _, idle := range []bool{true, false} {
			t.Run(fmt.Sprint(name, idle), func(t *testing.T) {
				g := newDriftRig(t, 500, Memory()).start()
				cut := g.log.cut(0)
				g.awaitVerdict(cut, Equal)
				if !idle {
					cut = g.log.append(0, "behind", "it")
					g.requireState(0)
				}
				row, _, err := g.r.Get(context.Background(), []byte("k000000007"))
				require.NoError(t, err)
				rot(row)
				require.Equal(t, Drifted, g.r.Scrub(context.Background())[0].Outcome)
				r := g.awaitRepair(cut, BySketch)
				require.Equal(t, LocalCorruption, r.Cause)
				require.EqualValues(t, map[string]int{"value": 1, "key": 2}[name], r.Keys)
				e, ok := g.saw(CorruptionFound)
				require.True(t, ok)
				require.ErrorIs(t, e.Err, ErrCorrupt)
				require.Zero(t, g.count(DriftFound))
				require.Equal(t, Equal, g.r.Scrub(context.Background())[0].Outcome)
				for i := range g.plane.leases.all() { // else the log could not be trimmed any more
					g.awaitLease(i, "the release", func(l fakeLease) bool { return l.released })
				}
			})
		}
	}
}

// A comparison at the replica's own position finds drift as well: it follows on to a frame and repairs itself there.
func TestVerifyRepairs(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newDriftRig(t, 500, store()).start()
		g.plane.hidden.Store(true)
		g.log.mu.Lock()
		g.lose = true
		g.log.mu.Unlock()
		end := g.log.append(0, "k000000001", "x", "k000000002", "-")
		require.NoError(t, g.r.WaitFor(testContext(t), 0, end))
		require.Equal(t, Drifted, g.r.Verify(testContext(t))[0].Outcome)
		g.awaitRepair(end, BySketch)
		require.EqualValues(t, 1, g.plane.repair.resumes.Load())
		require.Equal(t, Equal, g.r.Verify(testContext(t))[0].Outcome)
	})
}

// Who waits in Watch is told what was put right. Whoever comes back with a position at or below it had a wrong state, which no change from there on puts
// right: he begins anew.
func TestWatchersOfARepair(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newDriftRig(t, 500, store()).start()
		ctx, cancel := context.WithCancel(testContext(t))
		defer cancel()
		m := newMirror()
		require.NoError(t, m.follow(ctx, g.r, map[int32]int64{0: g.r.Positions()[0].Offset}))
		next, stop := pullChanges(g.r.Watch(ctx, maps.Clone(m.at)))
		defer stop()
		before, seen := maps.Clone(m.at), m.seen
		cut := g.drift(40)
		g.awaitRepair(cut, BySketch)
		wrong := Positions{0: {Incarnation: before[0].Incarnation, Offset: cut}}
		for !maps.Equal(m.state, g.state()) {
			c, err := next()
			require.NoError(t, err)
			m.take(c)
		}
		require.Equal(t, 40, m.seen-seen)
		require.Equal(t, cut, m.at[0].Offset)
		for _, from := range []Positions{before, wrong} {
			var reset *WatchResetError
			for c, err := range g.r.Watch(testContext(t), from) {
				require.ErrorAs(t, err, &reset, "%+v", c)
				require.Equal(t, cut+1, reset.Horizon.Offset)
			}
			require.NotNil(t, reset)
		}
		end := g.log.append(0, "later", "1")
		c, err := next()
		require.NoError(t, err)
		m.take(c)
		g.log.append(0, "last", "1")
		require.NoError(t, m.follow(testContext(t), g.r, map[int32]int64{0: end + 1}))
		require.Equal(t, g.log.state(0), m.state)
	})
}

// A state plane that knows of no repairs has frames.
func TestRepairWithoutSketches(t *testing.T) {
	g := newDriftRig(t, 500, Memory()).start()
	g.plane.repair.old.Store(true)
	require.Equal(t, connect.CodeUnimplemented, connect.CodeOf(g.plane.repair.refused("sketch", false)))
	g.awaitRepair(g.drift(10), ByFrame)
}

// From the verdict on nothing is applied until the difference is put right: the state stays at the cut.
func TestNothingIsAppliedBehindADrift(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newDriftRig(t, 500, store())
		var behind segment // comes while the verdict is told
		applied := int64(-1)
		told := g.cfg.OnVerdict
		g.cfg.OnVerdict = func(v Verdict) {
			if told(v); v.Outcome == Drifted && applied < 0 {
				p := g.r.partitions[0]
				p.apply(context.Background(), behind)
				applied = p.position().Offset
			}
		}
		g.start()
		g.lose = true
		end := g.log.append(0, "k000000001", "x", "k000000002", "-")
		require.NoError(t, g.r.WaitFor(testContext(t), 0, end))
		g.tail.hold() // what comes, comes by hand
		g.lose = false
		g.log.append(0, "behind", "it")
		g.log.mu.Lock()
		behind = g.log.parts[0].batches[len(g.log.parts[0].batches)-1]
		g.log.cutAtLocked(0, end)
		g.log.mu.Unlock()
		g.log.changed.notify()
		g.awaitRepair(end, BySketch)
		require.Equal(t, end, applied)
		g.tail.release()
		g.requireState(0)
	})
}

// A state that is not at the cut of a frame is not compared with it row by row, even if the digests agree.
func TestRehashElsewhere(t *testing.T) {
	g := newDriftRig(t, 100, Memory()).start()
	cut := g.log.cut(0)
	g.awaitVerdict(cut, Equal)
	f, err := plane.ToFrame(g.log.frameOf(0, cut))
	require.NoError(t, err)
	p := g.r.partitions[0]
	require.NoError(t, p.comparison(p.rows(), f).rehash())
	g.log.append(0, "one", "1") // the row is as it was
	g.requireState(0)
	require.ErrorContains(t, p.comparison(p.rows(), f).rehash(), "not at the cut")
}

// A frame that another one superseded at its cut (rows have expired there) is not the one that was compared with: what is asked of it is about another.
func TestRepairFrameIsSuperseded(t *testing.T) {
	g := newDriftRig(t, 500, Memory()).start()
	superseded := false
	refuse := func(call string) state.Reason {
		if call == "sketch" && !superseded {
			superseded = true
			g.plane.silent.Store(true)
			g.log.mu.Lock()
			end := g.log.parts[0].end
			g.log.mu.Unlock()
			require.Equal(t, end, g.log.cutExpiring(0, 100))
		}
		return state.Reason_REASON_UNSPECIFIED
	}
	g.plane.repair.refuse.Store(&refuse)
	g.drift(10)
	g.await("the repair", func() bool { return g.lastRepair() != nil })
	g.lose = false
	g.log.append(0, "goes", "on")
	g.requireState(0)
	require.Positive(t, g.plane.repair.resumes.Load(), "another frame was asked for")
	require.Zero(t, g.count(RepairFailed))
}

package client

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/sketch"
	"github.com/keyframelog/keyframe/proto/state"
)

// keyLog keeps what is logged of keys that differ: "key here log".
type keyLog struct {
	mu   sync.Mutex
	keys []string
}

func (l *keyLog) Enabled(context.Context, slog.Level) bool { return true }
func (l *keyLog) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *keyLog) WithGroup(string) slog.Handler            { return l }

func (l *keyLog) Handle(_ context.Context, r slog.Record) error {
	var is [3]string
	r.Attrs(func(a slog.Attr) bool {
		if i := slices.Index([]string{"key", "here", "log"}, a.Key); i >= 0 {
			is[i] = a.Value.String()
		}
		return true
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Message == "a key differs from the log" {
		l.keys = append(l.keys, strings.Join(is[:], " "))
	}
	return nil
}

// take returns the keys that were logged since it was called last.
func (l *keyLog) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	keys := l.keys
	l.keys = nil
	slices.Sort(keys)
	return keys
}

// logged is how the keys are logged in which a state differs from the log's.
func logged(here, log map[string]string) (out []string) {
	entry := func(state map[string]string, key string) string {
		var h digest.Hasher
		if v, ok := state[key]; ok {
			e := h.Entry([]byte(key), []byte(v))
			return fmt.Sprintf("%x", e[:])
		}
		return "no row, or none that can be read"
	}
	for _, s := range []map[string]string{here, log} {
		for key := range s {
			if a, b := entry(here, key), entry(log, key); a != b {
				out = append(out, fmt.Sprintf("%q %s %s", key, a, b))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (g *driftRig) logKeys() *keyLog {
	l := &keyLog{}
	g.cfg.Logger = slog.New(l)
	return l
}

// However many keys differ, each of them is logged with both hashes, once, whatever is done about it, and whichever way it is found out.
func TestEachKeyIsLogged(t *testing.T) {
	noSketch := func(call string) state.Reason {
		if call == "sketch" {
			return state.Reason_REASON_TOO_FAR_ABOVE_FRAME
		}
		return state.Reason_REASON_UNSPECIFIED
	}
	nothing := func(call string) state.Reason {
		if call == "sketch" || call == "tags" {
			return state.Reason_REASON_TOO_FAR_ABOVE_FRAME
		}
		return state.Reason_REASON_UNSPECIFIED
	}
	disputed := func(call string) state.Reason {
		if call == "sketch" {
			return state.Reason_REASON_DISPUTED
		}
		return state.Reason_REASON_UNSPECIFIED
	}
	eachStore(t, func(t *testing.T, store func() Store) {
		for name, c := range map[string]struct {
			policy Policy
			refuse func(string) state.Reason
			ends   func(*driftRig) bool
		}{
			"repair by sketch":  {Repair, nil, func(g *driftRig) bool { return g.count(Repaired) == 1 }},
			"repair by tags":    {Repair, noSketch, func(g *driftRig) bool { return g.count(Repaired) == 1 }},
			"repair by frame":   {Repair, nothing, func(g *driftRig) bool { return g.count(Repaired) == 1 }},
			"report":            {Report, nil, func(g *driftRig) bool { return g.count(DriftFound) == 1 }},
			"report, refused":   {Report, disputed, func(g *driftRig) bool { return g.count(DriftFound) == 1 }},
			"halt":              {Halt, nil, func(g *driftRig) bool { return g.count(Stopped) == 1 }},
			"halt, refused":     {Halt, disputed, func(g *driftRig) bool { return g.count(Stopped) == 1 }},
			"rebootstrap":       {Rebootstrap, nil, func(g *driftRig) bool { return g.count(Bootstrapped) == 2 }},
			"rebootstrap, tags": {Rebootstrap, noSketch, func(g *driftRig) bool { return g.count(Bootstrapped) == 2 }},
		} {
			t.Run(name, func(t *testing.T) {
				g := newDriftRig(t, 2000, store())
				g.cfg.OnDrift = c.policy
				said := g.logKeys()
				var handed []string
				g.cfg.OnDifference = func(d Difference) { handed = append(handed, string(d.Key)) }
				g.start()
				if c.refuse != nil {
					g.plane.repair.refuse.Store(&c.refuse)
				}
				before := g.state()
				cut := g.drift(300)
				g.await("what comes of it", func() bool { return c.ends(g) })
				if c.policy == Report || c.policy == Repair || c.policy == Rebootstrap {
					g.lose = false
					require.NoError(t, g.r.WaitFor(testContext(t), 0, g.log.append(0, "goes", "on")))
				}
				want := logged(before, g.log.stateAt(0, cut))
				require.Len(t, want, 300)
				require.Equal(t, want, said.take())
				require.Len(t, handed, 300)
			})
		}
	})
}

// Who only reports is told of the same keys once, and of all of them again when others differ, or differ otherwise.
func TestReportNamesWhatIsNew(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newDriftRig(t, 500, store())
		g.cfg.OnDrift = Report
		said := g.logKeys()
		g.start()
		here := g.state()
		next := func(drifts int) []string {
			g.await("the drift", func() bool { return g.count(DriftFound) == drifts && g.count(KeysNamed) == drifts })
			g.lose = false
			key := fmt.Sprint("goes on ", drifts)
			end := g.log.append(0, key, "1")
			require.NoError(t, g.r.WaitFor(testContext(t), 0, end))
			here[key] = "1"
			require.Equal(t, here, g.state())
			return said.take()
		}
		cut := g.drift(7)
		require.Equal(t, logged(here, g.log.stateAt(0, cut)), next(1))
		g.log.cut(0)
		require.Empty(t, next(2))
		cut = g.drift(9)
		want := logged(here, g.log.stateAt(0, cut))
		require.Greater(t, len(want), 9)
		require.Equal(t, want, next(3))
	})
}

// Where drift is found between two key frames, and nothing is to be put right, the keys are those that differ where the state stands.
func TestKeysAreNamedBetweenFrames(t *testing.T) {
	for policy, name := range map[Policy]string{Halt: "halt", Report: "report"} {
		t.Run(name, func(t *testing.T) {
			eachStore(t, func(t *testing.T, store func() Store) {
				g := newDriftRig(t, 500, store())
				g.cfg.OnDrift = policy
				said := g.logKeys()
				g.start()
				g.lose = true
				require.NoError(t, g.r.WaitFor(testContext(t), 0, g.log.append(0, "k000000001", "x", "k000000002", "-", "new", "x")))
				g.lose = false
				end := g.log.append(0, "one", "2")
				require.NoError(t, g.r.WaitFor(testContext(t), 0, end))
				here := g.state()
				require.Equal(t, Drifted, g.r.Verify(testContext(t))[0].Outcome)
				if policy == Halt {
					<-g.r.partitions[0].stopped
				} else {
					require.NoError(t, g.r.WaitFor(testContext(t), 0, g.log.append(0, "goes", "on")))
				}
				want := logged(here, g.log.stateAt(0, end))
				require.Len(t, want, 3)
				require.Equal(t, want, said.take())
			})
		})
	}
}

// A stored state that differs from the log, which has been trimmed to above it, is not mended by what has changed since: at the cut to which that leads it
// is said in which keys it differs from what the log has now. Those that have changed since are not told apart.
func TestKeysOfADriftBehindTheTrimAreLogged(t *testing.T) {
	g := newDriftRig(t, 500, DirFS(vfs.NewMem(), "replica"))
	g.cfg.OnDrift = Report
	g.start()
	cut := g.drift(20)
	g.await("the drift", func() bool { return g.count(DriftFound) == 1 })
	require.NoError(t, g.r.WaitFor(testContext(t), 0, cut))
	here := g.state()
	want := logged(here, g.log.stateAt(0, cut))
	require.NoError(t, g.r.Close())
	g.lose = false
	g.log.append(0, "later", "1")
	g.log.cut(0)
	g.log.trim(0)
	said, before := g.logKeys(), g.count(KeysNamed)
	g.open()
	g.await("the keys are named", func() bool { return g.count(KeysNamed) > before })
	require.Equal(t, want, said.take())
	here["later"] = "1"
	require.Equal(t, here, g.state(), "it is as it was, with what has changed")
}

// Keys are logged before they are put right, by nobody for whom others wait: reads, other partitions, and what those tell.
func TestASlowLogHoldsUpNobodyElse(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 2)
		g.cfg.Store = store()
		said := &keyLog{}
		g.cfg.Logger = slog.New(said)
		logging, held := make(chan struct{}), make(chan struct{})
		goOn := sync.OnceFunc(func() { close(held) })
		t.Cleanup(goOn)
		var once sync.Once
		g.cfg.OnDifference = func(Difference) {
			once.Do(func() { close(logging) })
			<-held
		}
		g.log.append(0, "a", "1", "b", "1")
		g.log.cut(0)
		var lose atomic.Bool
		g.tail.fault = func(s segment) []segment {
			if lose.Load() && s.partition == 0 {
				s.records = nil
			}
			return []segment{s}
		}
		r := g.open()
		lose.Store(true)
		g.log.append(0, "a", "2", "b", "2")
		require.NoError(t, r.WaitFor(testContext(t), 0, 4))
		cut := g.log.cut(0)
		<-logging
		row, ok, err := r.Get(testContext(t), []byte("a"))
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, "1", string(row.Value))
		require.NoError(t, r.WaitFor(testContext(t), 1, g.log.append(1, "c", "1")))
		other := g.log.cut(1)
		g.await("a verdict of the other", func() bool {
			g.mu.Lock()
			defer g.mu.Unlock()
			return slices.ContainsFunc(g.verdicts, func(v Verdict) bool { return v.Partition == 1 && v.At == other && v.Outcome == Equal })
		})
		goOn()
		g.await("the repair", func() bool { return g.count(Repaired) == 1 })
		require.Equal(t, g.log.stateAt(0, cut), map[string]string{"a": "2", "b": "2"})
		require.Len(t, said.take(), 2)
	})
}

// What a broker says wrongly is not logged as a difference, only keys with which the digests work out; and these are logged once, whatever becomes of
// putting them right.
func TestWrongFindingsAreNotLogged(t *testing.T) {
	for name, lie := range map[string]func(g *driftRig){
		"a difference that it hides": func(g *driftRig) {
			hide := func(first int, cells []sketch.Cell) []sketch.Cell {
				g.log.mu.Lock()
				defer g.log.mu.Unlock()
				part := g.log.parts[0]
				var h digest.Hasher
				var tags []uint64
				for key, row := range part.states[part.cuts[len(part.cuts)-1]] {
					if key == "k000000001" { // which differs, and should not
						row.Value = fmt.Appendf(nil, "y%0104d", 1)
					}
					tags = append(tags, plane.TagOf(h.Entry(row.Key, row.Value)))
				}
				return sketch.NewEncoder(tags).Next(nil, first+len(cells))[first:]
			}
			g.plane.repair.cells.Store(&hide)
		},
		"an offset twice": func(g *driftRig) {
			elsewhere := func(rows []*state.Row) []*state.Row {
				rows[0].Offset = rows[1].Offset
				return rows
			}
			g.plane.repair.rows.Store(&elsewhere)
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newDriftRig(t, 5000, DirFS(vfs.NewMem(), "replica"))
			said := g.logKeys()
			lie(g)
			g.start()
			before := g.state()
			cut := g.drift(40)
			g.await("the repair", func() bool { return g.count(Repaired) == 1 })
			require.NotEqual(t, BySketch, g.lastRepair().Method)
			require.EqualValues(t, 40, g.lastRepair().Keys)
			require.Equal(t, logged(before, g.log.stateAt(0, cut)), said.take())
		})
	}
}

// diffs counts how often the log is asked for what differs between two points.
type diffs struct{ asked atomic.Int64 }

func (c *diffs) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/Diff") {
		c.asked.Add(1)
	}
	return http.DefaultTransport.RoundTrip(r)
}

// To name keys nothing is asked for that only tells what a repair would cost: what the log has done since to the keys that differ.
func TestNamingAsksForNoCost(t *testing.T) {
	g := newHaltRig(t, 1, DirFS(vfs.NewMem(), "replica"))
	g.open()
	g.drift(0)
	require.NoError(t, g.r.Close())
	g.tail.hold()
	t.Cleanup(g.tail.release)
	g.log.append(0, "later", "1")
	var count diffs
	g.cfg.HTTPClient = &http.Client{Transport: &count}
	r, err := openReplica(testContext(t), g.cfg.withDefaults(), g.tail)
	require.NoError(t, err)
	<-g.ended
	require.Equal(t, []string{"a0", "c0"}, g.named)
	require.NoError(t, r.Close())
	require.EqualValues(t, 1, count.asked.Load(), "from the frame below the position")
}

// A key frame that is announced while keys are being named, at the offset where the state stands, is compared once it is followed on. Where no frame comes, what
// the log has put right by then is said to be: what was drifted is not for ever.
func TestWhatTheLogHealsWhileKeysAreNamedIsEqual(t *testing.T) {
	for name, c := range map[string]struct{ frame, stays bool }{
		"a frame there": {frame: true}, "no frame": {}, "a frame there, and it differs still": {frame: true, stays: true},
	} {
		t.Run(name, func(t *testing.T) {
			g := newDriftRig(t, 50, Memory())
			g.cfg.OnDrift = Report
			g.plane.interval.Store(never)
			g.start()
			p := g.r.partitions[0]
			awaitFollowing(t, p)
			g.log.mu.Lock()
			g.lose = true
			g.log.mu.Unlock()
			require.NoError(t, g.r.WaitFor(testContext(t), 0, g.log.append(0, "k000000001", "lost", "k000000002", "lost")))
			g.log.mu.Lock()
			g.lose = false
			g.log.mu.Unlock()
			var healed int64
			whileNaming := func() {
				if !c.frame {
					return
				}
				g.log.cut(0)
				require.Eventually(t, func() bool { return p.highestKnown() == healed }, guard, time.Millisecond)
			}
			whileComparing := func() {
				if healed = g.log.append(0, "k000000001", "heals"); !c.stays {
					healed = g.log.append(0, "k000000002", "heals")
				}
				require.NoError(t, g.r.WaitFor(testContext(t), 0, healed))
				g.plane.before.Store(&whileNaming)
			}
			g.plane.before.Store(&whileComparing)
			require.Equal(t, Drifted, g.r.Verify(testContext(t))[0].Outcome)
			is, told := Equal, state.Outcome_OUTCOME_EQUAL
			if c.stays {
				is, told = Drifted, state.Outcome_OUTCOME_DRIFTED
			}
			g.awaitVerdict(healed, is)
			g.awaitTold("that it is so", func(x *state.ReplicaPartition) bool { return x.Outcome == told && x.Compared.Offset == healed })
		})
	}
}

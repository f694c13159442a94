package client

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/fold"
)

// unreliable is a way from the log to a replica that loses, doubles, swaps and changes records, and remembers what it did, so that the state
// that the replica must have can be told without a digest.
type unreliable struct {
	kind fold.Kind
	rnd  *rand.Rand

	mu       sync.Mutex
	rate     float64 // of batches that are damaged
	segments map[int64]segment
	last     batch.Record
}

func (u *unreliable) pass(s segment) []segment {
	u.mu.Lock()
	defer u.mu.Unlock()
	out, ok := u.segments[s.first]
	if !ok {
		out = s
		if u.rnd.Float64() < u.rate {
			out = u.damage(s)
		}
		u.segments[s.first] = out
		if n := len(s.records); n > 0 {
			u.last = s.records[n-1]
		}
	}
	return []segment{out}
}

func (u *unreliable) damage(s segment) segment {
	s.records = slices.Clone(s.records)
	n := len(s.records)
	if n == 0 { // a marker: its offset is taken by what came before, once more
		if u.last.Key != nil {
			again := u.last
			again.Offset = s.first
			s.records = append(s.records, again)
		}
		return s
	}
	i, j := u.rnd.IntN(n), u.rnd.IntN(n)
	a, b := &s.records[i], &s.records[j]
	switch u.rnd.IntN(5) {
	case 0:
		s.records = slices.Delete(s.records, i, i+1)
	case 1:
		s.records = nil
	case 2:
		a.Value = someValue(u.kind, u.rnd)
	case 3:
		a.Key = someKey(u.rnd)
	case 4:
		a.Key, b.Key, a.Value, b.Value = b.Key, a.Key, b.Value, a.Value
	}
	return s
}

// fold is what a replica makes of what came through, from a state at an offset on.
func (u *unreliable) fold(state map[string]string, from, to int64) map[string]string {
	u.mu.Lock()
	defer u.mu.Unlock()
	out := map[string]string{}
	for k, v := range state {
		out[k] = v
	}
	folder := fold.NewFolder(u.kind, 1<<20)
	var offsets []int64
	for first := range u.segments {
		offsets = append(offsets, first)
	}
	slices.Sort(offsets)
	for _, first := range offsets {
		for _, rec := range u.segments[first].records {
			if rec.Offset < from || rec.Offset >= to {
				continue
			}
			d, err := u.kind.Delta(rec.Key, rec.Value, rec.Headers)
			if err != nil {
				continue
			}
			value, ok := out[string(rec.Key)]
			s, rejected := folder.Apply(fold.State{Exists: ok, Value: []byte(value)}, d)
			if rejected != 0 {
				continue
			}
			if delete(out, string(rec.Key)); s.Exists {
				out[string(rec.Key)] = string(s.Value)
			}
		}
	}
	return out
}

func someKey(rnd *rand.Rand) []byte { return fmt.Appendf(nil, "k%d", rnd.IntN(30)) }

func someValue(kind fold.Kind, rnd *rand.Rand) []byte {
	n := rnd.IntN(5)
	if n == 0 {
		return nil
	}
	switch kind {
	case fold.JSONMergePatch:
		return fmt.Appendf(nil, `{"%c":%d}`, 'a'+rune(rnd.IntN(4)), n)
	case fold.Debezium:
		return fmt.Appendf(nil, `{"op":"u","after":{"v":%d}}`, n)
	}
	return fmt.Append(nil, n)
}

// stateAt is the log's state at a cut.
func (l *fakeLog) stateAt(p int32, offset int64) map[string]string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string]string{}
	for k, row := range l.stateLocked(p, offset) {
		out[k] = string(row.Value)
	}
	return out
}

func (g *rig) lastRepair() *RepairResult {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range slices.Backward(g.events) {
		if e.Kind == Repaired {
			return e.Repair
		}
	}
	return nil
}

// Whatever is lost, doubled, swapped or changed on the way: the next key frame tells, exactly when the state differs, and the replica repairs
// itself there.
func TestDriftIsRepaired(t *testing.T) {
	kinds := []fold.Kind{fold.LastValue, fold.JSONMergePatch, fold.Counter, fold.Debezium}
	eachStore(t, func(t *testing.T, store func() Store) {
		for _, kind := range kinds {
			t.Run(kind.String(), func(t *testing.T) {
				seed := rand.Uint64()
				t.Logf("seed %d", seed)
				rnd := rand.New(rand.NewPCG(seed, 1))
				g := newRig(t, kind, 1)
				g.cfg.Store = store()
				u := &unreliable{kind: kind, rnd: rand.New(rand.NewPCG(seed, 2)), rate: 0.2, segments: map[int64]segment{}}
				g.tail.fault = u.pass
				write := func(n int) (end int64) {
					for range n {
						var kv []string
						for range 1 + rnd.IntN(6) {
							value := "-"
							if v := someValue(kind, rnd); v != nil {
								value = string(v)
							}
							kv = append(kv, string(someKey(rnd)), value)
						}
						g.log.append(0, kv...)
						end = g.log.marker(0)
					}
					return end
				}
				write(5)
				base := g.log.cut(0)
				g.open()
				drifts := 0
				for range 40 {
					ahead := rnd.IntN(2) == 0
					if ahead { // the frame is known before the replica gets there, and more comes behind it in the same fetch
						g.tail.hold()
					}
					end := write(1 + rnd.IntN(6))
					if !ahead {
						require.NoError(t, g.r.WaitFor(testContext(t), 0, end))
					}
					cut := g.log.cut(0)
					if ahead {
						require.Eventually(t, func() bool { return g.r.partitions[0].knows(cut) }, guard, time.Millisecond)
						end = write(1 + rnd.IntN(3))
						g.tail.release()
					}
					g.await("a verdict", func() bool { _, ok := g.verdict(cut); return ok })
					require.NoError(t, g.r.WaitFor(testContext(t), 0, end))
					v, _ := g.verdict(cut)
					want := Equal
					if fmt.Sprint(u.fold(g.log.stateAt(0, base), base, cut)) != fmt.Sprint(g.log.stateAt(0, cut)) {
						want = Drifted
						drifts++
						g.await("the repair", func() bool { return g.count(Repaired) == drifts })
						require.Equal(t, cut, g.lastRepair().Cut)
						require.Equal(t, LogicalDrift, g.lastRepair().Cause)
					}
					require.Equal(t, want, v.Outcome, "%+v", v)
					base = cut
					require.NoError(t, g.r.WaitFor(testContext(t), 0, end))
					require.Equal(t, u.fold(g.log.stateAt(0, base), base, max(end, cut)), g.state())
				}
				require.NotZero(t, drifts)
				require.Equal(t, drifts, g.outcomes()[Drifted], "each drift is found once, and nothing else is")
				require.Equal(t, 1, g.count(Bootstrapped), "no frame was loaded for any of them")
				require.Zero(t, g.count(RepairFailed))
				t.Logf("%d drifts", drifts)
			})
		}
	})
}

// knows tells whether the frame at a cut has been announced.
func (p *partition) knows(cut int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.ContainsFunc(p.known, func(f plane.Frame) bool { return f.Cut == cut })
}

package client

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/memory"
)

// since is the consolidated delta of what changed from an offset on, as of the log's end; damage may alter its footer.
func (l *fakeLog) since(t *testing.T, p int32, from int64, damage func(*frame.Footer)) *frame.Reader {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := l.parts[p].end
	id := l.frameID(p, end)
	rows := slices.Collect(maps.Values(l.rowsLocked(p, end)))
	rows = slices.DeleteFunc(rows, func(r frame.Row) bool { return r.Offset < from || r.Offset < id.Start })
	slices.SortFunc(rows, func(a, b frame.Row) int { return cmp.Compare(a.Offset, b.Offset) })
	d := digestOf(l.stateLocked(p, end))
	foot := frame.Footer{Digest: d, Pub: d.Pub(id), Rows: uint64(len(rows))}
	if damage != nil {
		damage(&foot)
	}
	var b bytes.Buffer
	w := frame.NewWriter(&b, frame.Header{TopicID: id.TopicID, Partition: p, Incarnation: id.Incarnation, Cut: end, Start: id.Start, Since: from, Fold: l.kind})
	for i := range rows {
		require.NoError(t, w.Append(&rows[i]))
	}
	require.NoError(t, w.Close(foot))
	r, err := frame.NewReader(bytes.NewReader(b.Bytes()), 0)
	require.NoError(t, err)
	return r
}

// What was applied and is not committed yet is part of what a consolidated delta is based on.
func TestConsolidateBehindWhatIsNotCommitted(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store, g.cfg.CommitInterval = store(), time.Hour
		g.lagging()
		at := g.r.Positions()[0].Offset
		g.overwrite("b")
		p := g.r.partitions[0]
		p.unfollow()
		require.NoError(t, p.consolidate(p.rows(), g.log.since(t, 0, at, nil), false))
		require.Equal(t, g.log.state(0), g.state())
	})
}

// A replica that was away takes what changed since, each key once, deletions and what has expired included; so does whoever watches it, and whoever
// resumes his watch. Nothing of a delta that does not verify is ever seen. Then the log is followed on.
func TestConsolidatedDelta(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		for _, kind := range []fold.Kind{fold.LastValue, fold.Counter} {
			for _, start := range []int64{0, 2} {
				t.Run(fmt.Sprintf("%v from %d", kind, start), func(t *testing.T) {
					g := newRig(t, kind, 1)
					g.cfg.Store = store()
					end := g.log.append(0, "a", "1", "b", "1", "c", "1", "d", "1", "e", "1")
					g.log.cut(0)
					r := g.open()
					ctx := testContext(t)
					m := newMirror()
					require.NoError(t, m.follow(ctx, r, map[int32]int64{0: end}))
					g.tail.hold()
					g.log.append(0, "c", "7", "d", "-", "f", "1")
					g.log.append(0, "c", "2", "f", "-", "g", "1")
					cut := g.log.cutExpiring(0, start)
					p := r.partitions[0]
					awaitFollowing(t, p)
					p.unfollow()
					before := g.state()
					for _, damage := range []func(*frame.Footer){
						func(f *frame.Footer) { f.Digest.Count++ }, func(f *frame.Footer) { f.Digest.Sum[0]++ }, func(f *frame.Footer) { f.Pub[0]++ },
					} {
						require.Error(t, p.consolidate(p.rows(), g.log.since(t, 0, end, damage), false))
						require.Equal(t, before, g.state())
						require.Equal(t, end, p.position().Offset)
					}
					require.ErrorIs(t, p.consolidate(p.rows(), g.log.since(t, 0, end-1, nil), false), memory.ErrFrame, "not from the position on")
					resumes := maps.Clone(m.at)
					require.NoError(t, p.consolidate(p.rows(), g.log.since(t, 0, end, nil), false))
					require.Equal(t, g.log.state(0), g.state())
					require.Equal(t, Position{p.position().Incarnation, cut, start}, p.position())
					again := &mirror{state: map[string]string{"a": "1", "b": "1", "c": "1", "d": "1", "e": "1"}, at: resumes}
					for _, watcher := range []*mirror{m, again} {
						for c, err := range r.Watch(ctx, maps.Clone(watcher.at)) {
							require.NoError(t, err)
							if watcher.take(c); watcher.at[0] == p.position() {
								break
							}
						}
						require.Equal(t, g.log.state(0), watcher.state)
					}
					for _, v := range r.Scrub(ctx) {
						require.Equal(t, Equal, v.Outcome, "%+v", v)
					}
					require.Equal(t, Equal, r.Verify(ctx)[0].Outcome)
					p.follow()
					p.mu.Lock()
					o := order{offset: p.rows().position(), epoch: p.rows().epoch(), generation: p.generation}
					p.mu.Unlock()
					r.order(o)
					g.tail.release()
					g.log.append(0, "c", "3", "h", "1")
					g.requireState(0)
					g.awaitVerdict(g.log.cut(0), Equal)
					require.NoError(t, r.Close())
					g.open()
					g.requireState(0)
				})
			}
		}
	})
}

// A row of a consolidated delta that does not lie in [since, cut), or whose key comes twice, is refused, though all digests agree: offsets are in none.
func TestConsolidatedRowsFromElsewhere(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		end := g.log.append(0, "a", "1", "b", "1")
		g.log.cut(0)
		g.open()
		g.requireState(0)
		g.tail.hold()
		cut := g.log.append(0, "a", "2", "b", "2", "c", "2")
		p := g.r.partitions[0]
		awaitFollowing(t, p)
		p.unfollow()
		former := g.state()
		at := func(key string, offset int64) frame.Row {
			return frame.Row{Key: []byte(key), Value: []byte("2"), Offset: offset}
		}
		for name, rows := range map[string][]frame.Row{
			"below the position": {at("a", end-1), at("b", end+1), at("c", end+2)},
			"at the cut":         {at("a", end), at("b", end+1), at("c", cut)},
			"above it":           {at("a", end), at("b", end+1), at("c", cut+50)},
			"a key twice":        {at("a", end), at("b", end+1), at("b", end+2)},
		} {
			require.ErrorIs(t, p.consolidate(p.rows(), g.log.wrongly(t, 0, end, rows), false), memory.ErrFrame, "%s: the whole frame helps", name)
			require.Equal(t, former, g.state(), name)
			require.Equal(t, end, p.position().Offset, name)
		}
		require.NoError(t, p.consolidate(p.rows(), g.log.wrongly(t, 0, end, []frame.Row{at("a", end), at("b", end+1), at("c", end+2)}), false))
		require.Equal(t, g.log.state(0), g.state())
	})
}

// wrongly is since with rows that no writer takes.
func (l *fakeLog) wrongly(t *testing.T, p int32, from int64, rows []frame.Row) *frame.Reader {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := l.parts[p].end
	id := l.frameID(p, end)
	d := digestOf(l.stateLocked(p, end))
	write := func(since, cut int64, foot frame.Footer, rows []frame.Row) []byte {
		var b bytes.Buffer
		w := frame.NewWriter(&b, frame.Header{TopicID: id.TopicID, Partition: p, Incarnation: id.Incarnation, Cut: cut, Since: since, Fold: l.kind})
		for i := range rows {
			require.NoError(t, w.Append(&rows[i]))
		}
		require.NoError(t, w.Close(foot))
		return b.Bytes()
	}
	head := write(from, end, frame.Footer{}, nil)
	behind := bytes.NewReader(head)
	_, err := frame.NewReader(behind, 0)
	require.NoError(t, err)
	head = head[:len(head)-behind.Len()]
	b := write(0, end+100, frame.Footer{Digest: d, Pub: d.Pub(id), Rows: uint64(len(rows))}, rows)
	r, err := frame.NewReader(bytes.NewReader(append(head, b[len(head):]...)), 0)
	require.NoError(t, err)
	return r
}

// differenceTo tells what makes rows the log's state at the end, as a repair finds it.
func (g *rig) differenceTo(s rows) (puts []frame.Row, deletes [][]byte, want digest.Digest) {
	g.log.mu.Lock()
	defer g.log.mu.Unlock()
	state := g.log.stateLocked(0, g.log.parts[0].end)
	var h digest.Hasher
	stored := map[string]digest.Entry{}
	_, _, err := s.entries(func(key []byte, e digest.Entry) { stored[string(key)] = e })
	require.NoError(g.t, err)
	for k, row := range state {
		if stored[k] != h.Entry(row.Key, row.Value) {
			puts = append(puts, row)
		}
	}
	for k := range stored {
		if _, ok := state[k]; !ok {
			deletes = append(deletes, []byte(k))
		}
	}
	return puts, deletes, digestOf(state)
}

// Rows that drifted are put right at the position, on every store, and stay so; what does not make the promised digest changes nothing.
func TestPatchedRows(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store = store()
		g.tail.fault = func(s segment) []segment {
			s.records = append([]batch.Record(nil), s.records...)
			for i := range s.records {
				switch r := &s.records[i]; r.Offset {
				case 4:
					r.Value = []byte("other")
				case 5:
					r.Key = []byte("nobody's")
				case 6:
					r.Value = nil
				}
			}
			return []segment{s}
		}
		g.log.append(0, "a", "1", "b", "1", "c", "1", "d", "-")
		g.log.cut(0)
		r := g.open()
		end := g.log.append(0, "a", "2", "b", "2", "c", "2", "d", "2")
		require.NoError(t, r.WaitFor(testContext(t), 0, end))
		p := r.partitions[0]
		s := p.rows()
		_, _, err := s.digest()
		require.NoError(t, err)
		puts, deletes, want := g.differenceTo(s)
		require.Len(t, puts, 3)
		require.Equal(t, "nobody's", string(deletes[0]))
		before := g.state()
		p.mu.Lock()
		refused, early, done := s.patch(puts[1:], deletes, want), g.state(), s.patch(puts, deletes, want)
		p.mu.Unlock()
		require.Error(t, refused)
		require.Equal(t, before, early)
		require.NoError(t, done)
		require.Equal(t, g.log.state(0), g.state())
		require.Equal(t, Equal, r.Scrub(testContext(t))[0].Outcome)
		g.awaitVerdict(g.log.cut(0), Equal)
		g.log.append(0, "a", "3", "b", "-", "e", "1")
		g.requireState(0)
		g.awaitVerdict(g.log.cut(0), Equal)
		require.NoError(t, r.Close())
		g.open()
		g.requireState(0)
	})
}

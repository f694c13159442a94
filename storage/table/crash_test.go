package table_test

import (
	"fmt"
	"iter"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/crashfs"
	"github.com/keyframelog/keyframe/storage/keys"
	"github.com/keyframelog/keyframe/storage/table"
)

// recorder clones the file system before every write, as a crash at that moment would leave it.
type recorder struct {
	fs *crashfs.FS
	mu sync.Mutex
	// guarded by mu
	on     bool
	images []*crashfs.FS
}

func (r *recorder) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.on {
		r.clone()
	}
	return nil
}

func (r *recorder) String() string { return "recorder" }

func (r *recorder) clone() {
	percent := []int{0, 50, 100}[len(r.images)%3]
	r.images = append(r.images, r.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(uint64(len(r.images)), 7))}))
}

// tried is how many of the crashes of a test are looked at: KEYFRAME_CRASH_CYCLES, default all. A look is slow under -race: there Pebble
// keeps a stack of whoever opens an sstable.
var tried = number("KEYFRAME_CRASH_CYCLES", math.MaxInt)

// crashes yields the images, or as many as are to be tried, from the first to the last.
func (r *recorder) crashes(most int) iter.Seq2[int, *crashfs.FS] {
	return func(yield func(int, *crashfs.FS) bool) {
		n := min(len(r.images), max(most, 2))
		for i := range n {
			k := i
			if n < len(r.images) {
				k = i * (len(r.images) - 1) / (n - 1)
			}
			if !yield(k, r.images[k]) {
				return
			}
		}
	}
}

func (r *recorder) record(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.on = on
}

// TestCrash crashes at every write to the file system during a trim, a thinning, an expiry and a move of the log start at the newest cut. Afterwards every row of every frame that
// is left is as the oracle has it, and so is every tombstone above the horizon; the same call brings the table where it should be.
func TestCrash(t *testing.T) {
	for _, c := range changes {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m, x, rec := recorded(t)
			if c.prepare != nil {
				c.prepare(t, m.db, x)
			}
			rec.record(true)
			c.do(t, m.db, x)
			rec.record(false)
			m.close(t)
			require.Greater(t, len(rec.images), 5)
			for i, image := range rec.crashes(tried / len(changes)) {
				y := *x
				y.frames = maps.Clone(x.frames)
				n := &model{crash: image, tables: []*modelTable{&y}}
				n.store = openStore(t, image, m.store.clock, rowMax, true)
				n.reopened(t)
				c.tell(&y)
				y.check(t, 3)
				c.do(t, n.db, &y)
				c.tell(&y)
				y.check(t, int64(i))
				require.True(t, c.end(x, &y))
				n.close(t)
			}
			t.Logf("%d crashes", len(rec.images))
		})
	}
}

// deadBelow is the offset above the last tombstone below limit.
func (x *modelTable) deadBelow(limit int64) (above int64) {
	for _, r := range x.o.state {
		if r.dead && r.offset < limit {
			above = max(above, r.offset+1)
		}
	}
	return above
}

func syncDirs(t *testing.T, m *crashfs.FS) {
	for _, dir := range []string{"", "tmp"} {
		f, err := m.OpenDir(dir)
		require.NoError(t, err)
		require.NoError(t, f.Sync())
		require.NoError(t, f.Close())
	}
}

func crashTable(t *testing.T, m *model) *modelTable {
	m.open(t)
	x := &modelTable{ordinal: 4, kind: oracleLast, o: newOracle(oracleLast, rowMax), frames: map[int64]modelFrame{}, gone: map[string]bool{}}
	m.tables = []*modelTable{x}
	m.reopened(t)
	return x
}

// recorded is a table of five frames whose file system a recorder watches from now on.
func recorded(t *testing.T) (*model, *modelTable, *recorder) {
	mem := crashfs.New()
	rec := &recorder{fs: mem}
	s := &store{fs: errorfs.Wrap(mem, rec), clock: new(int64), max: rowMax, shrunk: true}
	s.opts = options(s.fs, true)
	m := &model{store: s, crash: mem}
	x := crashTable(t, m)
	syncDirs(t, mem)
	m.fill(t, x)
	return m, x, rec
}

// fill folds random deltas of one kind, five frames.
func (m *model) fill(t *testing.T, x *modelTable) {
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range 10 {
		var deltas []oracleDelta
		for range 40 {
			d := oracleDelta{key: fmt.Sprintf("k%02d", rng.IntN(30)), offset: x.next, op: oraclePut, value: fmt.Sprint(rng.Uint64())}
			if rng.IntN(5) == 0 {
				d.op, d.value = oracleDelete, ""
			}
			x.next += 1 + rng.Int64N(3)
			x.o.apply(d)
			deltas = append(deltas, d)
		}
		cut := i%2 == 1
		f := table.Fold{Table: x.t, Changes: collapse(deltas), End: x.next, Cut: cut}
		if i%4 == 3 { // the log start moves over the rows of the lower half
			f.Start = (x.t.Start() + x.next) / 2
		}
		was := x.t.Start()
		require.NoError(t, m.db.Commit(background, []table.Fold{f}))
		if cut {
			if start := x.t.Start(); start > was {
				x.o.expire(oracleStart{x.next, start})
			}
			x.frames[x.next] = modelFrame{x.o.copy(), 0}
		}
	}
}

// A fold that was interrupted at any write is there or not: position, rows, digest and frame together.
func TestCrashInFold(t *testing.T) {
	t.Parallel()
	m, x, rec := recorded(t)
	rec.record(true)
	m.fill(t, x)
	rec.record(false)
	m.close(t)
	states := map[int64]digestState{}
	for i, image := range rec.crashes(tried) {
		st := openStore(t, image, m.store.clock, rowMax, true)
		y, err := st.db.Table(x.ordinal, identity(fold.LastValue, int32(x.ordinal)))
		require.NoError(t, err)
		position := y.Position()
		if _, ok := states[position]; !ok {
			states[position] = digestState{x.o.at(position)}
		}
		require.Equal(t, digestOf(states[position].s), y.Digest(), "crash %d", i)
		z := *x
		z.t, z.next = y, position
		z.o = &oracle{kind: oracleLast, max: rowMax, state: states[position].s, history: x.o.history, starts: x.o.starts}
		z.frames = map[int64]modelFrame{}
		for c, f := range x.frames {
			if c <= position {
				z.frames[c] = f
			}
		}
		z.check(t, position/2)
		st.close(t)
	}
	require.Greater(t, len(states), min(5, tried/4), "crashes at different positions")
	t.Logf("%d crashes", len(rec.images))
}

// A table that was being dropped is there or not; where it is not, nothing of it is left once the tables are open.
func TestCrashInDrop(t *testing.T) {
	t.Parallel()
	m, x, rec := recorded(t)
	rec.record(true)
	require.NoError(t, m.db.Drop(background, x.ordinal))
	rec.record(false)
	m.close(t)
	there, gone := 0, 0
	for i, image := range rec.crashes(tried) {
		y := *x
		n := &model{crash: image, tables: []*modelTable{&y}}
		n.store = openStore(t, image, m.store.clock, rowMax, true)
		list, err := n.db.Ordinals()
		require.NoError(t, err)
		if len(list) > 0 {
			there++
			n.reopened(t)
			y.check(t, int64(i))
		} else {
			gone++
			it, err := n.pdb.NewIter(nil)
			require.NoError(t, err)
			require.False(t, it.First(), "crash %d", i)
			require.NoError(t, it.Close())
		}
		n.close(t)
	}
	require.Positive(t, there)
	require.Positive(t, gone)
	t.Logf("%d crashes before, %d behind", there, gone)
}

type digestState struct{ s oracleState }

// What is derived can be thrown away: refolded from the log, in other portions, the table has the same digest.
func TestRefold(t *testing.T) {
	var clock int64
	m := &model{store: &store{fs: vfs.NewMem(), clock: &clock, max: rowMax}}
	m.opts = options(m.fs, true)
	x := crashTable(t, m)
	m.fill(t, x)
	want, frames, starts := x.t.Digest(), x.t.Frames(), x.o.starts
	require.NoError(t, m.db.Drop(background, x.ordinal))
	list, err := m.db.Ordinals()
	require.NoError(t, err)
	require.Empty(t, list)
	y, err := m.db.Table(x.ordinal, x.t.Identity())
	require.NoError(t, err)
	require.Zero(t, y.Position())
	for len(x.o.history) > 0 {
		n := min(7, len(x.o.history))
		f := table.Fold{Table: y, End: x.o.history[n-1].offset + 1}
		if at := slices.IndexFunc(x.o.history[:n], func(d oracleDelta) bool { return len(starts) > 0 && d.offset >= starts[0].cut }); at >= 0 || len(starts) > 0 && starts[0].cut <= f.End {
			if at >= 0 {
				n = at
			}
			f.Cut, f.End, f.Start = true, starts[0].cut, starts[0].start
			starts = starts[1:]
		}
		f.Changes = collapse(x.o.history[:n])
		x.o.history = x.o.history[n:]
		require.NoError(t, m.db.Commit(background, []table.Fold{f}))
		for _, f := range frames { // the digest at every old cut that this portion ends at
			if f.Cut == y.Position() {
				require.Equal(t, f.Digest, y.Digest())
			}
		}
	}
	require.Equal(t, want, y.Digest())
	m.close(t)
}

// An ordinal belongs to one identity, and a fold that breaks the rules changes nothing.
func TestIdentity(t *testing.T) {
	var clock int64
	s := openStore(t, vfs.NewMem(), &clock, rowMax, false)
	defer s.close(t)
	a, err := s.db.Table(1, identity(fold.LastValue, 0))
	require.NoError(t, err)
	require.NoError(t, s.db.Commit(background, []table.Fold{{Table: a, End: 1}}))
	_, err = s.db.Table(1, identity(fold.Counter, 0))
	require.ErrorIs(t, err, table.ErrIdentity)
	require.ErrorIs(t, s.db.Commit(background, []table.Fold{{Table: a, End: 2}, {Table: a, End: 2}}), table.ErrFold)
	require.ErrorIs(t, s.db.Commit(background, []table.Fold{{Table: a, End: 0}}), table.ErrFold)
	_, err = a.View(99)
	require.ErrorIs(t, err, table.ErrNoFrame)
	require.NoError(t, s.db.Drop(background, 1))
	require.ErrorIs(t, s.db.Commit(background, []table.Fold{{Table: a, End: 2}}), table.ErrClosed)
}

// Open removes sstables in the making and what belongs to no table.
func TestLeftovers(t *testing.T) {
	var clock int64
	s := openStore(t, vfs.NewMem(), &clock, rowMax, false)
	a, err := s.db.Table(1, identity(fold.LastValue, 0))
	require.NoError(t, err)
	change := collapse([]oracleDelta{{key: "k", op: oraclePut, value: "v"}})
	require.NoError(t, s.db.Commit(background, []table.Fold{{Table: a, Changes: change, End: 1}}))
	f, err := s.fs.Create("tmp/000000000099.sst", vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	for _, o := range []uint32{0, 2} { // as a crash in Load or Drop leaves them
		require.NoError(t, s.pdb.Set(keys.AppendTableIndex(nil, o, []byte("k")), []byte("x"), pebble.NoSync))
	}
	s.db.Close()
	s.open2(t)
	names, err := s.fs.List("tmp")
	require.NoError(t, err)
	require.Empty(t, names)
	it, err := s.pdb.NewIter(nil)
	require.NoError(t, err)
	for ok := it.First(); ok; ok = it.Next() {
		_, ordinal, _, ok := keys.ParseTableKey(it.Key())
		require.True(t, ok)
		require.Equal(t, uint32(1), ordinal)
	}
	require.NoError(t, it.Close())
	s.close(t)
}

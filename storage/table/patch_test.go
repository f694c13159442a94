package table_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/crashfs"
	"github.com/keyframelog/keyframe/storage/table"
)

// copied is a copy of a log's table that drifts, and what the log has.
type copied struct {
	*store
	crash    *crashfs.FS
	t        *table.Table
	log, own rowsByKey
	end      int64
	cuts     map[int64]rowsByKey
	horizon  int64
	trimmed  int64
}

type rowsByKey map[string]frame.Row

func (m rowsByKey) digest() (d digest.Digest) {
	var h digest.Hasher
	for k, r := range m {
		if !r.Tombstone {
			d.Add(h.Entry([]byte(k), r.Value))
		}
	}
	return d
}

// sorted lists the rows in offset order.
func (m rowsByKey) sorted(tombstones bool) []frame.Row {
	list := slices.SortedFunc(maps.Values(m), func(a, b frame.Row) int { return cmp.Compare(a.Offset, b.Offset) })
	return slices.DeleteFunc(list, func(r frame.Row) bool { return r.Tombstone && !tombstones })
}

func newCopied(t fatal, s *store, crash *crashfs.FS) *copied {
	c := &copied{store: s, crash: crash, log: rowsByKey{}, own: rowsByKey{}, cuts: map[int64]rowsByKey{}, trimmed: -1}
	c.reopened(t)
	return c
}

func (c *copied) reopened(t fatal) {
	var err error
	c.t, err = c.db.Table(7, identity(fold.LastValue, 0))
	require.NoError(t, err)
}

func (c *copied) delta(intn func(int) int) oracleDelta {
	d := oracleDelta{key: fmt.Sprintf("k%02d", intn(30)), offset: c.end, op: oraclePut, value: fmt.Sprint("v", intn(3)), time: 1000 + c.end}
	if intn(4) == 0 {
		d.op, d.value = oracleDelete, ""
	}
	if intn(4) == 0 {
		d.header = "h"
	}
	c.end += int64(1 + intn(3))
	return d
}

func (m rowsByKey) take(d oracleDelta) {
	x := d.table()
	m[d.key] = frame.Row{Key: x.Key, Value: x.Value, Offset: d.offset, Timestamp: d.time, Headers: x.Headers, Tombstone: d.op == oracleDelete}
}

// fold commits deltas, some of which are lost or changed on the way.
func (c *copied) fold(t fatal, intn func(int) int, faults, cut bool) {
	var mine []oracleDelta
	for range intn(25) {
		d := c.delta(intn)
		c.log.take(d)
		if faults {
			switch intn(6) {
			case 0:
				continue
			case 1:
				d.key = fmt.Sprintf("k%02d", intn(35))
			case 2:
				d.key = fmt.Sprintf("k%02d", intn(35))
				d.op, d.value = oracleDelete, ""
			case 3:
				if d.op == oraclePut {
					d.value += "?"
				}
			}
		}
		c.own.take(d)
		mine = append(mine, d)
	}
	f := table.Fold{Table: c.t, Changes: collapse(mine), End: c.end, Cut: cut}
	if cut && intn(3) == 0 {
		f.Start = min(c.t.Start()+int64(intn(10)), c.end)
	}
	require.NoError(t, c.db.Commit(background, []table.Fold{f}))
	for _, m := range []rowsByKey{c.log, c.own} {
		maps.DeleteFunc(m, func(_ string, r frame.Row) bool { return r.Offset < c.t.Start() })
	}
	if cut {
		c.cuts[c.end] = maps.Clone(c.own)
	}
}

func (c *copied) trim(t fatal, cut int64) {
	require.NoError(t, c.t.Trim(background, cut))
	maps.DeleteFunc(c.cuts, func(at int64, _ rowsByKey) bool { return at < cut })
	c.trimmed = max(c.trimmed, cut)
}

// difference is what makes the copy the log's table. A row that is equal but for its offset is none.
func (c *copied) difference() (puts []frame.Row, deletes [][]byte) {
	for _, k := range slices.Sorted(maps.Keys(c.log)) {
		r, has := c.own[k]
		if l := c.log[k]; !l.Tombstone && (!has || r.Tombstone || !bytes.Equal(l.Value, r.Value)) {
			puts = append(puts, l)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(c.own)) {
		if l, has := c.log[k]; !c.own[k].Tombstone && (!has || l.Tombstone) {
			deletes = append(deletes, []byte(k))
		}
	}
	return puts, deletes
}

// patched does to the model what Patch does.
func (c *copied) patched(puts []frame.Row, deletes [][]byte) {
	for _, k := range deletes {
		delete(c.own, string(k))
	}
	for _, r := range puts {
		maps.DeleteFunc(c.own, func(_ string, o frame.Row) bool { return o.Tombstone && o.Offset == r.Offset })
		c.own[string(r.Key)] = r
	}
	c.cuts[c.end] = maps.Clone(c.own)
	c.horizon = c.end + 1
}

// patch repairs the copy; first with what must be refused.
func (c *copied) patch(t fatal) {
	want := c.log.digest()
	puts, deletes := c.difference()
	if len(c.t.Frames()) != 1 || c.t.Frames()[0].Cut != c.end || c.trimmed != c.end {
		require.ErrorIs(t, c.t.Patch(background, puts, deletes, nil, want), table.ErrFrames)
		require.NoError(t, c.db.Commit(background, []table.Fold{{Table: c.t, End: c.end, Cut: true}}))
		c.cuts[c.end] = maps.Clone(c.own)
		c.trim(t, c.end)
	}
	wrong := want
	wrong.Sum[0]++
	err := c.t.Patch(background, puts, deletes, nil, wrong)
	var taken *table.OffsetError
	for errors.As(err, &taken) { // by a row that is equal, but not at the log's offset: with it, nothing is in the way
		require.Equal(t, c.own[string(taken.Key)].Offset, taken.Offset)
		puts = append(puts, c.log[string(taken.Key)])
		err = c.t.Patch(background, puts, deletes, nil, wrong)
	}
	require.ErrorIs(t, err, table.ErrDigest)
	c.check(t)
	require.NoError(t, c.t.Patch(background, puts, deletes, nil, want))
	c.patched(puts, deletes)
	c.check(t)
	require.Equal(t, want, c.t.Digest())
}

func (c *copied) check(t fatal) {
	require.Equal(t, c.end, c.t.Position())
	require.Equal(t, c.horizon, c.t.Horizon())
	c.checkView(t, table.Current, c.own)
	frames := c.t.Frames()
	require.Len(t, frames, len(c.cuts))
	for _, f := range frames {
		require.Equal(t, c.cuts[f.Cut].digest(), f.Digest)
		c.checkView(t, f.Cut, c.cuts[f.Cut])
	}
	for i := range 36 {
		key := fmt.Sprintf("k%02d", i)
		row, ok, err := c.t.Get([]byte(key))
		require.NoError(t, err)
		want, has := c.own[key]
		require.Equal(t, has && !want.Tombstone, ok, key)
		if ok {
			requireEqualRow(t, want, row)
		}
	}
	looked := 0
	for scrub, done := c.t.ScrubRows(), false; !done; {
		p, err := scrub.Next(background, 7)
		require.NoError(t, err)
		looked, done = looked+p.Rows, p.Done
	}
	require.Len(t, c.own.sorted(false), looked)
	size := int64(0)
	for _, r := range c.own.sorted(false) {
		size += int64(len(r.Key) + len(r.Value))
	}
	require.Equal(t, size, c.t.Bytes())
}

func (c *copied) checkView(t fatal, cut int64, want rowsByKey) {
	_, err := c.t.Verify(background, cut)
	require.NoError(t, err)
	v, err := c.t.View(cut)
	require.NoError(t, err)
	defer v.Close()
	requireView(t, v, want)
}

func requireView(t fatal, v *table.View, want rowsByKey) {
	list := want.sorted(false)
	for row, err := range v.Offsets(0, false) {
		require.NoError(t, err)
		require.NotEmpty(t, list, "%s at %d", row.Key, row.Offset)
		requireEqualRow(t, list[0], row)
		list = list[1:]
	}
	require.Empty(t, list)
	n := 0
	for row, err := range v.Scan(nil, nil) {
		require.NoError(t, err)
		requireEqualRow(t, want[string(row.Key)], row)
		n++
	}
	require.Len(t, want.sorted(false), n)
}

func requireEqualRow(t fatal, want, got frame.Row) {
	require.Equal(t, string(want.Key), string(got.Key))
	require.Equal(t, string(want.Value), string(got.Value))
	require.Equal(t, want.Offset, got.Offset)
	require.Equal(t, want.Timestamp, got.Timestamp)
	require.Equal(t, string(want.Headers), string(got.Headers))
	require.Equal(t, want.Tombstone, got.Tombstone)
}

// A copy that loses, doubles and changes deltas is the log's table after each patch, and a sound table: read in any way, verified from disk,
// folded on, cut, trimmed, its tombstones expired, its log start moved, opened again, after a crash.
func TestPatchModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		clock := new(int64)
		crash := crashfs.New()
		c := newCopied(t, openStore(t, crash, clock, 4096, rapid.Bool().Draw(t, "shrunk")), crash)
		defer func() { c.close(t) }()
		intn := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "n") }
		t.Repeat(map[string]func(*rapid.T){
			"fold":    func(t *rapid.T) { c.fold(t, intn, true, false) },
			"cut":     func(t *rapid.T) { c.fold(t, intn, true, true) },
			"patch":   func(t *rapid.T) { c.patch(t) },
			"patch 2": func(t *rapid.T) { c.patch(t) },
			"beside": func(t *rapid.T) { // who reads sees what was
				v, err := c.t.View(table.Current)
				require.NoError(t, err)
				was := maps.Clone(c.own)
				c.patch(t)
				requireView(t, v, was)
				require.NoError(t, v.Close())
			},
			"trim": func(t *rapid.T) {
				if cuts := slices.Sorted(maps.Keys(c.cuts)); len(cuts) > 0 {
					c.trim(t, cuts[intn(len(cuts))])
				}
			},
			"expire": func(t *rapid.T) {
				n := 0
				maps.DeleteFunc(c.own, func(_ string, r frame.Row) bool {
					goes := r.Tombstone && r.Offset < c.trimmed
					if goes {
						n++
						c.horizon = max(c.horizon, r.Offset+1)
					}
					return goes
				})
				removed, err := c.t.ExpireTombstones(background, math.MaxInt64)
				require.NoError(t, err)
				require.Equal(t, n, removed)
			},
			"restart": func(t *rapid.T) { c.close(t); c.open(t); c.reopened(t) },
			"crash": func(t *rapid.T) {
				image := crash.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: intn(2) * 100, RNG: rand.New(rand.NewPCG(uint64(intn(1000)), 0))})
				c.close(t)
				crash = image
				c.store, c.crash = openStore(t, image, clock, 4096, c.shrunk), image
				c.reopened(t)
			},
			"": func(t *rapid.T) { c.check(t) },
		})
	})
}

// A crash at any write of a patch leaves the table as it was or as it is to be; the same call then brings it there.
func TestPatchCrash(t *testing.T) {
	t.Parallel()
	mem := crashfs.New()
	rec := &recorder{fs: mem}
	s := &store{fs: errorfs.Wrap(mem, rec), clock: new(int64), max: 4096, shrunk: true}
	s.opts = options(s.fs, true)
	s.open(t)
	syncDirs(t, mem)
	c := newCopied(t, s, mem)
	rng := rand.New(rand.NewPCG(5, 6))
	for i := range 12 {
		c.fold(t, rng.IntN, true, i%3 == 2)
	}
	c.trim(t, c.end)
	c.check(t)
	puts, deletes := c.difference()
	require.Greater(t, len(puts), 3)
	require.NotEmpty(t, deletes)
	rec.record(true)
	err := c.t.Patch(background, puts, deletes, nil, c.log.digest())
	rec.record(false)
	require.NoError(t, err)
	c.close(t)
	require.Greater(t, len(rec.images), 3)
	before, after := 0, 0
	for _, image := range rec.crashes(tried) {
		x := &copied{log: maps.Clone(c.log), own: maps.Clone(c.own), end: c.end, cuts: maps.Clone(c.cuts), horizon: c.horizon, trimmed: c.trimmed}
		x.store, x.crash = openStore(t, image, c.clock, 4096, true), image
		x.reopened(t)
		if x.t.Digest() == c.log.digest() {
			x.patched(puts, deletes)
			after++
		} else {
			before++
		}
		x.check(t)
		require.NoError(t, x.t.Patch(background, puts, deletes, nil, c.log.digest()))
		x.patched(puts, deletes)
		x.check(t)
		require.Equal(t, c.log.digest(), x.t.Digest())
		x.fold(t, rng.IntN, false, true)
		x.trim(t, x.end)
		x.check(t)
		x.close(t)
	}
	t.Logf("%d crashes before, %d after", before, after)
}

func TestPatchRefusesWhatIsNone(t *testing.T) {
	var clock int64
	s := openStore(t, vfs.NewMem(), &clock, 4096, false)
	defer s.close(t)
	c := newCopied(t, s, nil)
	row := func(key string, offset int64) frame.Row {
		return frame.Row{Key: []byte(key), Value: []byte("x"), Offset: offset}
	}
	require.ErrorIs(t, c.t.Patch(background, nil, nil, nil, digest.Digest{}), table.ErrFrames)
	deltas := []oracleDelta{{key: "a", offset: 2, op: oraclePut, value: "1"}, {key: "b", offset: 3, op: oraclePut, value: "1"}}
	require.NoError(t, s.db.Commit(background, []table.Fold{{Table: c.t, Changes: collapse(deltas), End: 5, Cut: true, Start: 1}}))
	require.NoError(t, c.t.Trim(background, 5))
	dead := row("a", 2)
	dead.Tombstone, dead.Value = true, nil
	for name, puts := range map[string][]frame.Row{
		"at the position": {row("a", 5)}, "below the log start": {row("a", 0)}, "a tombstone": {dead},
		"a key twice": {row("a", 1), row("a", 2)}, "an offset twice": {row("a", 1), row("b", 1)},
	} {
		require.ErrorIs(t, c.t.Patch(background, puts, nil, nil, c.t.Digest()), table.ErrPatch, name)
	}
	require.ErrorIs(t, c.t.Patch(background, []frame.Row{row("a", 2)}, [][]byte{[]byte("a")}, nil, c.t.Digest()), table.ErrPatch)
	var taken *table.OffsetError
	require.ErrorAs(t, c.t.Patch(background, []frame.Row{row("c", 3)}, nil, nil, c.t.Digest()), &taken)
	require.Equal(t, "b", string(taken.Key))
	d, err := c.t.Verify(background, table.Current)
	require.NoError(t, err)
	require.EqualValues(t, 2, d.Count)
}

// Who gives up while a patch reads the rows that stay does not wait until it has read all of them, and nothing has happened.
func TestPatchIsInterrupted(t *testing.T) {
	var clock int64
	var read atomic.Pointer[func()] // called at each read of a file
	s := &store{clock: &clock, max: 4096, fs: errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		if f := read.Load(); f != nil && op.Kind == errorfs.OpFileReadAt {
			(*f)()
		}
		return nil
	}))}
	s.opts = options(s.fs, true)
	s.open(t)
	c := newCopied(t, s, nil)
	var deltas []oracleDelta
	for i := range int64(6000) {
		deltas = append(deltas, oracleDelta{key: fmt.Sprintf("k%04d", i), offset: i, op: oraclePut, value: "1"})
	}
	require.NoError(t, s.db.Commit(background, []table.Fold{{Table: c.t, Changes: collapse(deltas), End: 6000, Cut: true}}))
	require.NoError(t, c.t.Trim(background, 6000))
	s.close(t)
	s.open(t) // nothing is in a cache
	defer s.close(t)
	c.reopened(t)

	ctx, cancel := context.WithCancel(context.Background())
	giveUp := func() { cancel() }
	read.Store(&giveUp)
	before := c.t.Digest()
	err := c.t.Patch(ctx, nil, [][]byte{[]byte("k0007")}, nil, digest.Digest{}) // what all rows would be compared with
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, table.ErrDigest)
	read.Store(nil)
	require.Equal(t, before, c.t.Digest())
	stored, err := c.t.Verify(background, table.Current)
	require.NoError(t, err)
	require.Equal(t, before, stored)
	var h digest.Hasher
	before.Sub(h.Entry([]byte("k0007"), []byte("1")))
	require.NoError(t, c.t.Patch(background, nil, [][]byte{[]byte("k0007")}, nil, before))
}

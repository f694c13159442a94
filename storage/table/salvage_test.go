package table_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/keys"
	"github.com/keyframelog/keyframe/storage/table"
)

// damageable is a copy of a log's table, equal to it, in files that are copied and damaged for each case.
type damageable struct {
	fs    *vfs.MemFS
	log   rowsByKey
	end   int64
	files map[string]int64 // sstables and their sizes
	own   uint32           // ordinal of that table
	part  int32
}

// newDamageable folds in many commits, so that rows are overwritten and deleted; deleted ones may be left among the others, or cleaned away.
func newDamageable(t *testing.T, commits, names int, beside ...uint32) *damageable {
	d := &damageable{fs: vfs.NewMem(), log: rowsByKey{}, files: map[string]int64{}, own: 7}
	s := openStore(t, d.fs, new(int64), 4096, true)
	tb, err := s.db.Table(7, identity(fold.LastValue, 0))
	require.NoError(t, err)
	rng := rand.New(rand.NewPCG(7, 7))
	for i := range commits {
		var deltas []oracleDelta
		for range 100 {
			x := oracleDelta{key: fmt.Sprintf("k%03d", rng.IntN(names)), offset: d.end, op: oraclePut, value: fmt.Sprintf("%0*d", 10+rng.IntN(60), d.end), time: 1000 + d.end}
			if rng.IntN(8) == 0 {
				x.op, x.value = oracleDelete, ""
			}
			if rng.IntN(8) == 0 {
				x.header = "h"
			}
			d.end += int64(1 + rng.IntN(2))
			d.log.take(x)
			deltas = append(deltas, x)
		}
		require.NoError(t, s.db.Commit(background, []table.Fold{{Table: tb, Changes: collapse(deltas), End: d.end, Cut: true}}))
		if i%2 == 1 { // to Trim it makes no difference
			require.NoError(t, tb.Settle(background))
		}
	}
	require.NoError(t, tb.Trim(background, d.end))
	d.fill(t, s, beside)
	return d
}

// newNeighbours has tables that have folded the same, of which the second is the one that it is about, in sstables of about so many bytes.
func newNeighbours(t *testing.T, fileBytes int64, ordinals ...uint32) *damageable {
	d := &damageable{fs: vfs.NewMem(), log: rowsByKey{}, files: map[string]int64{}, end: neighbourEnd, own: ordinals[1], part: int32(ordinals[1])}
	s := &store{fs: d.fs, clock: new(int64), max: 4096, opts: options(d.fs, true)}
	for i := range s.opts.TargetFileSizes {
		s.opts.TargetFileSizes[i] = fileBytes
	}
	s.open(t)
	d.fill(t, s, ordinals)
	return d
}

// fill adds tables, compacts all, and closes the store.
func (d *damageable) fill(t *testing.T, s *store, ordinals []uint32) {
	for _, ordinal := range ordinals {
		other, err := s.db.Table(ordinal, identity(fold.LastValue, int32(ordinal)))
		require.NoError(t, err)
		require.NoError(t, s.db.Commit(background, []table.Fold{{Table: other, Changes: collapse(neighbour()), End: neighbourEnd, Cut: true}}))
	}
	require.NoError(t, s.pdb.Compact(background, []byte{0}, []byte{0xff}, false))
	s.close(t)
	d.list(t)
}

func (d *damageable) list(t *testing.T) {
	clear(d.files)
	files, err := d.fs.List("db")
	require.NoError(t, err)
	for _, name := range files {
		if path.Ext(name) == ".sst" {
			info, err := d.fs.Stat("db/" + name)
			require.NoError(t, err)
			d.files[name] = info.Size()
		}
	}
}

const neighbourEnd = 60

// neighbour is what tables beside have folded. The first row and the last fill a block, and so do the first and the last entry of the index.
func neighbour() (deltas []oracleDelta) {
	for i := range int64(neighbourEnd) {
		d := oracleDelta{key: fmt.Sprint("n", i), value: fmt.Sprint(i), op: oraclePut, offset: i}
		if i == 0 || i == neighbourEnd-1 {
			d.value = fmt.Sprintf("%0600d", i)
		}
		if i == 0 || i == 9 {
			d.key += strings.Repeat("-", 600)
		}
		deltas = append(deltas, d)
	}
	return deltas
}

// flipped opens a copy in which bytes of a file are changed; nil: that cannot be opened, as no table could be found.
func (d *damageable) flipped(t *testing.T, name string, at ...int64) *copied {
	fs := vfs.NewMem()
	for _, dir := range []string{"db", "tmp"} {
		_, err := vfs.Clone(d.fs, fs, dir, dir)
		require.NoError(t, err)
	}
	f, err := fs.OpenReadWrite("db/"+name, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	for _, o := range at {
		b := make([]byte, 1)
		_, err = f.ReadAt(b, o)
		require.NoError(t, err)
		b[0] ^= 0x10
		_, err = f.WriteAt(b, o)
		require.NoError(t, err)
	}
	require.NoError(t, f.Close())
	s := &store{fs: fs, clock: new(int64), max: 4096, opts: options(fs, true)}
	s.opts.EventListener.DataCorruption = func(pebble.DataCorruptionInfo) {}
	s.opts.DisableAutomaticCompactions = true
	s.opts.EnsureDefaults()
	if s.pdb, err = pebble.Open("db", s.opts); err != nil {
		return nil
	}
	s.db, err = table.Open(table.Config{DB: s.pdb, Options: s.opts, FS: s.fs, Dir: "tmp", Limits: table.Limits{RowBytesMax: s.max}, Logger: slog.New(slog.DiscardHandler)})
	require.Equal(t, metaReadable(s.pdb), err == nil, "%s at %v: %v", name, at, err)
	if err == nil {
		c := &copied{store: s, log: maps.Clone(d.log), own: maps.Clone(d.log), end: d.end, cuts: map[int64]rowsByKey{}, trimmed: d.end}
		if c.t, err = s.db.Table(d.own, identity(fold.LastValue, d.part)); err == nil {
			return c
		}
		require.NoError(t, s.db.Close())
	}
	require.NoError(t, s.pdb.Close())
	return nil
}

// metaReadable tells whether all meta entries can be found.
func metaReadable(pdb *pebble.DB) bool {
	it, err := pdb.NewIter(&pebble.IterOptions{LowerBound: []byte{byte(keys.TableMeta)}, UpperBound: []byte{byte(keys.TableMeta) + 1}})
	if err != nil {
		return false
	}
	for ok := it.First(); ok; ok = it.Next() {
	}
	return it.Close() == nil
}

// salvage finds what is lost, and holds what is not to the log.
func (c *copied) salvage(t *testing.T) (spans []table.Span, lost []frame.Row, err error) {
	seen, last := 0, int64(-1)
	_, spans, err = c.t.Salvage(nil, func(r *frame.Row) error {
		requireEqualRow(t, c.log[string(r.Key)], *r)
		require.Greater(t, r.Offset, last)
		seen, last = seen+1, r.Offset
		return nil
	}, func(r table.LostRow) error {
		l := c.log[string(r.Key)]
		require.Equal(t, l.Offset, r.Offset)
		lost = append(lost, l)
		return nil
	})
	if err == nil {
		require.Len(t, c.log.sorted(false), seen+len(lost), "each row is read, or lost")
	}
	return spans, lost, err
}

// mended compares all that there is, compacts all of it, and opens it again.
func (c *copied) mended(t *testing.T, lost []table.Span) {
	for _, s := range lost { // tombstones that cannot be read are given up
		maps.DeleteFunc(c.own, func(_ string, r frame.Row) bool { return r.Tombstone && r.Offset >= s.From && r.Offset < s.To })
	}
	c.horizon = c.end + 1
	c.cuts[c.end] = maps.Clone(c.own)
	c.check(t)
	require.NoError(t, c.pdb.Compact(background, []byte{0}, []byte{0xff}, false), "no block is left that is damaged")
	c.check(t)
	c.close(t)
	c.open(t)
	c.reopened(t)
	c.check(t)
	rng := rand.New(rand.NewPCG(3, 3))
	c.fold(t, rng.IntN, false, true)
	c.trim(t, c.end)
	require.NoError(t, func() error { _, err := c.t.ExpireTombstones(background, 1<<60); return err }())
	require.Equal(t, c.log.digest(), c.t.Digest())
	_, err := c.t.Verify(background, table.Current)
	require.NoError(t, err)
	require.NoError(t, c.pdb.Compact(background, []byte{0}, []byte{0xff}, false))
}

// Whichever byte of a table's files is changed: rows that can be read are right, those that cannot are named by the index, and with them brought
// back the table is sound, in each block.
func TestSalvageEveryByte(t *testing.T) {
	t.Parallel()
	d := newDamageable(t, 12, 400)
	const step = 997
	unopened, beyond, whole, brought := 0, 0, 0, 0
	for name, size := range d.files {
		for at := int64(3); at < size; at += step {
			c := d.flipped(t, name, at)
			if c == nil {
				unopened++
				continue
			}
			spans, lost, err := c.salvage(t)
			switch {
			case err != nil:
				require.ErrorIs(t, err, table.ErrCorrupt, "%s at %d", name, at)
				beyond++
			case len(spans) == 0:
				whole++
			default:
				err = c.t.Patch(background, lost, nil, spans, c.log.digest())
				if err != nil {
					require.True(t, pebble.IsCorruptionError(err) || errors.Is(err, table.ErrCorrupt), "%s at %d: %v", name, at, err)
					_, _, again := c.salvage(t)
					require.NoError(t, again, "nothing has happened")
					beyond++
					break
				}
				brought++
				require.Less(t, len(lost), 40, "%s at %d", name, at)
				c.mended(t, spans)
			}
			require.NoError(t, c.db.Close())
			_ = c.pdb.Close() // Pebble tells of damage again
		}
	}
	t.Logf("%d do not open, %d are beyond it, %d concern no row, %d are brought back", unopened, beyond, whole, brought)
	require.Greater(t, brought, 10)
}

// Several blocks at once, side by side and far apart, with rows that have changed in the log meanwhile: one patch brings all of it back.
func TestSalvageManyBlocks(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	d := newDamageable(t, 12, 400)
	var files []string
	for name, size := range d.files {
		if size > 1000 {
			files = append(files, name)
		}
	}
	slices.Sort(files)
	brought := 0
	for range 150 {
		name := files[rng.IntN(len(files))]
		at := []int64{rng.Int64N(d.files[name] - 100)}
		for range rng.IntN(4) {
			at = append(at, min(at[0]+[]int64{500, 1100, 3000}[rng.IntN(3)]*int64(len(at)), d.files[name]-100))
		}
		c := d.flipped(t, name, at...)
		if c == nil {
			continue
		}
		for range rng.IntN(5) { // the copy missed them
			x := c.delta(rng.IntN)
			x.key, x.offset = fmt.Sprintf("k%03d", rng.IntN(400)), rng.Int64N(d.end)
			if slices.ContainsFunc(c.log.sorted(true), func(r frame.Row) bool { return r.Offset == x.offset }) {
				continue
			}
			c.log.take(x)
		}
		c.end = d.end
		_, spans, err := c.t.Salvage(nil, func(*frame.Row) error { return nil }, func(table.LostRow) error { return nil })
		if err == nil && len(spans) > 0 {
			puts, deletes := c.difference()
			_, _, err = c.t.Salvage(spans, func(*frame.Row) error { return nil }, func(r table.LostRow) error {
				if l := c.log[string(r.Key)]; bytes.Equal(l.Value, c.own[string(r.Key)].Value) && !l.Tombstone {
					puts = append(puts, l)
				}
				return nil
			})
			require.NoError(t, err)
			if err = c.t.Patch(background, puts, deletes, spans, c.log.digest()); err == nil {
				brought++
				for _, k := range deletes {
					delete(c.own, string(k))
				}
				for _, r := range puts {
					c.own[string(r.Key)] = r
					maps.DeleteFunc(c.own, func(_ string, o frame.Row) bool { return o.Tombstone && o.Offset == r.Offset })
				}
				c.mended(t, spans)
			}
		}
		require.True(t, err == nil || errors.Is(err, table.ErrCorrupt) || pebble.IsCorruptionError(err), "%v", err)
		require.NoError(t, c.db.Close())
		_ = c.pdb.Close() // Pebble tells of damage again
	}
	t.Logf("%d brought back", brought)
	require.Positive(t, brought)
}

// No row that can be read is named as lost, whatever was superseded in the damaged block and behind it: the index does not say what that takes.
func TestSalvageBesideSupersededRows(t *testing.T) {
	t.Parallel()
	d := newDamageable(t, 12, 100_000)
	named, within := 0, 0
	for name, size := range d.files {
		for at := int64(3); at < size; at += 997 {
			c := d.flipped(t, name, at)
			if c == nil {
				continue
			}
			if _, lost, err := c.salvage(t); err == nil && len(lost) > 0 {
				c.unreadable(t, lost)
				c.supersede(t, func(offset int64) bool { return offset%4 > 0 })
				spans, left, err := c.salvage(t)
				require.NoError(t, err, "%s at %d", name, at)
				c.unreadable(t, left)
				named += len(left)
				for _, r := range lost {
					if r.Offset%4 == 0 {
						within++
					}
				}
				c.horizon = c.end + 1
				_ = c.t.Trim(background, c.end) // it may meet the block when it clears away
				require.NoError(t, c.t.Patch(background, left, nil, spans, c.log.digest()), "%s at %d", name, at)
			}
			require.NoError(t, c.db.Close())
			_ = c.pdb.Close() // Pebble tells of damage again
		}
	}
	require.Equal(t, within, named, "those that were in damaged blocks, and still count")
	require.Greater(t, named, 20)
}

// supersede changes rows at offsets in one fold.
func (c *copied) supersede(t *testing.T, which func(offset int64) bool) {
	var deltas []oracleDelta
	for _, r := range c.log.sorted(false) {
		if which(r.Offset) {
			x := oracleDelta{key: string(r.Key), offset: c.end, op: oraclePut, value: "changed"}
			c.log.take(x)
			deltas = append(deltas, x)
			c.end++
		}
	}
	require.NoError(t, c.db.Commit(background, []table.Fold{{Table: c.t, Changes: collapse(deltas), End: c.end, Cut: true}}))
}

// unreadable reads rows, one by one.
func (c *copied) unreadable(t *testing.T, rows []frame.Row) {
	v, err := c.t.View(table.Current)
	require.NoError(t, err)
	for _, r := range rows {
		_, _, err := v.Row(r.Offset)
		require.True(t, pebble.IsCorruptionError(err), "%s at %d can be read: %v", r.Key, r.Offset, err)
	}
	_ = v.Close() // it says the same
}

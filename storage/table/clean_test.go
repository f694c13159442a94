package table_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/keys"
	"github.com/keyframelog/keyframe/storage/table"
)

// overwrite folds a row of each of so many keys, and cuts.
func overwrite(t fatal, s *store, x *table.Table, names int) (end int64) {
	from := x.Position()
	deltas := make([]oracleDelta, names)
	for i := range deltas {
		deltas[i] = oracleDelta{key: fmt.Sprintf("k%03d", i), op: oraclePut, value: fmt.Sprintf("%d: %0100d", x.Ordinal(), from+int64(i)), offset: from + int64(i)}
	}
	end = from + int64(names)
	require.NoError(t, s.db.Commit(background, []table.Fold{{Table: x, Changes: collapse(deltas), End: end, Cut: true}}))
	return end
}

// A damaged block of one table is no reason not to clean the next one, each time that there is something to clean.
func TestCleanBesideDamage(t *testing.T) {
	t.Parallel()
	const names = 5000
	s := &store{fs: vfs.NewMem(), clock: new(int64), max: 4096}
	s.opts = options(s.fs, true)
	s.opts.EventListener.DataCorruption = func(pebble.DataCorruptionInfo) {}
	s.opts.DisableAutomaticCompactions = true // no block is both of one and of the other
	s.opts.EnsureDefaults()
	s.open(t)
	var tables [2]*table.Table
	open := func() {
		for i := range tables {
			var err error
			tables[i], err = s.db.Table(uint32(i+1), identity(fold.LastValue, int32(i)))
			require.NoError(t, err)
		}
	}
	open()
	for _, x := range tables {
		overwrite(t, s, x, names)
	}
	s.close(t)
	damage(t, s.fs, fmt.Appendf(nil, "1: %0100d", names-1))
	s.open(t)
	defer s.close(t)
	open()
	x := tables[1]
	for range 4 {
		former := x.Position()
		end := overwrite(t, s, x, names)
		require.True(t, x.SettleDue())
		require.NoError(t, x.Settle(background))
		require.LessOrEqual(t, stored(t, s.pdb, keys.TableRows, 2), 2*names)
		for _, cut := range []int64{former, end} {
			_, err := x.Verify(background, cut)
			require.NoError(t, err)
		}
		require.NoError(t, x.Trim(background, end))
		require.Equal(t, names, stored(t, s.pdb, keys.TableRows, 2))
		require.Zero(t, stored(t, s.pdb, keys.TablePast, 2))
	}
	read := 0
	for i := range names {
		if _, ok, err := tables[0].Get(fmt.Appendf(nil, "k%03d", i)); err == nil {
			require.True(t, ok)
			read++
		}
	}
	require.Less(t, read, names)
	require.Greater(t, read, names-10, "all but those of one block")
}

// Whichever byte is changed of the files in which a table lies between others: while it is sound it is settled and trimmed, and what can be read of the others
// stays.
func TestCleanBesideEveryByte(t *testing.T) {
	t.Parallel()
	d := newDamageable(t, 4, 200, 6, 8)
	sound, own := 0, 0
	for name, size := range d.files {
		for at := int64(3); at < size; at += 397 {
			c := d.flipped(t, name, at)
			if c == nil {
				continue
			}
			c.db.Shrink()
			if c.damaged(t) != nil {
				own++
				c.meetsDamage(t)
				c.close(t)
				continue
			}
			sound++
			before := c.readable(t)
			end := overwrite(t, c.store, c.t, 200)
			require.NoError(t, c.t.Settle(background), "%s at %d", name, at)
			_, err := c.t.Verify(background, d.end)
			require.NoError(t, err)
			require.NoError(t, c.t.Trim(background, end), "%s at %d", name, at)
			_, err = c.t.Verify(background, end)
			require.NoError(t, err)
			require.LessOrEqual(t, stored(t, c.pdb, keys.TableRows, 7), 2*200)
			require.Equal(t, before, c.readable(t), "%s at %d", name, at)
			c.close(t)
		}
	}
	t.Logf("sound %d, not %d", sound, own)
	require.Greater(t, sound, 10)
	require.Greater(t, own, sound)
}

// meetsDamage settles and trims a table that is damaged: where that fails for what cannot be read, it says so.
func (c *copied) meetsDamage(t *testing.T) {
	deltas := []oracleDelta{{key: "k000", op: oraclePut, value: "v", offset: c.end}}
	if err := c.db.Commit(background, []table.Fold{{Table: c.t, Changes: collapse(deltas), End: c.end + 1, Cut: true}}); err != nil {
		return
	}
	for _, err := range []error{c.t.Settle(background), c.t.Trim(background, c.end+1)} {
		if err != nil {
			require.ErrorIs(t, err, table.ErrCorrupt)
		}
	}
}

// damaged reads all that a table has.
func (c *copied) damaged(t *testing.T) (err error) {
	for _, space := range keys.TableSpaces() {
		lower, upper := keys.TableSpan(space, 7)
		it, e := c.pdb.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
		require.NoError(t, e)
		for ok := it.First(); ok; ok = it.Next() {
			_, e = it.ValueAndErr()
			err = errors.Join(err, e)
		}
		err = errors.Join(err, it.Error(), it.Close())
	}
	return err
}

// readable is which rows of the neighbours can be read.
func (c *copied) readable(t *testing.T) (list []string) {
	for _, ordinal := range []uint32{6, 8} {
		x, err := c.db.Table(ordinal, identity(fold.LastValue, int32(ordinal)))
		require.NoError(t, err)
		for _, d := range neighbour() {
			if row, ok, err := x.Get([]byte(d.key)); err == nil {
				list = append(list, fmt.Sprint(ordinal, d.key, ok, string(row.Value)))
			}
		}
	}
	return list
}

package table_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/keys"
	"github.com/keyframelog/keyframe/storage/table"
)

// Whichever byte is changed of the files in which a table lies between others: while its own blocks are sound, it is read, looked through and trimmed as if
// nothing was.
func TestReadBesideEveryByte(t *testing.T) {
	t.Parallel()
	for _, ordinals := range [][]uint32{{6, 7, 8}, {0xfe, 0xff, 0x100}, {0xff, 0x100, 0x101}} {
		d := newNeighbours(t, 1<<20, ordinals...)
		own, sound := d.stored(t), 0
		for name, size := range d.files {
			for at := int64(3); at < size; at += 97 {
				c := d.flipped(t, name, at)
				if c == nil {
					continue
				}
				if c.hasAll(own) {
					sound++
					c.requireSound(t, fmt.Sprint(ordinals, name, " at ", at))
				}
				c.close(t)
			}
		}
		require.Greater(t, sound, 40)
	}
}

// requireSound reads all that a table has, and beyond, in every way, and does what upkeep does.
func (c *copied) requireSound(t *testing.T, where string) {
	for _, cut := range []int64{neighbourEnd, table.Current} {
		got, err := c.t.Verify(background, cut)
		require.NoError(t, err, where)
		require.EqualValues(t, neighbourEnd, got.Count)
	}
	require.NoError(t, c.t.VerifyIndex(background), where)
	p, err := c.t.ScrubRows().Next(background, 2*neighbourEnd)
	require.NoError(t, err, where)
	require.True(t, p.Done)
	v, err := c.t.View(table.Current)
	require.NoError(t, err, where)
	for _, key := range []string{"", "a", "n59z", "z"} {
		_, ok, err := c.t.Get([]byte(key))
		require.NoError(t, err, where)
		require.False(t, ok)
		_, ok, err = v.Get([]byte(key))
		require.NoError(t, err, where)
		require.False(t, ok)
	}
	n := 0
	for _, err := range v.Scan(nil, nil) {
		require.NoError(t, err, where)
		n++
	}
	require.Equal(t, neighbourEnd, n)
	require.NoError(t, v.Close())
	_, err = c.t.RowsSince(background, neighbourEnd, 0, 10)
	require.NoError(t, err, where)
	_, spans, err := c.t.Salvage(nil, func(*frame.Row) error { return nil }, func(table.LostRow) error { return nil })
	require.NoError(t, err, where)
	require.Empty(t, spans)
	require.NoError(t, c.t.Trim(background, neighbourEnd), where)
	require.NoError(t, c.t.Settle(background), where)
}

// Whichever byte is changed of the files in which a table lies between others: while it is sound it is folded, and what can be read of the others
// stays, and is there when it is opened again.
func TestFoldBesideEveryByte(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		fileBytes int64
		shrunk    bool
		rows      int
	}{{8 << 10, true, 30}, {1 << 20, true, 30}, {1 << 20, true, 1}, {1 << 20, false, 5}} {
		t.Run(fmt.Sprint(x), func(t *testing.T) {
			t.Parallel()
			d := newNeighbours(t, x.fileBytes, 6, 7, 8)
			own, sound := d.stored(t), 0
			for name, size := range d.files {
				for at := int64(3); at < size; at += 197 {
					c := d.flipped(t, name, at)
					if c == nil {
						continue
					}
					if x.shrunk {
						c.db.Shrink()
					}
					if c.hasAll(own) {
						sound++
						before := c.readable(t)
						c.insert(t, x.rows, "z")
						c.insert(t, x.rows, "zz")
						require.Equal(t, before, c.readable(t), "%s at %d", name, at)
						c.close(t)
						c.open(t)
						c.requireInserted(t, x.rows, "z")
						c.requireInserted(t, x.rows, "zz")
						require.True(t, c.hasAll(own))
						require.Equal(t, before, c.readable(t), "%s at %d", name, at)
					}
					c.close(t)
				}
			}
			require.Greater(t, sound, 20)
		})
	}
}

// insert folds rows of so many keys.
func (c *copied) insert(t *testing.T, n int, prefix string) {
	x, err := c.db.Table(7, identity(fold.LastValue, 7))
	require.NoError(t, err)
	from := x.Position()
	var deltas []oracleDelta
	for i := range n {
		deltas = append(deltas, oracleDelta{key: fmt.Sprint(prefix, i), op: oraclePut, value: fmt.Sprintf("%090d", i), offset: from + int64(i)})
	}
	require.NoError(t, c.db.Commit(background, []table.Fold{{Table: x, Changes: collapse(deltas), End: from + int64(n), Cut: true}}))
	c.requireInserted(t, n, prefix)
}

func (c *copied) requireInserted(t *testing.T, n int, prefix string) {
	x, err := c.db.Table(7, identity(fold.LastValue, 7))
	require.NoError(t, err)
	for i := range n {
		row, ok, err := x.Get(fmt.Append(nil, prefix, i))
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, fmt.Sprintf("%090d", i), string(row.Value))
	}
}

// stored is the keys of all that the table has.
func (d *damageable) stored(t *testing.T) (list [][]byte) {
	s := &store{fs: d.fs, opts: options(d.fs, true)}
	var err error
	s.pdb, err = pebble.Open("db", s.opts)
	require.NoError(t, err)
	for _, space := range keys.TableSpaces() {
		lower, upper := keys.TableSpan(space, d.own)
		it, err := s.pdb.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
		require.NoError(t, err)
		for ok := it.First(); ok; ok = it.Next() {
			list = append(list, bytes.Clone(it.Key()))
		}
		require.NoError(t, it.Close())
	}
	require.NoError(t, s.pdb.Close())
	return list
}

// hasAll tells whether each can be read.
func (c *copied) hasAll(list [][]byte) bool {
	for _, k := range list {
		_, closer, err := c.pdb.Get(k)
		if err != nil {
			return false
		}
		_ = closer.Close()
	}
	return true
}

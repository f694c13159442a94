package table_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/keys"
	"github.com/keyframelog/keyframe/storage/table"
)

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
					if c.hasAll(own) && c.seeks("z") {
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

// stored is the keys of all that table 7 has.
func (d *damageable) stored(t *testing.T) (list [][]byte) {
	s := &store{fs: d.fs, opts: options(d.fs, true)}
	var err error
	s.pdb, err = pebble.Open("db", s.opts)
	require.NoError(t, err)
	for _, space := range keys.TableSpaces() {
		lower, upper := keys.TableSpan(space, 7)
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

// seeks tells whether it can be read that a key is not there: Pebble reads on to the next block.
func (c *copied) seeks(key string) bool {
	_, upper := keys.TableSpan(keys.TableIndex, 7)
	it, err := c.pdb.NewIter(&pebble.IterOptions{UpperBound: upper})
	if err != nil {
		return false
	}
	it.SeekGE(keys.AppendTableIndex(nil, 7, []byte(key)))
	return errors.Join(it.Error(), it.Close()) == nil
}

package table_test

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/table"
)

// Whichever byte of a table's files is changed: either all of the table goes, and one can be folded in its place, or nothing has happened.
func TestDropOfADamagedTable(t *testing.T) {
	t.Parallel()
	d := newDamageable(t, 12, 400)
	gone, stays := 0, 0
	for name, size := range d.files {
		for at := int64(3); at < size; at += 997 {
			c := d.flipped(t, name, at)
			if c == nil {
				continue
			}
			before := c.t.Digest()
			err := c.db.Drop(background, 7)
			again, openErr := c.db.Table(7, identity(fold.LastValue, 0))
			switch {
			case err != nil:
				stays++
				require.True(t, pebble.IsCorruptionError(err), "%s at %d: %v", name, at, err)
				require.NoError(t, openErr)
				require.Same(t, c.t, again)
				require.Equal(t, before, again.Digest())
			default:
				gone++
				require.NoError(t, openErr)
				require.Zero(t, again.Digest().Count)
				require.NoError(t, c.make(t, 7))
			}
			c.close(t)
		}
	}
	require.Greater(t, gone, 10*stays)
	t.Logf("gone %d, stays %d", gone, stays)
}

// Where there are tables beside it, whose rows may be in one block with its own, it goes whole, or it is known beforehand that it may not; they stay as they were.
// The last table goes also where the block with its last rows cannot be read. Behind that none can be made before it has gone.
func TestDropOfADamagedTableBesideOthers(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		d      *damageable
		beside []uint32
	}{{newDamageable(t, 4, 200, 6, 8), []uint32{6, 8}}, {newNeighbours(t, 1<<20, 6, 7), []uint32{6}}} {
		d := x.d
		gone, stays, room := 0, 0, 0
		for name, size := range d.files {
			for at := int64(3); at < size; at += 397 {
				c := d.flipped(t, name, at)
				if c == nil {
					continue
				}
				crowded := c.db.Examine() != nil
				if crowded {
					require.ErrorIs(t, c.make(t, 9), table.ErrCorrupt)
				}
				if err := c.db.Separable(7); err != nil {
					stays++
					require.True(t, pebble.IsCorruptionError(err), "%s at %d: %v", name, at, err)
					c.close(t)
					continue
				}
				gone++
				require.NoError(t, c.db.Drop(background, 7), "%s at %d", name, at)
				require.NoError(t, c.make(t, 7))
				if crowded && c.db.Examine() == nil {
					room++
					require.NoError(t, c.make(t, 9))
				}
				for _, ordinal := range x.beside {
					other, err := c.db.Table(ordinal, identity(fold.LastValue, int32(ordinal)))
					require.NoError(t, err)
					if _, err = other.Verify(background, table.Current); err != nil {
						require.True(t, pebble.IsCorruptionError(err), "%s at %d: %v", name, at, err)
					}
				}
				c.close(t)
			}
		}
		t.Logf("gone %d, stays %d, had no other behind it before %d", gone, stays, room)
		require.Positive(t, stays)
		require.Greater(t, gone, stays)
		require.Equal(t, len(x.beside) == 1, room > 0)
	}
}

// make folds the first rows of an ordinal.
func (c *copied) make(t *testing.T, ordinal uint32) error {
	x, err := c.db.Table(ordinal, identity(fold.LastValue, 0))
	require.NoError(t, err)
	require.Zero(t, x.Digest().Count)
	deltas := []oracleDelta{{key: "a", value: "1", op: oraclePut}, {key: "b", value: "2", op: oraclePut, offset: 1}}
	if err := c.db.Commit(background, []table.Fold{{Table: x, Changes: collapse(deltas), End: 2, Cut: true}}); err != nil {
		return err
	}
	got, err := x.Verify(background, 2)
	require.EqualValues(t, 2, got.Count)
	return err
}

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
				deltas := []oracleDelta{{key: "a", value: "1", op: oraclePut}, {key: "b", value: "2", op: oraclePut, offset: 1}}
				require.NoError(t, c.db.Commit(background, []table.Fold{{Table: again, Changes: collapse(deltas), End: 2, Cut: true}}))
				_, err = again.Verify(background, 2)
				require.NoError(t, err)
				require.EqualValues(t, 2, again.Digest().Count)
			}
			c.close(t)
		}
	}
	require.Greater(t, gone, 10*stays)
	t.Logf("gone %d, stays %d", gone, stays)
}

// Where there are tables beside it, whose rows may be in one block with its own, it goes whole, or it is known beforehand that it may not; they stay as they were.
func TestDropOfADamagedTableBesideOthers(t *testing.T) {
	t.Parallel()
	d := newDamageable(t, 4, 200, 6, 8)
	gone, stays := 0, 0
	for name, size := range d.files {
		for at := int64(3); at < size; at += 397 {
			c := d.flipped(t, name, at)
			if c == nil {
				continue
			}
			if err := c.db.Separable(7); err != nil {
				stays++
				require.True(t, pebble.IsCorruptionError(err), "%s at %d: %v", name, at, err)
				c.close(t)
				continue
			}
			gone++
			require.NoError(t, c.db.Drop(background, 7), "%s at %d", name, at)
			again, err := c.db.Table(7, identity(fold.LastValue, 0))
			require.NoError(t, err)
			require.Zero(t, again.Digest().Count)
			for _, ordinal := range []uint32{6, 8} {
				other, err := c.db.Table(ordinal, identity(fold.LastValue, int32(ordinal)))
				require.NoError(t, err)
				if _, err = other.Verify(background, table.Current); err != nil {
					require.True(t, pebble.IsCorruptionError(err), "%s at %d: %v", name, at, err)
				}
			}
			c.close(t)
		}
	}
	t.Logf("gone %d, stays %d", gone, stays)
	require.Positive(t, stays)
	require.Greater(t, gone, stays)
}

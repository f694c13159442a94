package table_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/table"
)

// Whichever byte of a table's files is changed: Trim says whether it has given up the older frame, or nothing has happened, and says it again.
func TestTrimOfADamagedTableWithEveryByte(t *testing.T) {
	t.Parallel()
	d := newNeighbours(t, 1<<20, 6, 7, 8)
	outcomes := map[string]int{}
	for name, size := range d.files {
		for at := int64(3); at < size; at += 97 {
			c := d.flipped(t, name, at)
			if c == nil {
				continue
			}
			var deltas []oracleDelta
			for i := range int64(neighbourEnd) {
				deltas = append(deltas, oracleDelta{key: fmt.Sprint("n", i), op: oraclePut, value: "another", offset: neighbourEnd + i})
			}
			end := int64(2 * neighbourEnd)
			if c.db.Commit(background, []table.Fold{{Table: c.t, Changes: collapse(deltas), End: end, Cut: true}}) == nil {
				before := c.t.Frames()
				require.Len(t, before, 2)
				err := c.t.Trim(background, end)
				switch {
				case err == nil:
					outcomes["done"]++
				case errors.Is(err, table.ErrTrimmed):
					outcomes["in the way"]++
					require.ErrorIs(t, err, table.ErrCorrupt)
					require.ErrorIs(t, c.t.Trim(background, end), table.ErrTrimmed)
				default:
					outcomes["nothing"]++
					require.ErrorIs(t, err, table.ErrCorrupt)
					require.Equal(t, before, c.t.Frames())
					before = nil
				}
				if before != nil {
					require.Equal(t, before[1:], c.t.Frames())
				}
				frames := c.t.Frames()
				c.close(t)
				c.open(t)
				again, err := c.db.Table(d.own, identity(fold.LastValue, d.part))
				require.NoError(t, err)
				require.Equal(t, frames, again.Frames())
			}
			c.close(t)
		}
	}
	t.Log(outcomes)
	require.Greater(t, outcomes["done"], 10)
	require.Greater(t, outcomes["in the way"], 2)
}

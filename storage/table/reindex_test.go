package table_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/storage/keys"
	"github.com/keyframelog/keyframe/storage/table"
)

// indexOf is the index as it is stored.
func indexOf(t *testing.T, pdb *pebble.DB) map[string]string {
	out := map[string]string{}
	lower, upper := keys.TableSpan(keys.TableIndex, 7)
	it, err := pdb.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	require.NoError(t, err)
	for ok := it.First(); ok; ok = it.Next() {
		out[string(it.Key())] = string(it.Value())
	}
	require.NoError(t, it.Close())
	return out
}

// The index is made anew from rows and tombstones as it was, in one go or range by range, wherever a block of it cannot be read; where rows cannot be
// read either, nothing happens.
func TestReindex(t *testing.T) {
	d := newDamageable(t, 40, 900)
	whole := d.flipped(t, slices.Collect(maps.Keys(d.files))[0])
	require.NotNil(t, whole)
	want := indexOf(t, whole.pdb)
	require.Greater(t, len(want), 400)
	whole.close(t)
	outcomes := map[string]int{}
	for name, size := range d.files {
		for at := int64(20); at < size-800; at += 1900 {
			for _, pieces := range []bool{false, true} {
				c := d.flipped(t, name, at)
				if c == nil {
					outcomes["does not open"]++
					continue
				}
				if pieces {
					c.db.LoadBytes(12_000)
				}
				broken := c.t.VerifyIndex(background) != nil
				_, rows := c.t.Verify(background, table.Current)
				err := c.t.Reindex(background)
				switch {
				case broken && rows == nil && err == nil:
					outcomes[fmt.Sprintf("made anew, pieces: %v", pieces)]++
				case rows != nil:
					require.ErrorIs(t, err, table.ErrCorrupt)
					outcomes["rows are damaged"]++
				case err != nil:
					require.ErrorIs(t, err, table.ErrCorrupt)
					outcomes["beside what cannot be read"]++
				}
				if err == nil {
					require.NoError(t, c.t.VerifyIndex(background))
					require.Equal(t, want, indexOf(t, c.pdb))
					c.store.close(t)
					c.store.open(t)
					require.Equal(t, want, indexOf(t, c.pdb))
				}
				c.store.close(t)
				if !broken || rows != nil {
					break // it is as it was with pieces
				}
			}
		}
	}
	t.Log(outcomes)
	require.Greater(t, outcomes["made anew, pieces: false"], 3)
	require.Greater(t, outcomes["made anew, pieces: true"], 3)
	require.Positive(t, outcomes["rows are damaged"])
}

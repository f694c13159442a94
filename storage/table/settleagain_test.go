package table_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/keys"
	"github.com/keyframelog/keyframe/storage/table"
)

// What was superseded is still to be settled after a Settle, or a Trim, that has failed in between, also when the table is opened again.
func TestSettleStaysDue(t *testing.T) {
	t.Parallel()
	const rows = 5000
	for _, trims := range []bool{false, true} {
		var creations atomic.Int32 // before one fails; 0: none does
		fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
			if creations.Load() == 0 || op.Kind != errorfs.OpCreate || !strings.HasPrefix(op.Path, "tmp/") {
				return nil
			}
			if creations.Add(-1) > 0 {
				return nil
			}
			return errors.New("no space left on device")
		}))
		h := &history{s: openStore(t, fs, new(int64), rowMax, false), rng: rand.New(rand.NewPCG(8, 9)), keys: rows}
		open := func() {
			var err error
			h.x, err = h.s.db.Table(1, identity(fold.LastValue, 0))
			require.NoError(t, err)
		}
		open()
		for range 4 {
			h.fold(t, 2*rows, true)
		}
		before := stored(t, h.s.pdb, keys.TableRows, 1)
		creations.Store(2) // the second is the first of those rows that stay
		if trims {
			require.ErrorContains(t, h.x.Trim(background, h.end), "clean ordinal 1")
		} else {
			require.ErrorContains(t, h.x.Settle(background), "clean ordinal 1")
		}
		require.Equal(t, before, stored(t, h.s.pdb, keys.TableRows, 1))
		require.True(t, h.x.SettleDue())
		h.s.close(t)
		h.s.open(t)
		open()
		require.True(t, h.x.SettleDue())
		h.upkeep(t)
		require.LessOrEqual(t, stored(t, h.s.pdb, keys.TableRows, 1), 2*int(h.x.Digest().Count))
		h.s.close(t)
	}
}

// Tombstones that have expired take no space for long, though nothing else happens.
func TestSettleIsDueWhenTombstonesHaveExpired(t *testing.T) {
	t.Parallel()
	const rows = 5000
	h := newHistory(t, rows)
	defer h.s.close(t)
	for _, op := range []oracleOp{oraclePut, oracleDelete} {
		list := make([]oracleDelta, rows)
		for i := range list {
			list[i] = oracleDelta{key: fmt.Sprintf("k%05d", i), op: op, offset: h.end}
			h.end++
		}
		require.NoError(t, h.s.db.Commit(background, []table.Fold{{Table: h.x, Changes: collapse(list), End: h.end, Cut: true}}))
	}
	require.NoError(t, h.x.Trim(background, h.end))
	require.False(t, h.x.SettleDue())
	n, err := h.x.ExpireTombstones(background, math.MaxInt64)
	require.NoError(t, err)
	require.Equal(t, rows, n)
	require.True(t, h.x.SettleDue())
	h.upkeep(t)
	require.Zero(t, stored(t, h.s.pdb, keys.TableRows, 1))
}

// What a crash leaves behind in a Settle is due: whoever settles what is due then has as little in the way as if there had been none.
func TestCrashInSettle(t *testing.T) {
	t.Parallel()
	m, x, rec := recorded(t)
	rec.record(true)
	require.NoError(t, x.t.Settle(background))
	rec.record(false)
	most := stored(t, m.pdb, keys.TableRows, x.ordinal)
	m.close(t)
	for i, image := range rec.crashes(tried) {
		y := *x
		n := &model{crash: image, tables: []*modelTable{&y}}
		n.store = openStore(t, image, m.store.clock, rowMax, true)
		n.reopened(t)
		if y.t.SettleDue() {
			require.NoError(t, y.t.Settle(background))
		}
		require.LessOrEqual(t, stored(t, n.pdb, keys.TableRows, y.ordinal), most, "crash %d", i)
		n.close(t)
	}
}

package table_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/storage/table"
)

// tableChange is one that takes several ingests; in between, the table shows a part of it.
type tableChange struct {
	name string
	// prepare is done before
	prepare func(t *testing.T, db *table.DB, x *modelTable)
	// do changes the table; it must be repeatable
	do func(t *testing.T, db *table.DB, x *modelTable)
	// done tells the oracle, once the table shows that it was done, or a part of it
	done func(x *modelTable)
	was  func(x *modelTable) bool
	// end says of the table whether all was done, from the oracle as it was before
	end func(before, x *modelTable) bool
	// gone is after how many ingests the table is closed; 0 = never
	gone int
}

// tell tells the oracle what the table shows.
func (c *tableChange) tell(x *modelTable) {
	if c.was(x) {
		c.done(x)
	}
}

func fewerFrames(x *modelTable) bool { return len(x.t.Frames()) < len(x.frames) }

// settled is a table of frames whose superseded rows are in TablePast, in part, and in segments.
func settled(t *testing.T, _ *table.DB, x *modelTable) {
	require.True(t, x.t.SettleDue())
	require.NoError(t, x.t.Settle(background))
	require.False(t, x.t.SettleDue())
}

func settling(name string, prepare func(*testing.T, *table.DB, *modelTable)) tableChange {
	return tableChange{
		name: name, prepare: prepare,
		do: func(t *testing.T, _ *table.DB, x *modelTable) {
			require.NoError(t, x.t.Settle(background))
		},
		done: func(*modelTable) {},
		was:  func(*modelTable) bool { return false },
		end:  func(_, x *modelTable) bool { return !x.t.SettleDue() },
	}
}

var changes = []tableChange{
	settling("settle", nil),
	settling("settle an open interval", func(t *testing.T, db *table.DB, x *modelTable) {
		for range 2 { // of which the second supersedes what no frame shows, and the first also what the newest does
			var deltas []oracleDelta
			for i := range 20 {
				d := oracleDelta{key: fmt.Sprintf("k%02d", i), offset: x.next, op: oraclePut, value: fmt.Sprint(x.next)}
				x.next++
				x.o.apply(d)
				deltas = append(deltas, d)
			}
			require.NoError(t, db.Commit(background, []table.Fold{{Table: x.t, Changes: collapse(deltas), End: x.next}}))
		}
		require.True(t, x.t.SettleDue())
	}),
	{
		name:    "trim what is settled",
		prepare: settled,
		do: func(t *testing.T, _ *table.DB, x *modelTable) {
			require.NoError(t, x.t.Trim(background, x.newest(2)))
		},
		done: func(x *modelTable) { x.trimmed(x.newest(2), 0) },
		was:  fewerFrames,
		end:  func(_, x *modelTable) bool { return len(x.t.Frames()) == 2 },
	},
	{
		name:    "thin what is settled",
		prepare: settled,
		do: func(t *testing.T, _ *table.DB, x *modelTable) {
			if cuts := x.cuts(); len(x.t.Frames()) == 5 {
				require.NoError(t, x.t.Thin(background, cuts[2]))
			}
		},
		done: func(x *modelTable) { delete(x.frames, x.cuts()[2]) },
		was:  fewerFrames,
		end:  func(_, x *modelTable) bool { return len(x.t.Frames()) == 4 },
	},
	{
		name: "trim",
		do: func(t *testing.T, _ *table.DB, x *modelTable) {
			require.NoError(t, x.t.Trim(background, x.cuts()[len(x.cuts())-1]))
		},
		done: func(x *modelTable) { x.trimmed(x.cuts()[len(x.cuts())-1], 0) },
		was:  fewerFrames,
		end:  func(_, x *modelTable) bool { return len(x.t.Frames()) == 1 },
	},
	{
		name: "thin",
		do: func(t *testing.T, _ *table.DB, x *modelTable) {
			if cuts := x.cuts(); len(x.t.Frames()) == 5 {
				require.NoError(t, x.t.Thin(background, cuts[2]))
			}
		},
		done: func(x *modelTable) { delete(x.frames, x.cuts()[2]) },
		was:  fewerFrames,
		end:  func(_, x *modelTable) bool { return len(x.t.Frames()) == 4 },
	},
	{
		name: "expire",
		prepare: func(t *testing.T, _ *table.DB, x *modelTable) {
			cut := x.cuts()[3]
			require.NoError(t, x.t.Trim(background, cut))
			x.trimmed(cut, 0)
		},
		do: func(t *testing.T, _ *table.DB, x *modelTable) {
			_, err := x.t.ExpireTombstones(background, 1)
			require.NoError(t, err)
		},
		done: func(x *modelTable) { x.horizon = x.t.Horizon() },
		was:  func(x *modelTable) bool { return x.t.Horizon() > x.horizon },
		end:  func(before, x *modelTable) bool { return x.t.Horizon() == before.deadBelow(before.cuts()[0]) },
	},
	{
		name: "start",
		do: func(t *testing.T, db *table.DB, x *modelTable) {
			for x.t.Start() < x.next-20 { // several times: no more leaves at once than fits
				require.NoError(t, db.Commit(background, []table.Fold{{Table: x.t, End: x.next, Cut: true, Start: x.next - 20}}))
			}
		},
		done: func(x *modelTable) {
			o := *x.o
			o.state, o.starts = x.o.copy(), slices.Clone(x.o.starts)
			x.o = &o
			x.o.expire(oracleStart{x.next, x.t.Start()})
			x.frames[x.next] = modelFrame{x.o.copy(), x.o.rejected}
		},
		was: func(x *modelTable) bool { return x.t.Start() > x.o.starts[len(x.o.starts)-1].start },
		end: func(_, x *modelTable) bool { return x.t.Start() == x.next-20 },
	},
}

// newest is the n-th newest cut, or the oldest.
func (x *modelTable) newest(n int) int64 {
	cuts := x.cuts()
	return cuts[max(0, len(cuts)-n)]
}

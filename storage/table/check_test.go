package table_test

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keyframelog/keyframe/storage/table"
)

func (m *model) check(t *rapid.T) {
	list, err := m.db.Ordinals()
	require.NoError(t, err)
	for _, o := range list {
		require.True(t, slices.ContainsFunc(m.tables, func(x *modelTable) bool { return x.ordinal == o }))
	}
	for _, x := range m.tables {
		x.check(t, rapid.Int64Range(0, max(1, x.next)).Draw(t, "since"))
	}
}

func (x *modelTable) check(t fatal, since int64) {
	require.Equal(t, x.next, x.t.Position())
	require.Equal(t, digestOf(x.o.state), x.t.Digest())
	rejects := x.t.Rejected()
	require.Equal(t, x.o.rejected, rejects.Total())
	require.Equal(t, x.horizon, x.t.Horizon())
	cuts := x.cuts()
	moves := map[int64]int64{} // at any offset from the oldest frame on, they tell what left
	for _, s := range x.t.Starts() {
		moves[s.Cut] = s.Start
	}
	for _, s := range x.o.starts {
		if len(cuts) > 0 && s.cut > cuts[0] && s.cut <= x.next {
			require.Equal(t, s.start, moves[s.cut])
		}
	}
	frames := x.t.Frames()
	require.Len(t, frames, len(cuts))
	for i, c := range cuts {
		f := x.frames[c]
		require.Equal(t, c, frames[i].Cut)
		require.Equal(t, digestOf(f.state), frames[i].Digest)
		require.Equal(t, f.rejected, frames[i].Rejected)
		for _, r := range f.state {
			require.GreaterOrEqual(t, r.offset, frames[i].Start)
		}
		require.Equal(t, sizeOf(f.state), frames[i].Bytes)
		x.checkView(t, c, f.state, since)
	}
	x.checkView(t, table.Current, x.o.state, since)
	for i, from := range cuts {
		for _, to := range cuts[i:] {
			x.checkDifferences(t, from, to, x.frames[from].state, x.frames[to].state)
		}
		x.checkDifferences(t, from, table.Current, x.frames[from].state, x.o.state)
	}
	x.checkLeft(t)
	for k := range 31 {
		key := fmt.Sprintf("k%02d", k)
		row, ok, err := x.t.Get([]byte(key))
		require.NoError(t, err)
		want, have := x.o.state[key]
		require.Equal(t, have && !want.dead, ok)
		if ok {
			requireRow(t, x.kind, want, row)
		}
	}
}

// checkLeft finds the last row of each key that has none any more since the log start passed it, whatever frame remembers what came before.
func (x *modelTable) checkLeft(t fatal) {
	if len(x.o.starts) == 0 {
		return
	}
	v, err := x.t.View(table.Current)
	require.NoError(t, err)
	defer v.Close()
	last := map[string]oracleRow{} // of each key
	p := newOracle(x.o.kind, x.o.max)
	starts := x.o.starts
	for _, d := range x.o.history {
		for len(starts) > 0 && starts[0].cut <= d.offset {
			p.expire(starts[0])
			starts = starts[1:]
		}
		p.apply(d)
		if r, has := p.state[d.key]; has {
			last[d.key] = r
		}
	}
	cuts := x.cuts()
	for _, known := range append(cuts, v.End()) { // by who looks
		start := int64(0) // at that cut
		for _, s := range x.o.starts {
			if s.cut <= known {
				start = s.start
			}
		}
		if !v.LeftSince(start, nil) {
			continue
		}
		left := map[string]oracleRow{}
		for row, err := range v.Left(start, start, known) {
			require.NoError(t, err)
			require.GreaterOrEqual(t, row.Offset, start)
			require.Less(t, row.Offset, v.Start())
			left[string(row.Key)] = oracleRow{string(row.Value), row.Tombstone, row.Offset, row.Timestamp, ""}
		}
		for k, want := range last {
			if _, has := x.o.state[k]; has || want.offset < start || want.offset >= v.Start() || x.gone[k] {
				continue
			}
			got, found := left[k]
			require.True(t, found, "%s at %d, for who knows what is below %d", k, want.offset, known)
			want.header = ""
			require.Equal(t, want, got)
		}
	}
}

func sizeOf(s oracleState) (n int64) {
	for k, r := range s {
		if !r.dead {
			n += int64(len(k) + len(r.value))
		}
	}
	return n
}

func (x *modelTable) checkView(t fatal, cut int64, want oracleState, since int64) {
	_, err := x.t.Verify(background, cut)
	require.NoError(t, err)
	v, err := x.t.View(cut)
	require.NoError(t, err)
	defer v.Close()
	x.compareView(t, v, want, since)
	if cut != table.Current {
		x.checkRowsSince(t, v, max(since, v.Horizon()))
	}
}

// checkRowsSince holds the bound to the rows that there are.
func (x *modelTable) checkRowsSince(t fatal, v *table.View, since int64) {
	n := int64(0)
	for _, err := range v.Offsets(since, true) {
		require.NoError(t, err)
		n++
	}
	for _, limit := range []int64{0, n, n + 3, math.MaxInt64 / 2} {
		atMost, err := x.t.RowsSince(background, v.End(), since, limit)
		require.NoError(t, err)
		require.GreaterOrEqual(t, atMost, n, "since %d at %d, limit %d", since, v.End(), limit)
	}
}

func (x *modelTable) compareView(t fatal, v *table.View, want oracleState, since int64) {
	live := 0
	for k, r := range want {
		row, ok, err := v.Get([]byte(k))
		require.NoError(t, err)
		require.Equal(t, !r.dead, ok, "%s at %d", k, v.End())
		if ok {
			live++
			requireRow(t, x.kind, r, row)
		}
	}
	_, ok, err := v.Get([]byte("nothing"))
	require.NoError(t, err)
	require.False(t, ok)
	n, last := 0, int64(-1)
	for row, err := range v.Offsets(0, false) {
		require.NoError(t, err)
		require.Greater(t, row.Offset, last)
		requireRow(t, x.kind, want[string(row.Key)], row)
		same, ok, err := v.Row(row.Offset)
		require.NoError(t, err)
		require.True(t, ok, "row at %d of %d", row.Offset, v.End())
		require.Equal(t, row, same)
		last = row.Offset
		n++
	}
	require.Equal(t, live, n)
	_, ok, err = v.Row(v.End())
	require.NoError(t, err)
	require.False(t, ok, "it is not below the cut")
	x.checkScan(t, v, want, nil, nil)
	x.checkScan(t, v, want, []byte("k1"), nil)
	x.checkScan(t, v, want, []byte("k"), []byte("k1"))
	x.checkScan(t, v, want, []byte("k1"), []byte("k15"))
	x.checkSince(t, v, want, max(since, v.Horizon()))
}

func (x *modelTable) checkScan(t fatal, v *table.View, want oracleState, prefix, after []byte) {
	var keys []string
	for k, r := range want {
		if !r.dead && bytes.HasPrefix([]byte(k), prefix) && (after == nil || k > string(after)) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	var got []string
	for row, err := range v.Scan(prefix, after) {
		require.NoError(t, err)
		requireRow(t, x.kind, want[string(row.Key)], row)
		got = append(got, string(row.Key))
	}
	require.Equal(t, keys, got)
}

// checkSince applies what changed since c to the state at c.
func (x *modelTable) checkSince(t fatal, v *table.View, want oracleState, c int64) {
	state := x.o.at(c)
	last := c - 1
	for row, err := range v.Offsets(c, true) {
		require.NoError(t, err)
		require.Greater(t, row.Offset, last)
		last = row.Offset
		requireRow(t, x.kind, want[string(row.Key)], row)
		state[string(row.Key)] = want[string(row.Key)]
	}
	maps.DeleteFunc(state, func(_ string, r oracleRow) bool { return r.offset < v.Frame().Start })
	if c <= v.End() {
		require.Equal(t, want, state)
	}
}

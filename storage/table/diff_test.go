package table_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/keys"
	"github.com/keyframelog/keyframe/storage/table"
)

// checkDifferences compares what differs between two views of one moment with what differs between two naive folds.
func (x *modelTable) checkDifferences(t fatal, from, to int64, was, is oracleState) {
	now, err := x.t.View(table.Current)
	require.NoError(t, err)
	defer now.Close()
	v, err := now.At(from)
	require.NoError(t, err)
	defer v.Close()
	w, err := now.At(to)
	require.NoError(t, err)
	defer w.Close()
	for _, c := range [][2]string{{"", ""}, {"k1", "k14"}} {
		prefix, after := c[0], c[1]
		var want, got []string
		for k := range union(was, is) {
			a, b := was[k], is[k]
			had, has := hasRow(was, k), hasRow(is, k)
			if strings.HasPrefix(k, prefix) && k > after && (had != has || had && a.value != b.value) {
				want = append(want, fmt.Sprintf("%s %v %q %d %v %q %d", k, had, a.value, a.offset, has, b.value, b.offset))
			}
		}
		slices.Sort(want)
		for d, err := range v.Differences(background, w, []byte(prefix), []byte(after)) {
			require.NoError(t, err)
			a, b := was[string(d.Key)], is[string(d.Key)]
			if d.Had {
				requireRow(t, x.kind, a, d.Before)
			}
			if d.Has {
				requireRow(t, x.kind, b, d.After)
			}
			got = append(got, fmt.Sprintf("%s %v %q %d %v %q %d", d.Key, d.Had, a.value, a.offset, d.Has, b.value, b.offset))
		}
		require.Equal(t, want, got, "from %d to %d", from, to)
	}
}

func union(a, b oracleState) map[string]bool {
	all := map[string]bool{}
	for _, s := range []oracleState{a, b} {
		for k := range s {
			all[k] = true
		}
	}
	return all
}

func hasRow(s oracleState, k string) bool {
	r, ok := s[k]
	return ok && !r.dead
}

// differenceTable has 2,000 rows at its first frame, and a hundred at the second that were written since: half of them with the value
// that they had, one deleted, one new.
func differenceTable(t *testing.T) (*store, *table.Table) {
	var clock int64
	s := openStore(t, vfs.NewMem(), &clock, rowMax, false)
	x, err := s.db.Table(1, identity(fold.LastValue, 0))
	require.NoError(t, err)
	var deltas []oracleDelta
	for i := range int64(2000) {
		deltas = append(deltas, oracleDelta{key: fmt.Sprintf("k%04d", i), op: oraclePut, value: "v", offset: i})
	}
	require.NoError(t, s.db.Commit(background, []table.Fold{{Table: x, Changes: collapse(deltas), End: 2000, Cut: true}}))
	deltas = deltas[:0]
	for i := range int64(100) {
		d := oracleDelta{key: fmt.Sprintf("k%04d", i*20), op: oraclePut, value: "v", offset: 2000 + i}
		switch {
		case i == 98:
			d.key = "new"
		case i == 99:
			d.op, d.value = oracleDelete, ""
		case i%2 == 0:
			d.value = "w"
		}
		deltas = append(deltas, d)
	}
	require.NoError(t, s.db.Commit(background, []table.Fold{{Table: x, Changes: collapse(deltas), End: 2100, Cut: true}}))
	return s, x
}

func differences(t *testing.T, ctx context.Context, x *table.Table) (list []string, err error) {
	v, err := x.View(2000)
	require.NoError(t, err)
	defer v.Close()
	w, err := v.At(table.Current)
	require.NoError(t, err)
	defer w.Close()
	for d, err := range v.Differences(ctx, w, nil, nil) {
		if err != nil {
			return list, err
		}
		list = append(list, string(d.Key))
	}
	return list, nil
}

// The difference of two frames costs what was touched between them: rows that were not, and those that were written with the value that they
// had, are not even read.
func TestDifferencesReadOnlyWhatDiffers(t *testing.T) {
	s, x := differenceTable(t)
	defer s.close(t)
	for i := range int64(2000) { // all rows but those that differ
		if i%40 == 0 && i/20 < 98 || i == 99*20 {
			continue
		}
		require.NoError(t, s.pdb.Delete(keys.AppendTableOffset(nil, keys.TableRows, 1, i), pebble.NoSync))
	}
	list, err := differences(t, background, x)
	require.NoError(t, err)
	require.Len(t, list, 49+2)
	require.Equal(t, "new", list[len(list)-1])

	v, err := x.View(2000)
	require.NoError(t, err)
	defer v.Close()
	var scanned error
	for _, err := range v.Scan(nil, nil) {
		scanned = err
	}
	require.ErrorIs(t, scanned, table.ErrCorrupt, "a scan needs them all")
}

func TestDifferencesEndWithTheirContext(t *testing.T) {
	s, x := differenceTable(t)
	defer s.close(t)
	ctx, cancel := context.WithCancel(background)
	cancel()
	_, err := differences(t, ctx, x)
	require.ErrorIs(t, err, context.Canceled)
}

// Views of one moment see the same, whatever is folded, trimmed or thinned meanwhile.
func TestViewsOfOneMoment(t *testing.T) {
	s, x := differenceTable(t)
	defer s.close(t)
	now, err := x.View(table.Current)
	require.NoError(t, err)
	defer now.Close()
	require.NoError(t, s.db.Commit(background, []table.Fold{{Table: x, End: 2200, Cut: true,
		Changes: collapse([]oracleDelta{{key: "k0001", op: oraclePut, value: "later", offset: 2150}})}}))
	require.NoError(t, x.Trim(background, 2200))
	require.Len(t, now.Frames(), 2)
	v, err := now.At(2000)
	require.NoError(t, err)
	defer v.Close()
	row, ok, err := v.Get([]byte("k0000"))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "v", string(row.Value))
	w, err := now.At(table.Current)
	require.NoError(t, err)
	defer w.Close()
	require.EqualValues(t, 2100, w.End())
	_, err = now.At(2200)
	require.ErrorIs(t, err, table.ErrNoFrame)
}

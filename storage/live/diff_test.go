package live_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/fold"
	storagekeys "github.com/keyframelog/keyframe/storage/keys"
	"github.com/keyframelog/keyframe/storage/live"
	"github.com/keyframelog/keyframe/storage/table"
)

// difference is one as text.
func difference(key string, had bool, before row, has bool, after row) string {
	side := func(is bool, r row) string {
		if !is {
			return "none"
		}
		return fmt.Sprintf("%q at %d", r.value, r.offset)
	}
	return key + ": " + side(had, before) + ", " + side(has, after)
}

// checkDiff compares what differs between two offsets with two naive folds.
func (w *world) checkDiff(t fatal, from, to int64) {
	was, _ := w.at(from)
	is, _ := w.at(to)
	d, err := w.p.Diff(background, from, to, w)
	require.NoError(t, err)
	defer d.Close()
	for _, x := range [][2]string{{"", ""}, {"k1", "k14"}} {
		prefix, after := x[0], x[1]
		var want, got []string
		all := maps.Clone(was)
		maps.Copy(all, is)
		for _, key := range slices.Sorted(maps.Keys(all)) {
			a, had := was[key]
			b, has := is[key]
			had, has = had && !a.dead, has && !b.dead
			if strings.HasPrefix(key, prefix) && (after == "" || key > after) && (had != has || had && a.value != b.value) {
				want = append(want, difference(key, had, a, has, b))
			}
		}
		for x, err := range d.Rows(background, []byte(prefix), cond(after)) {
			require.NoError(t, err)
			got = append(got, difference(string(x.Key), x.Had, row{string(x.Before.Value), false, x.Before.Offset},
				x.Has, row{string(x.After.Value), false, x.After.Offset}))
			if x.Had {
				require.Equal(t, string(x.Key), string(x.Before.Key))
			}
			if x.Has {
				require.Equal(t, string(x.Key), string(x.After.Key))
			}
		}
		require.Equal(t, want, got, "from %d to %d", from, to)
	}
}

// diffWorld has 500 rows below a frame at 500, another at 520, and 20 deltas above.
func diffWorld(t *testing.T) *world {
	w := &world{}
	w.open(t, vfs.NewMem(), fold.LastValue, live.Config{})
	add := func(n int, cut bool, key func(int) string, value string) {
		records := make([]record, n)
		for i := range records {
			records[i] = record{key: key(i), value: value}
		}
		w.produce(t, batch.None, records)
		w.catchUp(t)
		if cut {
			f, finish, ok := w.p.StartFold(true)
			require.True(t, ok)
			finish(w.db.Commit(background, []table.Fold{f}))
			w.cutAt(f)
		}
	}
	add(500, true, func(i int) string { return fmt.Sprintf("k%03d", i) }, "1")
	add(20, true, func(i int) string { return fmt.Sprintf("k%03d", 25*i) }, "2")
	add(20, false, func(i int) string { return fmt.Sprintf("k%03d", 25*i+1) }, "3")
	return w
}

// Above frames, what differs is found without the rows that were not touched: they are gone here.
func TestDiffCostsWhatWasTouched(t *testing.T) {
	w := diffWorld(t)
	defer w.close(t)
	for i := range int64(500) {
		if i%25 > 1 {
			require.NoError(t, w.pdb.Delete(storagekeys.AppendTableOffset(nil, storagekeys.TableRows, 3, i), pebble.NoSync))
		}
	}
	for _, x := range [][2]int64{{500, 540}, {510, 530}, {540, 505}, {530, 520}, {520, 520}} {
		w.checkDiff(t, x[0], x[1])
	}
}

// Whoever has enough, or is cut off, ends the comparison: of states that are read in full as well.
func TestDiffEnds(t *testing.T) {
	w := diffWorld(t)
	defer w.close(t)
	for _, from := range []int64{0, 500} {
		d, err := w.p.Diff(background, from, 540, w)
		require.NoError(t, err)
		n := 0
		for _, err := range d.Rows(background, nil, nil) {
			require.NoError(t, err)
			if n++; n == 3 {
				break
			}
		}
		require.Equal(t, 3, n)
		require.NoError(t, d.Close())
	}
	ctx, cancel := context.WithCancel(background)
	cancel()
	_, err := w.p.Diff(ctx, 1, 540, w)
	require.ErrorIs(t, err, context.Canceled)
	d, err := w.p.Diff(background, 500, 540, w)
	require.NoError(t, err)
	defer d.Close()
	var last error
	for _, err := range d.Rows(ctx, nil, nil) {
		last = err
	}
	require.ErrorIs(t, last, context.Canceled)
}

// Rows that expired at a cut whose frame was thinned are a difference: no frame between tells of them.
func TestDiffOfExpiredRowsWithoutTheirFrame(t *testing.T) {
	w := &world{}
	w.open(t, vfs.NewMem(), fold.LastValue, live.Config{})
	defer w.close(t)
	for i, start := range []int64{0, 1, 0} {
		w.produce(t, batch.None, []record{{key: fmt.Sprint("k", 2*i), value: "1"}, {key: fmt.Sprint("k", 2*i+1), value: "1"}})
		w.catchUp(t)
		f, finish, ok := w.p.StartCut(start)
		require.True(t, ok)
		finish(w.db.Commit(background, []table.Fold{f}))
		w.cutAt(f)
	}
	require.NoError(t, w.p.Table().Thin(background, 4))
	for _, to := range []int64{3, 4, 5, 6} {
		w.checkDiff(t, 2, to)
		w.checkDiff(t, to, 2)
	}
}

// Documents are compared as they are folded: a patch that changes nothing is no difference, in whatever form it came. So are Debezium's rows.
func TestDiffOfDocuments(t *testing.T) {
	for kind, deltas := range map[fold.Kind][2][]record{
		fold.JSONMergePatch: {
			{{key: "a", value: `{"x":1,"y":2}`}, {key: "b", value: `{"x":1}`}, {key: "c", value: `{"x":{"z":1}}`}, {key: "d", value: `{}`}},
			{{key: "a", value: `{"x": 1.0}`}, {key: "b", value: `{"x":null,"y":2}`}, {key: "c", value: `{"x":{"z":null}}`}, {key: "d", dead: true}, {key: "e", value: `null`}},
		},
		fold.Debezium: {
			{{key: "a", value: `{"op":"c","after":{"y":2,"x":1}}`}, {key: "b", value: `{"op":"c","after":{"x":1}}`}, {key: "c", value: `{"op":"r","after":{"x":{"z":1}}}`},
				{key: "d", value: `{"op":"c","after":{}}`}},
			{{key: "a", value: `{"op":"u","after":{"x":1,"y":2}}`}, {key: "b", value: `{"op":"u","after":{"y":2}}`}, {key: "c", value: `{"op":"u","after":{"x":{}}}`},
				{key: "d", value: `{"op":"d","after":null}`}, {key: "e", value: `null`, op: "put"}},
		},
	} {
		w := &world{}
		w.open(t, vfs.NewMem(), kind, live.Config{})
		for i, records := range deltas {
			w.produce(t, batch.None, records)
			w.catchUp(t)
			f, finish, ok := w.p.StartFold(i == 0)
			require.True(t, ok)
			finish(w.db.Commit(background, []table.Fold{f}))
		}
		for _, to := range []int64{8, 9} { // with deltas above the frame, and what is folded
			d, err := w.p.Diff(background, 4, to, w)
			require.NoError(t, err)
			var got []string
			for x, err := range d.Rows(background, nil, nil) {
				require.NoError(t, err)
				got = append(got, fmt.Sprintf("%s %v %s %v %s", x.Key, x.Had, x.Before.Value, x.Has, x.After.Value))
			}
			want := []string{`b true {"x":1} true {"y":2}`, `c true {"x":{"z":1}} true {"x":{}}`, `d true {} false `, `e false  true null`}
			require.Equal(t, want[:to-5], got, "%s to %d", kind, to)
			require.NoError(t, d.Close())
		}
		w.close(t)
	}
}

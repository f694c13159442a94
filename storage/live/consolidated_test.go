package live_test

import (
	"errors"
	"fmt"
	"iter"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/delta"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/live"
	"github.com/keyframelog/keyframe/storage/table"
)

// folded is a row of a consolidated delta; without a value it is a tombstone.
func folded(key, value string, offset int64) table.Change {
	d := table.Delta{Delta: delta.Delta{Op: delta.Put, Key: []byte(key), Value: []byte(value)}, Offset: offset, Timestamp: 1000 + offset}
	if value == "" {
		d.Op, d.Value = delta.Delete, nil
	}
	return table.Change{Key: d.Key, Deltas: []table.Delta{d}, Folded: true}
}

func (w *world) fold(t fatal, cut bool) {
	f, finish, ok := w.p.StartFold(cut)
	require.True(t, ok)
	finish(w.db.Commit(background, []table.Fold{f}))
	w.cutAt(f)
}

// requireRows compares what is read by key and in key order with "value of offset" by key.
func (w *world) requireRows(t fatal, want map[string]row) {
	asOf, rows, _, err := w.p.Scan(nil, nil)
	require.NoError(t, err)
	require.Equal(t, w.p.Position(), asOf)
	got := map[string]row{}
	for r, err := range rows {
		require.NoError(t, err)
		got[string(r.Key)] = row{value: string(r.Value), offset: r.Offset}
	}
	require.Equal(t, want, got)
	for _, key := range []string{"a", "b", "c", "d"} {
		r, asOf, ok, err := w.p.Get([]byte(key))
		require.NoError(t, err)
		require.Equal(t, w.p.Position(), asOf)
		x, has := want[key]
		require.Equal(t, has, ok, key)
		require.Equal(t, x.value, string(r.Value), key)
	}
}

// Rows that are folded already are committed below an empty interval, and the log goes on behind them.
func TestConsolidated(t *testing.T) {
	w := &world{}
	w.open(t, vfs.NewMem(), fold.LastValue, live.Config{})
	defer w.close(t)
	w.produce(t, batch.None, []record{{key: "a", value: "1"}, {key: "b", value: "1"}, {key: "c", value: "1"}})
	w.batches[0].Stamp(0, 4)
	w.catchUp(t)
	changes := []table.Change{folded("b", "", 5), folded("c", "2", 7), folded("d", "2", 9)}

	_, _, ok := w.p.StartConsolidated(changes, 10, 0)
	require.False(t, ok, "what was applied is not committed")
	_, finish, ok := w.p.StartFold(true)
	require.True(t, ok)
	_, _, ok = w.p.StartConsolidated(changes, 10, 0)
	require.False(t, ok, "a fold is under way")
	finish(errors.New("no luck"))
	_, _, ok = w.p.StartConsolidated(changes, 10, 0)
	require.False(t, ok, "a fold has failed")
	w.fold(t, true)
	before := map[string]row{"a": {value: "1"}, "b": {value: "1", offset: 1}, "c": {value: "1", offset: 2}}
	w.requireRows(t, before)

	f, finish, ok := w.p.StartConsolidated(changes, 10, 0)
	require.True(t, ok)
	_, _, ok = w.p.StartFold(true)
	require.False(t, ok, "one at a time")
	f.Expect = &digest.Digest{}
	err := w.db.Commit(background, []table.Fold{f})
	require.ErrorIs(t, err, table.ErrDigest)
	finish(err)
	require.EqualValues(t, 3, w.p.Position())
	require.EqualValues(t, 4, w.p.LeaderEpoch())
	w.requireRows(t, before)

	f, finish, ok = w.p.StartConsolidated(changes, 10, 0)
	require.True(t, ok)
	require.False(t, f.Cut, "the log start stays")
	finish(w.db.Commit(background, []table.Fold{f}))
	require.EqualValues(t, 10, w.p.Position())
	require.EqualValues(t, 10, w.p.FoldedPosition())
	require.EqualValues(t, -1, w.p.LeaderEpoch(), "no batch was seen")
	w.requireRows(t, map[string]row{"a": {value: "1"}, "c": {value: "2", offset: 7}, "d": {value: "2", offset: 9}})

	w.next = 10
	w.produce(t, batch.None, []record{{key: "b", value: "3"}})
	next := w.batches[len(w.batches)-1]
	require.NoError(t, w.p.Apply(next))
	w.fold(t, false)
	w.requireRows(t, map[string]row{"a": {value: "1"}, "b": {value: "3", offset: 10}, "c": {value: "2", offset: 7}, "d": {value: "2", offset: 9}})
}

// Whoever reads beside a consolidated delta reads all of it from its commit on, or nothing of it, and the offset says which: the position follows
// only when the commit is known of.
func TestConsolidatedIsReadFromItsCommitOn(t *testing.T) {
	w := &world{}
	w.open(t, vfs.NewMem(), fold.LastValue, live.Config{})
	defer w.close(t)
	w.produce(t, batch.None, []record{{key: "a", value: "1"}, {key: "b", value: "1"}, {key: "c", value: "1"}})
	w.catchUp(t)
	w.fold(t, true)
	read := func(rows iter.Seq2[frame.Row, error]) (got []string) {
		for r, err := range rows {
			require.NoError(t, err)
			got = append(got, fmt.Sprintf("%s=%s", r.Key, r.Value))
		}
		return got
	}
	f, finish, ok := w.p.StartConsolidated([]table.Change{folded("b", "", 5), folded("c", "2", 7), folded("d", "2", 9)}, 10, 0)
	require.True(t, ok)
	asOf, before, _, err := w.p.Scan(nil, nil)
	require.NoError(t, err)
	require.EqualValues(t, 3, asOf)

	require.NoError(t, w.db.Commit(background, []table.Fold{f}))
	require.EqualValues(t, 3, w.p.Position())
	require.Equal(t, []string{"a=1", "b=1", "c=1"}, read(before))
	asOf, after, _, err := w.p.Scan(nil, nil)
	require.NoError(t, err)
	require.EqualValues(t, 10, asOf)
	require.Equal(t, []string{"a=1", "c=2", "d=2"}, read(after))
	row, asOf, err := w.p.Last([]byte("b"))
	require.NoError(t, err)
	require.True(t, row.Tombstone)
	require.Greater(t, asOf, int64(5), "what is read lies below")
	row, asOf, ok, err = w.p.Get([]byte("c"))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "2", string(row.Value))
	require.Greater(t, asOf, int64(7))
	finish(nil)
	require.EqualValues(t, 10, w.p.Position())
}

// With another log start the rows below it leave at the end, where there is a cut; nothing is applied until that is finished.
func TestConsolidatedWithExpiry(t *testing.T) {
	w := &world{}
	w.open(t, vfs.NewMem(), fold.LastValue, live.Config{})
	defer w.close(t)
	w.produce(t, batch.None, []record{{key: "a", value: "1"}, {key: "b", value: "1"}, {key: "c", value: "1"}})
	w.catchUp(t)
	w.fold(t, true)
	f, finish, ok := w.p.StartConsolidated([]table.Change{folded("a", "2", 6)}, 10, 2)
	require.True(t, ok)
	require.True(t, f.Cut)
	w.next = 3
	w.produce(t, batch.None, []record{{key: "held", value: "1"}})
	require.ErrorIs(t, w.p.Apply(w.batches[len(w.batches)-1]), live.ErrFull)
	w.retract()
	require.NoError(t, w.db.Commit(background, []table.Fold{f}))
	_, asOf, ok, err := w.p.Get([]byte("b"))
	require.NoError(t, err)
	require.False(t, ok, "it has left with the commit")
	require.EqualValues(t, 10, asOf)
	finish(nil)
	require.EqualValues(t, 2, w.p.Table().Start())
	w.requireRows(t, map[string]row{"a": {value: "2", offset: 6}, "c": {value: "1", offset: 2}})
	w.next = 10
	w.produce(t, batch.None, []record{{key: "b", value: "3"}})
	require.NoError(t, w.p.Apply(w.batches[len(w.batches)-1]), "nothing expires any more")
}

// Rows below the intervals are repaired while nothing is under way, and then the log goes on over them.
func TestPatch(t *testing.T) {
	w := &world{}
	w.open(t, vfs.NewMem(), fold.LastValue, live.Config{})
	defer w.close(t)
	w.produce(t, batch.None, []record{{key: "a", value: "1"}, {key: "b", value: "1"}, {key: "c", value: "1"}})
	w.catchUp(t)
	puts, deletes := []frame.Row{{Key: []byte("a"), Value: []byte("mended"), Offset: 0}}, [][]byte{[]byte("b")}
	want := digestOf(state{"a": {value: "mended"}, "c": {value: "1"}})
	patch := func() error { return w.p.Patch(background, puts, deletes, nil, want) }

	require.ErrorIs(t, patch(), live.ErrBusy, "what was applied is not committed")
	_, finish, ok := w.p.StartFold(true)
	require.True(t, ok)
	require.ErrorIs(t, patch(), live.ErrBusy, "a fold is under way")
	finish(errors.New("no luck"))
	require.ErrorIs(t, patch(), live.ErrBusy, "a fold has failed")
	w.fold(t, true)
	require.ErrorIs(t, patch(), table.ErrFrames, "the past is not given up")
	require.NoError(t, w.p.Table().Trim(background, 3))
	require.NoError(t, patch())
	w.requireRows(t, map[string]row{"a": {value: "mended"}, "c": {value: "1", offset: 2}})
	require.Equal(t, want, w.p.Table().Digest())

	w.produce(t, batch.None, []record{{key: "b", value: "2"}})
	require.NoError(t, w.p.Apply(w.batches[len(w.batches)-1]), "an answer lets go of the partition, be it an error")
	require.ErrorIs(t, patch(), live.ErrBusy)
	w.fold(t, true)
	w.requireRows(t, map[string]row{"a": {value: "mended"}, "b": {value: "2", offset: 3}, "c": {value: "1", offset: 2}})
}

package live_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/live"
	"github.com/keyframelog/keyframe/storage/table"
)

// A gap is an error, a full interval refuses without applying, and memory stays bounded when one key is overwritten for ever.
func TestBounds(t *testing.T) {
	w := &world{}
	w.open(t, vfs.NewMem(), fold.LastValue, live.Config{MaxIntervalBytes: 10 << 20})
	defer w.close(t)
	w.next = 5
	w.produce(t, batch.None, []record{{key: "a", value: "1"}})
	var gap *live.GapError
	require.ErrorAs(t, w.p.Apply(w.batches[0]), &gap)
	require.Equal(t, live.GapError{Position: 0, BaseOffset: 5}, *gap)
	require.NoError(t, w.p.ApplyRecords(nil, 5, -1))
	for range 300 {
		records := make([]record, 1000)
		for i := range records {
			records[i] = record{key: "a", value: strings.Repeat("z", 30)}
		}
		w.produce(t, batch.None, records)
	}
	w.catchUp(t)
	require.Less(t, w.p.IntervalBytes(), int64(10<<20), "300,000 records of one key")
	for w.p.IntervalBytes() < 10<<20 {
		records := make([]record, 1000)
		for i := range records {
			records[i] = record{key: fmt.Sprintf("%d-%d", w.next, i), value: "v"}
		}
		w.produce(t, batch.None, records)
		require.NoError(t, w.p.Apply(w.batches[len(w.batches)-1]))
	}
	w.produce(t, batch.None, []record{{key: "a", value: "last"}})
	position := w.p.Position()
	require.ErrorIs(t, w.p.Apply(w.batches[len(w.batches)-1]), live.ErrFull)
	require.Equal(t, position, w.p.Position())
	f, finish, ok := w.p.StartFold(true)
	require.True(t, ok)
	err := w.db.Commit(background, []table.Fold{f})
	finish(err)
	require.NoError(t, err)
	require.NoError(t, w.p.Apply(w.batches[len(w.batches)-1]))
	r, _, ok, err := w.p.Get([]byte("a"))
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, "last", string(r.Value))
}

// An external log refuses nothing: what would make a row too large is skipped, whichever of its parts is large, and a delete as well,
// whose tombstone is a row.
func TestTooLargeIsSkipped(t *testing.T) {
	for _, kind := range []fold.Kind{fold.LastValue, fold.Counter} {
		w := &world{}
		w.open(t, vfs.NewMem(), kind, live.Config{})
		headers := batch.AppendHeaders(nil, batch.Header{Key: "h", Value: make([]byte, rowMax)})
		for _, records := range [][]batch.Record{
			{{Offset: 0, Key: []byte("k"), Value: []byte("1")}},
			{{Offset: 1, Key: []byte("k"), Value: []byte("2"), Headers: headers}, {Offset: 2, Key: []byte("k"), Headers: headers}},
			{{Offset: 3, Key: []byte("k"), Headers: batch.AppendHeaders(nil, batch.Header{Key: "h", Value: make([]byte, fold.RowBytesMax)})}},
		} {
			require.NoError(t, w.p.ApplyRecords(records, records[len(records)-1].Offset+1, 0))
			for _, folded := range []bool{false, true} {
				if folded {
					f, finish, ok := w.p.StartFold(false)
					require.True(t, ok)
					finish(w.db.Commit(background, []table.Fold{f}))
				}
				row, _, ok, err := w.p.Get([]byte("k"))
				require.NoError(t, err)
				require.True(t, ok)
				require.Equal(t, "1", string(row.Value))
				require.Zero(t, row.Offset)
			}
		}
		rejected := w.p.Table().Rejected()
		require.EqualValues(t, 3, rejected.Total())
		require.EqualValues(t, 1, rejected[fold.Malformed], "alone it is larger than any row")
		w.close(t)
	}
}

// At refuses to hold more than it may. What counts is what is left of the deltas since the nearest frame, not how many there were.
func TestSeekLimit(t *testing.T) {
	w := &world{}
	w.open(t, vfs.NewMem(), fold.LastValue, live.Config{MaxSeekBytes: 8 << 20})
	defer w.close(t)
	for range 100 {
		records := make([]record, 1000)
		for i := range records {
			records[i] = record{key: "a", value: strings.Repeat("z", 30)}
		}
		w.produce(t, batch.None, records)
	}
	overwritten := w.next
	for range 100 {
		records := make([]record, 1000)
		for i := range records {
			records[i] = record{key: fmt.Sprintf("%d-%d", w.next, i), value: strings.Repeat("z", 30)}
		}
		w.produce(t, batch.None, records)
	}
	past, err := w.p.At(background, overwritten, w)
	require.NoError(t, err)
	require.NoError(t, past.Close())
	_, err = w.p.At(background, w.next, w)
	require.ErrorIs(t, err, live.ErrSeek)
	w.catchUp(t)
	f, finish, ok := w.p.StartFold(true)
	require.True(t, ok)
	err = w.db.Commit(background, []table.Fold{f})
	finish(err)
	require.NoError(t, err)
	past, err = w.p.At(background, w.next, w)
	require.NoError(t, err, "at a frame nothing is read")
	require.NoError(t, past.Close())
	_, err = w.p.At(background, w.next-1, w)
	require.ErrorIs(t, err, live.ErrSeek, "just below it is far from the one before")
	w.checkHistory(t, w.records[w.next-2].key, w.next-1, w.next) // it keeps nothing of other keys
}

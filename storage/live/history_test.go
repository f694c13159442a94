package live_test

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/live"
	"github.com/keyframelog/keyframe/storage/log"
	"github.com/keyframelog/keyframe/storage/table"
)

// version is one as text: what happened, and the row afterwards.
func version(what string, offset int64, exists bool, r row) string {
	if !exists {
		return fmt.Sprintf("%s at %d: none", what, offset)
	}
	return fmt.Sprintf("%s at %d: %q of %d", what, offset, r.value, r.offset)
}

// history is what happened to a key, folded naively.
func (o *oracle) history(key string, from, to int64) (list []string) {
	s, _ := o.at(from)
	note := func(what string, offset int64) {
		r, ok := s[key]
		list = append(list, version(what, offset, ok && !r.dead, r))
	}
	if r, ok := s[key]; ok && !r.dead {
		note("row", r.offset)
	}
	moves := o.moves
	expire := func(at int64) {
		for ; len(moves) > 0 && moves[0].cut <= at; moves = moves[1:] {
			if r, ok := s[key]; moves[0].cut > from && ok && r.offset < moves[0].start {
				delete(s, key)
				if !r.dead {
					note("expired", moves[0].cut)
				}
			}
		}
	}
	for _, r := range o.records {
		if r.offset < from || r.null || r.key != key {
			continue
		}
		if r.offset >= to {
			break
		}
		expire(r.offset)
		what := r.op
		switch {
		case r.dead:
			what = "delete"
		case r.op == "" && o.counter:
			what = "add"
		case r.op == "":
			what = "put"
		}
		if !o.apply(s, r) {
			what += " rejected"
		}
		note(fmt.Sprintf("%s %q", what, r.value), r.offset)
	}
	expire(to)
	return list
}

func (w *world) checkHistory(t fatal, key string, from, to int64) {
	var got []string
	for v, err := range w.p.History(background, []byte(key), from, to, w) {
		require.NoError(t, err)
		require.Equal(t, key, string(v.Row.Key))
		what := v.Op
		switch {
		case v.Expired:
			what = "expired"
		case v.Op == "":
			what = "row"
		default:
			if v.Rejected != 0 {
				what += " rejected"
			}
			what += fmt.Sprintf(" %q", v.Delta)
			require.Equal(t, 1000+v.Offset, v.Timestamp)
		}
		got = append(got, version(what, v.Offset, v.Exists, row{value: string(v.Row.Value), offset: v.Row.Offset}))
	}
	require.Equal(t, w.history(key, from, to), got, "%s from %d to %d", key, from, to)
}

// A history has the row that was there, every delta with what it did or why it did nothing, a deletion, and a row that expired.
func TestHistory(t *testing.T) {
	w := &world{oracle: oracle{counter: true}}
	w.open(t, vfs.NewMem(), fold.Counter, live.Config{})
	defer w.close(t)
	w.produce(t, batch.None, []record{{key: "k", value: "1"}, {key: "other", value: "1"}, {key: "k", value: "9223372036854775807"}})
	w.abort(t, batch.None, []record{{key: "k", value: "100"}}, []record{{key: "k", value: "2"}})
	w.produce(t, batch.None, []record{{key: "k", dead: true}, {key: "k", value: "7", op: "put"}, {key: "k", value: "seven"}})
	w.catchUp(t)
	f, finish, ok := w.p.StartCut(w.next)
	require.True(t, ok)
	finish(w.db.Commit(background, []table.Fold{f}))
	w.cutAt(f)
	end := w.next
	var got []string
	for v, err := range w.p.History(background, []byte("k"), 1, end, w) {
		require.NoError(t, err)
		got = append(got, fmt.Sprintf("%d %s %s %q %v %q %v", v.Offset, v.Op, v.Delta, v.Rejected, v.Exists, v.Row.Value, v.Expired))
	}
	require.Equal(t, []string{
		`0   "none" true "1" false`,
		`2 add 9223372036854775807 "counter_overflow" true "1" false`,
		`4 add 2 "none" true "3" false`,
		`6 delete  "none" false "" false`,
		`7 put 7 "none" true "7" false`,
		`8 add seven "malformed" true "7" false`,
		`9   "none" false "" true`,
	}, got)
	w.checkHistory(t, "k", 0, end)
	w.checkHistory(t, "k", 5, 7)
	w.checkHistory(t, "nobody", 0, end)
}

// What was trimmed has no history, and says so.
func TestHistoryOfWhatWasTrimmed(t *testing.T) {
	w := diffWorld(t)
	defer w.close(t)
	var last error
	for _, err := range w.p.History(background, []byte("k000"), 500, 540, trimmed{w, 520}) {
		last = err
	}
	require.ErrorIs(t, last, log.ErrTrimmed)
	n := 0
	for _, err := range w.p.History(background, []byte("k001"), 520, 540, trimmed{w, 520}) {
		require.NoError(t, err)
		n++
	}
	require.Equal(t, 2, n)
	ctx, cancel := context.WithCancel(background)
	cancel()
	for _, err := range w.p.History(ctx, []byte("k001"), 520, 540, w) {
		last = err
	}
	require.ErrorIs(t, last, context.Canceled)
}

// A source that leaves out a batch is an error wherever a past is read, and never a past without it.
func TestSourceWithAGap(t *testing.T) {
	w := &world{}
	w.open(t, vfs.NewMem(), fold.LastValue, live.Config{})
	defer w.close(t)
	for range 3 {
		w.produce(t, batch.None, []record{{key: "k", value: "1"}, {key: "k", value: "2"}})
	}
	var gap, pastGap *live.GapError
	var last error
	for _, err := range w.p.History(background, []byte("k"), 0, 6, without{w, 2}) {
		last = err
	}
	require.ErrorAs(t, last, &gap)
	require.Equal(t, live.GapError{Position: 2, BaseOffset: 4}, *gap)
	_, err := w.p.At(background, 6, without{w, 2})
	require.ErrorAs(t, err, &pastGap)
	require.Equal(t, gap, pastGap)
}

// without is a source that lacks the batch at an offset.
type without struct {
	*world
	lost int64
}

func (s without) Batches(from, end int64, maxBytes int) ([]batch.Batch, error) {
	list, err := s.world.Batches(from, end, maxBytes)
	return slices.DeleteFunc(slices.Clone(list), func(b batch.Batch) bool { return b.BaseOffset() == s.lost }), err
}

// trimmed is a source that begins at an offset.
type trimmed struct {
	*world
	first int64
}

func (s trimmed) Batches(from, end int64, maxBytes int) ([]batch.Batch, error) {
	if from < s.first {
		return nil, fmt.Errorf("offset %d: %w", from, log.ErrTrimmed)
	}
	return s.world.Batches(from, end, maxBytes)
}

package state

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/frame"
	api "github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/storage/live"
	"github.com/keyframelog/keyframe/storage/log"
	"github.com/keyframelog/keyframe/storage/table"
)

// readLog tells the rows of the keys that deltas of [at, end) touch.
func (w *watch) readLog(ctx context.Context, x *watched, l *live.Partition, end int64, g *page) error {
	done, err := w.beginRead(ctx)
	if err != nil {
		return err
	}
	touched, next, err := x.touched(w.prefix, x.at, end)
	done()
	if errors.Is(err, log.ErrTrimmed) {
		return nil // and folded since: the table tells
	}
	if err != nil {
		return err
	}
	for i := range touched {
		row, _, err := l.Last(touched[i].Key)
		if err != nil {
			return err
		}
		switch {
		case row.Offset < 0:
			if moved, err := x.movedFrom(x.start); moved || err != nil {
				return err // the row has left: that is told first
			}
			g.add(x.p, &touched[i], true, false) // the tombstone has expired, or there never was a row
		case row.Offset < x.at: // the fold has skipped the delta
		case !x.later(row.Offset, next):
			g.add(x.p, &row, row.Tombstone, false)
		}
		if err := w.sendFull(g); err != nil {
			return err
		}
	}
	x.at = next
	return nil
}

// sendFull sends a page that is full, so that it is empty again.
func (w *watch) sendFull(g *page) error {
	if !g.full() {
		return nil
	}
	err := w.alive.send(g.WatchResponse)
	*g = page{WatchResponse: &api.WatchResponse{}}
	return err
}

// movedFrom says whether the log start that the table respects is another one.
func (x *watched) movedFrom(start int64) (bool, error) {
	t, err := x.p.Table()
	if err != nil {
		return false, err
	}
	view, err := t.View(table.Current)
	if err != nil {
		return false, err
	}
	return view.Start() != start, view.Close()
}

// touched reads about messageBytes of the log, and returns the keys with the prefix that it touches, each with the offset and time of its last
// delta, in their order. Records of aborted transactions do not count.
func (x *watched) touched(prefix []byte, from, end int64) (list []frame.Row, next int64, err error) {
	batches, err := x.p.Log().Batches(from, end, messageBytes)
	if err != nil {
		return nil, from, err
	}
	if len(batches) == 0 {
		return nil, from, fmt.Errorf("no batch at offset %d", from)
	}
	next = min(end, batches[len(batches)-1].NextOffset())
	aborted, err := x.p.Log().Aborted(from, next)
	if err != nil {
		return nil, from, err
	}
	if x.reader == nil {
		x.reader = batch.NewReader(watchDecompressed)
	}
	defer x.reader.Release() // the memory of a batch, while nothing is read
	places := map[string]int{}
	for _, b := range batches {
		if b.IsControl() || log.IsAborted(aborted, b) {
			continue
		}
		if err := x.reader.Reset(b); err != nil {
			return nil, from, err
		}
		for r, err := range x.reader.All() {
			if err != nil {
				return nil, from, err
			}
			if r.Key == nil || r.Offset < from || r.Offset >= end || !bytes.HasPrefix(r.Key, prefix) {
				continue
			}
			i, ok := places[string(r.Key)]
			if !ok {
				i = len(list)
				list = append(list, frame.Row{Key: bytes.Clone(r.Key)})
				places[string(list[i].Key)] = i
			}
			list[i].Offset, list[i].Timestamp = r.Offset, r.Timestamp
		}
	}
	slices.SortFunc(list, func(a, b frame.Row) int { return cmp.Compare(a.Offset, b.Offset) })
	return list, next, nil
}

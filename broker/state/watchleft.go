package state

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/live"
	"github.com/keyframelog/keyframe/storage/table"
)

// leftBytesMax bounds the keys that left of which a watch finds out at a time; those of one cut are mostly fewer.
const leftBytesMax = 4 << 20

// departedBytes is about what such a key takes beside itself.
const departedBytes = 100

// departed is a key whose rows the log start has passed, and the last of these.
type departed struct {
	key               string
	offset, timestamp int64
	tombstone         bool
}

// readLeft finds the keys whose rows the log start has passed, and that have none now. A key with a newer row is told of by that. One whose last row
// lies at or above at is among them whether it was told before or not: an earlier row may have been told, and never stored.
func (w *watch) readLeft(ctx context.Context, x *watched, view *table.View, l *live.Partition) ([]departed, error) {
	if !view.LeftSince(x.start, x.moment) {
		x.beginAnew()
		return nil, nil
	}
	list, next, err := w.lastOfLeft(ctx, x, view)
	if err != nil {
		return nil, err
	}
	gone, due := list[:0], max(x.due, view.End()) // below its cut a log start is not in force
	for i := range list {
		now, _, err := l.Last([]byte(list[i].key))
		switch {
		case err != nil:
			return nil, err
		case now.Offset >= x.at:
			due = max(due, now.Offset+1)
		case now.Offset < 0 && !(list[i].tombstone && list[i].offset < x.at):
			gone = append(gone, list[i])
		}
	}
	// A row that was told, newer than what the view has, may have left before it was looked for.
	if moved, err := x.movedFrom(view.Start()); err != nil || moved {
		return nil, err
	}
	if x.due = due; next >= 0 {
		x.leaving, x.row = true, next
	} else {
		x.seen(view)
	}
	return gone, nil
}

// lastOfLeft reads the last rows of keys that have left, in their order: of as many keys as may be held, the others begin at next; -1: there are none.
// A key that has a later row among those of the others is one of the others.
func (w *watch) lastOfLeft(ctx context.Context, x *watched, view *table.View) (list []departed, next int64, err error) {
	places := map[string]int{}
	next = -1
	looked, held := 0, 0
	for row, err := range view.Left(x.start, max(x.start, x.row), x.at) {
		if err != nil {
			return nil, next, err
		}
		if looked++; looked%watchRows == 0 && ctx.Err() != nil {
			return nil, next, ctx.Err()
		}
		if !bytes.HasPrefix(row.Key, w.prefix) || x.anew && string(row.Key) > string(x.key) {
			continue // of a partition that begins anew, the keys behind are not told yet
		}
		if next < 0 && held >= leftBytesMax {
			next = row.Offset
		}
		i, known := places[string(row.Key)]
		switch {
		case known && next >= 0:
			list[i].offset = -1
			delete(places, string(row.Key))
		case known:
			list[i].offset, list[i].timestamp, list[i].tombstone = row.Offset, row.Timestamp, row.Tombstone
		case next < 0:
			key := string(row.Key)
			places[key] = len(list)
			list = append(list, departed{key, row.Offset, row.Timestamp, row.Tombstone})
			held += len(key) + departedBytes
		}
	}
	list = slices.DeleteFunc(list, func(d departed) bool { return d.offset < 0 })
	slices.SortFunc(list, func(a, b departed) int { return cmp.Compare(a.offset, b.offset) })
	return list, next, nil
}

// tellGone tells that keys have no row any more.
func (w *watch) tellGone(x *watched, gone []departed, g *page) error {
	for i := range gone {
		d := &gone[i]
		g.add(x.p, &frame.Row{Key: []byte(d.key), Offset: d.offset, Timestamp: d.timestamp}, true, !d.tombstone)
		if err := w.sendFull(g); err != nil {
			return err
		}
	}
	return nil
}

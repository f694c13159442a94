package state

import (
	"bytes"
	"errors"

	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/live"
	"github.com/keyframelog/keyframe/storage/log"
	"github.com/keyframelog/keyframe/storage/table"
)

// readLeft tells the keys whose rows the log start has passed: first those that were in the table, then those that were told before they were.
func (w *watch) readLeft(x *watched, view *table.View, g *page) error {
	if !view.LeftSince(x.start, x.moment) {
		x.beginAnew()
		return nil
	}
	if !x.leaving {
		x.leaving, x.row, x.delta = true, 0, 0
	}
	l, err := x.p.Live()
	if err != nil {
		return err
	}
	for row, err := range view.Left(x.start, max(x.start, x.row), x.known) {
		if err != nil {
			return err
		}
		g.looked++
		if err := w.leave(x, l, &row, g); err != nil {
			return err
		}
		if x.row = row.Offset + 1; g.full() {
			return nil
		}
	}
	if from, end := max(x.start, x.folded, view.LeftBelow(x.start), x.delta), view.Start(); from < end {
		return w.readLeftLog(x, l, from, end, g)
	}
	x.seen(view)
	return nil
}

func (w *watch) readLeftLog(x *watched, l *live.Partition, from, end int64, g *page) error {
	touched, next, err := x.touched(w.prefix, from, end)
	if errors.Is(err, log.ErrTrimmed) {
		x.beginAnew()
		return nil
	}
	if err != nil {
		return err
	}
	for i := range touched {
		if err := w.leave(x, l, &touched[i], g); err != nil {
			return err
		}
	}
	x.delta = next
	return nil
}

// leave tells that a key has no row any more, unless it has one.
func (w *watch) leave(x *watched, l *live.Partition, row *frame.Row, g *page) error {
	if !bytes.HasPrefix(row.Key, w.prefix) || row.Tombstone && row.Offset < x.at {
		return nil
	}
	now, _, err := l.Last(row.Key)
	if err != nil || now.Offset >= 0 {
		return err
	}
	g.add(x.p, row, true, !row.Tombstone)
	return nil
}

package client

import (
	"bytes"
	"iter"

	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/table"
)

// leaving yields the rows below a log start, in no particular order. unread: by what the index has of them, since some cannot be read. Then a row has a key
// and an offset, and for its time that at which it leaves.
func (d *dirRows) leaving(start int64, unread bool) iter.Seq2[frame.Row, error] {
	return func(yield func(frame.Row, error) bool) {
		if unread {
			now := d.s.cfg.Now().UnixMilli()
			d.yieldApplied(func(row *table.LostRow, err error) bool {
				return err == nil && row.Offset >= start || yield(frame.Row{Key: row.Key, Offset: row.Offset, Timestamp: now}, err)
			})
			return
		}
		for row, err := range d.all() {
			if (err != nil || row.Offset < start) && !yield(row, err) {
				return
			}
		}
	}
}

// tellLeaving calls gone, once all rows that leave are known, with their keys: where they are not, nobody is told of some. Memory: the keys.
func (d *dirRows) tellLeaving(start int64, unread bool, gone func(frame.Row)) error {
	var list []frame.Row
	for row, err := range d.leaving(start, unread) {
		if err != nil {
			return err
		}
		list = append(list, frame.Row{Key: bytes.Clone(row.Key), Offset: row.Offset, Timestamp: row.Timestamp})
	}
	for i := range list {
		gone(list[i])
	}
	return nil
}

// yieldApplied yields what was applied of each row, by key, as the index has it: no row is read.
func (d *dirRows) yieldApplied(yield func(*table.LostRow, error) bool) {
	if err := d.s.gate.enter(); err != nil {
		yield(&table.LostRow{}, err)
		return
	}
	defer d.s.gate.leave()
	all := []table.Span{{From: 0, To: d.t.Position()}} // as if none could be read
	stopped := false
	_, _, err := d.t.Salvage(all, nil, func(row table.LostRow) error {
		if stopped = !yield(&row, nil); stopped || d.s.gate.closing.Load() {
			return ErrClosed
		}
		return nil
	})
	if err != nil && !stopped {
		yield(&table.LostRow{}, err)
	}
}

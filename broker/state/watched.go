package state

import (
	"bytes"
	"context"
	"sync/atomic"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/frame"
	api "github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/storage/live"
	"github.com/keyframelog/keyframe/storage/table"
)

const (
	// watchRows bounds the rows that are looked at for one message; few of them may have the prefix.
	watchRows = 1 << 14
	// watchSilence is how many records may pass without a change that is told before as_of is.
	watchSilence = 1 << 14
	// watchDecompressed bounds one batch, as in storage/live.
	watchDecompressed = 64 << 20
)

// watched is one partition of a watch, and how far it is told.
//
// What lies below the folded position is read from the table: the rows whose last delta lies at or above at, each key once, tombstones
// included. From there on it is read from the log: the keys that its deltas touch, and their rows as they are when it is read. Either way a key
// that has a newer row by then is left out if at gets there in this lap, so that it is told once; as_of waits for it. A row beyond the lap is told
// at once, for a lap may be long, and again when at gets there.
//
// Rows that the log start passes leave without a delta. They are found among what the table still stores of them. Where that is gone, the
// partition begins anew.
type watched struct {
	p       *keyframer.Partition
	cancel  func()
	changed atomic.Bool

	at              int64 // everything below is told
	start           int64 // log start offset that what is told respects
	target          int64 // once at has come so far, the present is told; -1: it was
	said, saidStart int64 // newest at and start that the client knows
	silent          bool  // it was told something without them
	lap             int64 // the position when at was at the end of the lap before
	due             int64 // what is told is the state of no offset before at has come so far

	moment *table.Moment // when the table's start was looked at; nil: this watch has not looked

	anew  bool   // every row is to be told first
	key   []byte // up to here they are; nil: none is
	quiet bool   // since then at is of no use to the client

	leaving bool  // the log start has passed rows, which are being told
	row     int64 // those below are

	reader *batch.Reader
}

// look notes from the table what rows that leave later are found by.
func (x *watched) look() error {
	t, err := x.p.Table()
	if err != nil {
		return err
	}
	view, err := t.View(table.Current)
	if err != nil {
		return err
	}
	x.seen(view)
	return view.Close()
}

func (x *watched) seen(v *table.View) {
	moment := v.Moment()
	x.start, x.moment, x.leaving, x.row = v.Start(), &moment, false, 0
}

// later says that a row is told when at gets there, and not before: it lies at or above where at goes next, and in this lap.
func (x *watched) later(offset, next int64) bool {
	if offset < next || offset >= x.lap {
		return false
	}
	x.due = max(x.due, offset+1)
	return true
}

// superseded says that a row of the view is, by one that is told later.
func (x *watched) superseded(view *table.View, l *live.Partition, row *frame.Row, next int64) (bool, error) {
	if !l.TouchedAbove(row.Key) && l.FoldedPosition() == view.End() {
		return false, nil
	}
	now, _, err := l.Last(row.Key)
	return err == nil && now.Offset > row.Offset && x.later(now.Offset, next), err
}

// page is what one step tells.
type page struct {
	*api.WatchResponse
	bytes, looked int
}

func (g *page) add(p *keyframer.Partition, row *frame.Row, deleted, expired bool) {
	c := &api.Change{Row: rowOf(p, row), Deleted: deleted, Expired: expired}
	if deleted {
		c.Row.Value, c.Row.Headers = nil, nil
	}
	g.Changes = append(g.Changes, c)
	g.bytes += rowBytes(row)
}

func (g *page) full() bool {
	return len(g.Changes) >= messageRows || g.bytes >= messageBytes || g.looked >= watchRows
}

// tell tells one page, if there is anything to tell; more: there is.
func (w *watch) tell(ctx context.Context, x *watched) (more bool, err error) {
	g := &page{WatchResponse: &api.WatchResponse{}}
	more, err = w.read(ctx, x, g)
	if err != nil {
		return false, err
	}
	settled := !x.anew && !x.leaving && x.at >= x.due
	caughtUp := settled && x.target >= 0 && x.at >= x.target
	if caughtUp {
		x.target, x.quiet = -1, false
		g.CaughtUp = []int32{x.p.Index}
	}
	point := settled && !x.quiet // to go on from
	told := len(g.Changes) > 0 || len(g.BeginsAnew) > 0 || caughtUp
	if !told && !(point && (x.silent || x.start != x.saidStart || x.at-x.said >= watchSilence)) {
		return more, nil
	}
	if x.silent = !point; point {
		at := asOf(x.p, x.at)
		at.Start = x.start
		g.AsOf = []*api.AsOf{at}
		x.said, x.saidStart = x.at, x.start
	}
	return more, w.alive.send(g.WatchResponse)
}

// read does the next thing for a partition.
func (w *watch) read(ctx context.Context, x *watched, g *page) (more bool, err error) {
	l, err := x.p.Live()
	if err != nil {
		return false, err
	}
	t, err := x.p.Table()
	if err != nil {
		return false, err
	}
	position := x.p.Position() // before the start: what is applied behind a cut comes after the rows have left there
	if x.at >= x.lap || x.anew && x.key == nil {
		x.lap = position
	}
	switch {
	case !x.anew && (x.at > position || t.Start() < x.start):
		return false, nil // after a restart: what was told is not applied again yet
	case !x.anew && t.Start() == x.start && x.at >= t.Position():
		if x.at >= position {
			return false, nil
		}
		return true, w.readLog(ctx, x, l, position, g)
	}
	gone, err := w.readTable(ctx, x, t, l, g)
	if err != nil {
		return false, err
	}
	return true, w.tellGone(x, gone, g)
}

// beginRead waits until one of few watches may read a page: each holds a page's memory, or that of a batch, and however many come back at once.
func (w *watch) beginRead(ctx context.Context) (end func(), err error) {
	select {
	case <-w.watchReads:
		return func() { w.watchReads <- struct{}{} }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// readTable reads a page of the table. It returns the keys whose rows have left, for when nothing is held any more.
func (w *watch) readTable(ctx context.Context, x *watched, t *table.Table, l *live.Partition, g *page) (gone []departed, err error) {
	done, err := w.beginRead(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	view, err := t.View(table.Current)
	if err != nil {
		return nil, err
	}
	defer func() { err = firstError(err, view.Close()) }()
	switch {
	case x.anew && x.key == nil:
		x.seen(view)
		x.at, x.target, x.quiet = view.End(), x.p.Bounds().LastStable, true
		g.BeginsAnew = []int32{x.p.Index}
		return nil, w.readAll(x, view, l, g)
	case !x.anew && x.at < view.Horizon():
		x.beginAnew()
		return nil, nil
	case view.Start() > x.start:
		return w.readLeft(ctx, x, view, l)
	case x.anew:
		return nil, w.readAll(x, view, l, g)
	}
	return nil, w.readFolded(x, view, l, g)
}

func (x *watched) beginAnew() { x.anew, x.key, x.leaving, x.row = true, nil, false, 0 }

// readAll tells rows in key order, a page of them as of each moment. What comes meanwhile is told afterwards.
func (w *watch) readAll(x *watched, view *table.View, l *live.Partition, g *page) error {
	x.seen(view)
	for row, err := range view.Scan(w.prefix, x.key) {
		if err != nil {
			return err
		}
		g.looked++
		newer := x.later(row.Offset, x.at)
		if !newer {
			if newer, err = x.superseded(view, l, &row, x.at); err != nil {
				return err
			}
		}
		if !newer {
			g.add(x.p, &row, false, false)
		}
		if g.full() {
			x.key = append([]byte{}, row.Key...)
			return nil
		}
	}
	x.anew, x.key = false, nil
	return nil
}

// readFolded tells the rows that changed since at.
func (w *watch) readFolded(x *watched, view *table.View, l *live.Partition, g *page) error {
	x.seen(view)
	for row, err := range view.Offsets(x.at, true) {
		if err != nil {
			return err
		}
		g.looked++
		if bytes.HasPrefix(row.Key, w.prefix) {
			newer, err := x.superseded(view, l, &row, row.Offset+1)
			if err != nil {
				return err
			}
			if !newer {
				g.add(x.p, &row, row.Tombstone, false)
			}
		}
		if x.at = row.Offset + 1; g.full() {
			return nil
		}
	}
	x.at = max(x.at, view.End())
	return nil
}

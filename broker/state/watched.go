package state

import (
	"bytes"
	"context"
	"sync/atomic"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/frame"
	api "github.com/keyframelog/keyframe/proto/state"
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
// included. From there on it is read from the log: the keys that its deltas touch, and their rows as they are when it is read. Both may
// tell a row that is newer than at. It is told again when at gets there, so that whoever applies all that comes has the state at at, once
// nothing at or above it was told.
//
// Rows that the log start passes leave without a delta. They are found among what the table still stores of them, and among the deltas that were
// told before they were folded. Where either is gone, the partition begins anew.
type watched struct {
	p       *keyframer.Partition
	cancel  func()
	changed atomic.Bool

	at              int64 // everything below is told
	start           int64 // log start offset that what is told respects
	target          int64 // once at has come so far, the present is told; -1: it was
	said, saidStart int64 // newest at and start that the client knows

	known  int64         // rows that folds ending below superseded have been told as such
	folded int64         // deltas from here on were not in the table when start was looked at
	moment *table.Moment // of that look; nil: none of this watch

	anew  bool   // every row is to be told first
	key   []byte // up to here they are; nil: none is
	quiet bool   // since then at is of no use to the client

	leaving    bool  // the log start has passed rows, which are being told
	row, delta int64 // up to here, of those in the table and of those above folded
	reader     *batch.Reader
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
	x.start, x.known, x.folded, x.moment, x.leaving = v.Start(), v.End(), v.End(), &moment, false
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
	caughtUp := !x.anew && !x.leaving && x.target >= 0 && x.at >= x.target
	if caughtUp {
		x.target, x.quiet = -1, false
		g.CaughtUp = []int32{x.p.Index}
	}
	point := !x.quiet && !x.leaving // to go on from
	worth := len(g.Changes) > 0 || len(g.BeginsAnew) > 0 || caughtUp || point && (x.start != x.saidStart || x.at-x.said >= watchSilence)
	if !worth {
		return more, nil
	}
	if point {
		at := asOf(x.p, x.at)
		at.Start = x.start
		g.AsOf = []*api.AsOf{at}
		x.said, x.saidStart = x.at, x.start
	}
	return more, w.send(g.WatchResponse)
}

// read does the next thing for a partition.
func (w *watch) read(ctx context.Context, x *watched, g *page) (more bool, err error) {
	if _, err := x.p.Live(); err != nil {
		return false, err
	}
	t, err := x.p.Table()
	if err != nil {
		return false, err
	}
	position := x.p.Position() // before the start: what is applied behind a cut comes after the rows have left there
	switch {
	case !x.anew && x.at > position:
		return false, nil // after a restart: what was told is not applied again yet
	case !x.anew && t.Start() == x.start && x.at >= t.Position():
		if x.at >= position {
			return false, nil
		}
		return true, w.readLog(ctx, x, position, g)
	}
	done, err := w.beginRead(ctx)
	if err != nil {
		return false, err
	}
	defer done()
	view, err := t.View(table.Current)
	if err != nil {
		return false, err
	}
	err = w.readTable(x, view, g)
	return true, firstError(err, view.Close())
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

func (w *watch) readTable(x *watched, view *table.View, g *page) error {
	switch {
	case x.anew:
		return w.readAll(x, view, g)
	case view.Start() != x.start:
		return w.readLeft(x, view, g)
	case x.at < view.Horizon():
		x.beginAnew()
		return nil
	}
	return w.readFolded(x, view, g)
}

func (x *watched) beginAnew() { x.anew, x.key, x.leaving = true, nil, false }

// readAll tells rows in key order, a page of them as of each moment. What comes meanwhile is told afterwards.
func (w *watch) readAll(x *watched, view *table.View, g *page) error {
	if x.key == nil {
		x.seen(view)
		x.at, x.target, x.quiet = view.End(), x.p.Bounds().LastStable, true
		g.BeginsAnew = []int32{x.p.Index}
	}
	for row, err := range view.Scan(w.prefix, x.key) {
		if err != nil {
			return err
		}
		g.add(x.p, &row, false, false)
		if g.full() {
			x.key = append([]byte{}, row.Key...)
			return nil
		}
	}
	x.anew, x.key = false, nil
	return nil
}

// readFolded tells the rows that changed since at.
func (w *watch) readFolded(x *watched, view *table.View, g *page) error {
	for row, err := range view.Offsets(x.at, true) {
		if err != nil {
			return err
		}
		g.looked++
		if bytes.HasPrefix(row.Key, w.prefix) {
			g.add(x.p, &row, row.Tombstone, false)
		}
		if x.at = row.Offset + 1; g.full() {
			return nil
		}
	}
	x.at = max(x.at, view.End())
	x.seen(view)
	return nil
}

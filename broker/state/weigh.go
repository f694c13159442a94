package state

import (
	"context"
	"errors"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/storage/table"
)

// A replica is given what changed in place of the log where that has at least deltaFactor deltas for each row of it, beyond the first deltasMin. To load a
// row costs a replica on disk what a delta costs it, about 4 us and as many bytes (200,000 rows 0.9 s, a million deltas 5.7 s beside them): so that is how
// many times less it takes at least, for what watchers are not told. And deltasMin is what a lease and a download take, some tens of milliseconds.
const (
	deltaFactor = 4
	deltasMin   = 8192
)

// weighed is how many rows what changed since the position has at most, up to a cut.
type weighed struct{ cut, rows int64 }

// rowsMax is how many rows what changed may have to be given in place of so many deltas.
func rowsMax(deltas int64) int64 { return (deltas - deltasMin) / deltaFactor }

// shortcut is the frame that what changed would lead to, where the log reaches back to the position as well, and far.
func (q *resumption) shortcut(r *keyframer.Retained) (f table.Frame, ok bool) {
	if !q.hasState || !q.sameLog || q.repairs {
		return f, false
	}
	position := q.position()
	if position < max(r.Bounds.DeltaStart, r.Bounds.LogStart, r.Horizon) {
		return f, false
	}
	f, ok = r.Sound(position)
	return f, ok && f.Cut-position > deltasMin
}

// weigh finds out what a shortcut would cost. It is done before anything is retained, since the table may have to be read: once for a frame. Where it
// cannot be found out, the log is followed.
func (s *service) weigh(ctx context.Context, p *keyframer.Partition, q *resumption) error {
	q.weighed = weighed{cut: -1}
	tab, err := p.Table()
	if err != nil {
		return err
	}
	var f table.Frame
	var ok bool
	err = p.Retain(func(r keyframer.Retained) error {
		f, ok = q.shortcut(&r)
		return nil
	})
	if err != nil || !ok {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.WaitTimeout)
	defer cancel()
	rows, err := tab.RowsSince(ctx, f.Cut, q.position(), rowsMax(f.Cut-q.position()))
	switch {
	case err == nil:
		q.weighed = weighed{f.Cut, rows}
	case !errors.Is(err, table.ErrNoFrame) && ctx.Err() == nil:
		_ = p.Damaged(err) // so that it is mended
	}
	return nil
}

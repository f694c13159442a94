package client

import (
	"context"
	"errors"

	"github.com/keyframelog/keyframe/proto/digest"
)

// repairByFrame loads the whole frame at whose cut the state stands. An error: it is not to be had.
func (p *partition) repairByFrame(ctx context.Context, c *comparison, why error) error {
	f := c.plane.Of
	p.r.event(Event{Kind: RepairFailed, Partition: p.no, Offset: f.Cut, Err: why})
	began := p.r.cfg.Now()
	s, h, size, err := p.fetchFrame(ctx, f)
	if err != nil {
		p.log.Warn("the frame that the state differs from cannot be loaded", "cut", f.Cut, "err", err)
		return err
	}
	done := RepairResult{Cut: f.Cut, Cause: c.cause(), Method: ByFrame, Bytes: c.plane.Bytes + size, RoundTrips: c.plane.Trips + 1}
	if n := c.names; !n.all {
		err = compareRows(c.s, s, func(key []byte, here, log digest.Entry) { n.name(Difference{p.no, f.Cut, key, here, log}) })
	}
	if done.Keys = c.names.n; err != nil {
		p.log.Error("the whole key frame is loaded, and the stored rows cannot be read: which other keys differed is not known", "named", done.Keys, "err", err)
	}
	p.awaitTold(0)
	if ctx.Err() != nil {
		return errors.Join(ctx.Err(), s.discard())
	}
	if err := p.adoptFrame(s, h); err != nil {
		p.log.Warn("the frame that was loaded cannot be kept", "cut", f.Cut, "err", err)
		return err
	}
	p.repaired(done, began, f)
	return nil
}

// compareRows finds the keys whose rows differ between two states.
func compareRows(old, now rows, differ func(key []byte, old, now digest.Entry)) error {
	var h digest.Hasher
	entryIn := func(s rows, key []byte) (digest.Entry, error) {
		row, ok, err := s.get(key)
		if err != nil || !ok {
			return digest.Entry{}, err
		}
		return h.Entry(row.Key, row.Value), nil
	}
	for row, err := range now.all() {
		if err != nil {
			return err
		}
		before, err := entryIn(old, row.Key)
		if err != nil {
			return err
		}
		if e := h.Entry(row.Key, row.Value); e != before {
			differ(row.Key, before, e)
		}
	}
	for row, err := range old.all() {
		if err != nil {
			return err
		}
		after, err := entryIn(now, row.Key)
		if err != nil {
			return err
		}
		if after == (digest.Entry{}) {
			differ(row.Key, h.Entry(row.Key, row.Value), after)
		}
	}
	return nil
}

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
		old := &dirCopy{rows: c.s}
		if old.salvage() != nil {
			old.unread = unread{}
		}
		err = compareRows(old, s, func(key []byte, here, log digest.Entry) {
			n.name(old.marked(Difference{Partition: p.no, Cut: f.Cut, Key: key, Here: here, Log: log}, 0))
		})
		for _, d := range old.rest(p.no, f.Cut, 0, func(string) bool { return err != nil }) {
			n.name(d)
		}
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

// compareRows finds the keys whose rows differ between two states. Rows of the old one that cannot be read are as they were applied.
func compareRows(old *dirCopy, now rows, differ func(key []byte, old, now digest.Entry)) error {
	var h digest.Hasher
	entryIn := func(s rows, key []byte) (digest.Entry, error) {
		if was, ok := old.applied[string(key)]; ok && s != now {
			return was.entry, nil
		}
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
		before, err := entryIn(old.rows, row.Key)
		if err != nil {
			return err
		}
		if e := h.Entry(row.Key, row.Value); e != before {
			differ(row.Key, before, e)
		}
	}
	for row, err := range byKey(old.rows, old.unread, 0) {
		if err != nil {
			return err
		}
		after, err := entryIn(now, row.key)
		if err != nil {
			return err
		}
		if after == (digest.Entry{}) {
			differ(row.key, row.e, after)
		}
	}
	return nil
}

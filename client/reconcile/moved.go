package reconcile

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
)

// OpenWait bounds how long the end of a transaction is waited for: longer than Kafka's clients let one be open by default.
const OpenWait = 2 * time.Minute

// openPauses is how often the pause doubles between two looks whether a transaction has ended.
const openPauses = 4

// lookAgain cuts once more, to tell what was written since the first cut; settled: where no transaction is open.
func (c *comparison) lookAgain(ctx context.Context, settled bool) (plane.Cut, error) {
	until := c.cfg.Now().Add(OpenWait)
	for try := 0; ; try++ {
		cut, err := c.newCut(ctx)
		if err != nil || cut.Consistent || !settled {
			return cut, err
		}
		if !c.cfg.Now().Before(until) {
			return cut, fmt.Errorf("%w, and was for %v", ErrOpenTransaction, OpenWait)
		}
		if try == 0 && c.cfg.OnOpen != nil {
			c.cfg.OnOpen(ctx)
		}
		if err := plane.Wait(ctx, c.cfg.Retry<<min(try, openPauses)); err != nil {
			return cut, fmt.Errorf("%w: %w", ErrOpenTransaction, err)
		}
	}
}

// leaveMoved looks at the topic once more, and says of it what the source says of its keys now. A write that was made since the first cut, or whose key a
// delta touched in another way, is taken out; a key that was touched and is not what the source has is among moved, whether it differed at the cut or not.
//
// It tells whether these explain the topic's digest: that it is the source's but for them. They do not where rows have expired since the cut that was
// compared with, nor where a key that is the source's there lies in another partition than its deltas since were taken to be about.
func (c *comparison) leaveMoved(ctx context.Context, writes []Write) (stay, moved []Write, explained bool, err error) {
	if c.later, err = c.lookAgain(ctx, c.cfg.Settled && len(writes) > 0); err != nil {
		return nil, nil, false, err
	}
	for _, f := range c.later.Frames {
		if err := c.known(f); err != nil {
			return nil, nil, false, err
		}
	}
	d := c.later.Digest()
	if d == c.prints.digest {
		return nil, nil, true, nil
	}
	compared := c.offsets(c.cut)
	keys, err := c.touchedSince(ctx, c.later, c.since, func(partition int32, row frame.Row, _ digest.Entry) interest {
		switch {
		case len(writesTo(writes, row.Key)) > 0:
			return always
		case row.Offset < compared[partition]: // and there it was what the source has
			return never
		}
		return ifOdd
	})
	if err != nil {
		return nil, nil, false, err
	}
	for key, t := range keys {
		own := writesTo(writes, []byte(key))
		rows, stays := c.rowsOf(key, t, own, func(w Write) digest.Entry { return w.Log })
		odd, differs := judge(key, rows, stays, t.source)
		if differs {
			for _, r := range rows {
				replace(&d, r.entry, digest.Entry{})
			}
			replace(&d, digest.Entry{}, t.source)
		}
		switch {
		case !differs:
			t.settled = true
		case slices.ContainsFunc(t.rows, func(r logRow) bool { return !makes(own, r) }):
			t.settled = true
			moved = append(moved, odd)
		}
	}
	for _, w := range writes {
		t := keys[string(w.Key)]
		if t == nil {
			replace(&d, w.Log, w.Source)
		}
		if t == nil || !t.settled && !t.has(w.Partition) {
			stay = append(stay, w)
		}
	}
	slices.SortFunc(moved, byKey)
	return stay, moved, d == c.prints.digest, nil
}

// Overtaken tells which keys others wrote between r.Later and a later cut that has all of r.Writes, so that the topic does not have there what the
// source has: keys that were not to be written, and keys that were written again afterwards, by key; those of r.Moved are not among them. They are as
// those: Log is the row at the later cut. It may cost one more pass over the source.
func (r *Result) Overtaken(ctx context.Context, later plane.Cut) (writes []Write, err error) {
	c := r.of
	c.patience = plane.NewPatience(c.cfg.Retry, c.cfg.Now)
	keys, err := c.touchedSince(ctx, later, r.Later.Offsets, func(partition int32, row frame.Row, is digest.Entry) interest {
		own := writesTo(r.Writes, row.Key)
		switch {
		case makes(own, logRow{partition, is}) || len(writesTo(r.Moved, row.Key)) > 0:
			return never
		case len(own) > 0:
			return always
		}
		return ifOdd
	})
	if err != nil {
		return nil, err
	}
	for key, t := range keys {
		rows, stays := c.rowsOf(key, t, writesTo(r.Writes, []byte(key)), func(w Write) digest.Entry { return w.Source })
		if odd, differs := judge(key, rows, stays, t.source); differs {
			writes = append(writes, odd)
		}
	}
	slices.SortFunc(writes, byKey)
	return writes, nil
}

func byKey(a, b Write) int {
	return cmp.Or(bytes.Compare(a.Key, b.Key), cmp.Compare(a.Partition, b.Partition))
}

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
func (c *comparison) leaveMoved(ctx context.Context, writes []Write) (stay, moved []Write, now plane.Cut, err error) {
	if now, err = c.lookAgain(ctx, c.cfg.Settled && len(writes) > 0); err != nil {
		return nil, nil, now, err
	}
	for _, f := range now.Frames {
		if err := c.known(f); err != nil {
			return nil, nil, now, err
		}
	}
	if now.Digest() == c.prints.digest {
		return nil, nil, now, nil
	}
	keys, err := c.touchedSince(ctx, now, func(int32, []byte, digest.Entry) bool { return false })
	if err != nil {
		return nil, nil, now, err
	}
	for key, t := range keys {
		own := writesTo(writes, []byte(key))
		odd, differs := c.judge(key, t, own, func(w Write) digest.Entry { return w.Log })
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
		if t == nil || !t.settled && !t.has(w.Partition) {
			stay = append(stay, w)
		}
	}
	slices.SortFunc(moved, byKey)
	return stay, moved, now, nil
}

// Overtaken tells which keys others wrote between the cut and a later one that has all of r.Writes, so that the topic does not have there what the
// source has: keys that were not to be written, and keys that were written again afterwards, by key; those of r.Moved are not among them. They are as
// those: Log is the row at the later cut. It may cost one more pass over the source.
func (r *Result) Overtaken(ctx context.Context, later plane.Cut) (writes []Write, err error) {
	c := r.of
	c.patience = plane.NewPatience(c.cfg.Retry, c.cfg.Now)
	keys, err := c.touchedSince(ctx, later, func(partition int32, key []byte, is digest.Entry) bool {
		return len(writesTo(r.Moved, key)) > 0 || makes(writesTo(r.Writes, key), logRow{partition, is})
	})
	if err != nil {
		return nil, err
	}
	for key, t := range keys {
		odd, differs := c.judge(key, t, writesTo(r.Writes, []byte(key)), func(w Write) digest.Entry { return w.Source })
		if differs {
			writes = append(writes, odd)
		}
	}
	slices.SortFunc(writes, byKey)
	return writes, nil
}

func byKey(a, b Write) int {
	return cmp.Or(bytes.Compare(a.Key, b.Key), cmp.Compare(a.Partition, b.Partition))
}

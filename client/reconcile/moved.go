package reconcile

import (
	"bytes"
	"cmp"
	"context"
	"errors"
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

// lookAgain cuts once more, to tell what was written since the first cut.
func (c *comparison) lookAgain(ctx context.Context) (plane.Cut, error) {
	until := c.cfg.Now().Add(OpenWait)
	for try := 0; ; try++ {
		cut, err := c.newCut(ctx)
		if err != nil || cut.Consistent || !c.cfg.Settled {
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

// leaveMoved takes out the writes to keys that a delta touched since the first cut, and those that have been made since: the row is what the source has.
func (c *comparison) leaveMoved(ctx context.Context, writes []Write) (stay, moved []Write, err error) {
	if len(writes) == 0 {
		return nil, nil, nil
	}
	now, err := c.lookAgain(ctx)
	if err != nil {
		return nil, nil, err
	}
	made := make([]bool, len(writes))
	others := map[string]bool{} // keys that became something else
	var h digest.Hasher
	if err := c.eachSince(ctx, now, func(partition int32, row frame.Row) {
		if i := firstOf(writes, row.Key); i == len(writes) || !bytes.Equal(writes[i].Key, row.Key) {
			return
		}
		if i := writeTo(writes, partition, row.Key); i >= 0 && writes[i].Source == entryOf(&h, row) {
			made[i] = true
		} else {
			others[string(row.Key)] = true
		}
	}); err != nil {
		return nil, nil, err
	}
	for i, w := range writes {
		switch {
		case others[string(w.Key)]:
			moved = append(moved, w)
		case !made[i]:
			stay = append(stay, w)
		}
	}
	return stay, moved, nil
}

// entryOf is zero for a tombstone.
func entryOf(h *digest.Hasher, row frame.Row) digest.Entry {
	if row.Tombstone {
		return digest.Entry{}
	}
	return h.Entry(row.Key, row.Value)
}

// writeTo is the write to a key in a partition; -1: there is none.
func writeTo(writes []Write, partition int32, key []byte) int {
	for i := firstOf(writes, key); i < len(writes) && bytes.Equal(writes[i].Key, key); i++ {
		if writes[i].Partition == partition {
			return i
		}
	}
	return -1
}

// firstOf is where the writes to a key are, or would be.
func firstOf(writes []Write, key []byte) int {
	i, _ := slices.BinarySearchFunc(writes, key, func(w Write, key []byte) int { return bytes.Compare(w.Key, key) })
	return i
}

// eachSince visits what deltas touched between the first cut and another one: rows as they are there, tombstones among them.
func (c *comparison) eachSince(ctx context.Context, now plane.Cut, visit func(partition int32, row frame.Row)) error {
	for _, f := range now.Frames {
		if err := c.known(f); err != nil {
			return err
		}
		since := c.first[f.Partition]
		if f.Cut <= since {
			continue
		}
		err := c.load(ctx, plane.Since(f.Partition, f.Cut, since), f, func(row frame.Row) { visit(f.Partition, row) })
		if errors.Is(err, plane.ErrRefused) {
			err = fmt.Errorf("%w: %w", ErrTooOld, err)
		}
		if err != nil {
			return fmt.Errorf("what was written to partition %d since the cut: %w", f.Partition, err)
		}
	}
	return nil
}

// place is a key in one partition.
type place struct {
	partition int32
	key       string
}

// Overtaken tells which keys others wrote between the cut and a later one that has all of r.Writes, so that the topic does not have there what the
// source has: keys that were not to be written, and keys that were written again afterwards, by key; those of r.Moved are not among them. Log is the
// row at the later cut. It may cost one more pass over the source.
func (r *Result) Overtaken(ctx context.Context, later plane.Cut) (writes []Write, err error) {
	c := r.of
	c.patience = plane.NewPatience(c.cfg.Retry, c.cfg.Now)
	others := map[place]digest.Entry{}
	var h digest.Hasher
	if err := c.eachSince(ctx, later, func(partition int32, row frame.Row) {
		is := entryOf(&h, row)
		if !r.expects(partition, row.Key, is) {
			others[place{partition, string(row.Key)}] = is
		}
	}); err != nil || len(others) == 0 {
		return nil, err
	}
	keys := make(map[string]bool, len(others))
	for at := range others {
		keys[at.key] = true
	}
	rows, err := c.source.collect(ctx, nil, func(key []byte) bool { return keys[string(key)] }, c.prints.digest)
	if err != nil {
		return nil, err
	}
	for at, is := range others {
		if row, _ := rows.find(at.key); row.entry != is {
			writes = append(writes, Write{Partition: at.partition, Key: []byte(at.key), Source: row.entry, Log: is})
		}
	}
	slices.SortFunc(writes, byKey)
	return writes, nil
}

// expects tells whether a row that a delta made since the cut is that of a write, or its key is known to have moved.
func (r *Result) expects(partition int32, key []byte, is digest.Entry) bool {
	if i := firstOf(r.Moved, key); i < len(r.Moved) && bytes.Equal(r.Moved[i].Key, key) {
		return true
	}
	i := writeTo(r.Writes, partition, key)
	return i >= 0 && r.Writes[i].Source == is
}

func byKey(a, b Write) int {
	return cmp.Or(bytes.Compare(a.Key, b.Key), cmp.Compare(a.Partition, b.Partition))
}

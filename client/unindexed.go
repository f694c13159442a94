package client

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/keyframelog/keyframe/proto/digest"
)

// hashAll hashes a copy of which all rows can be read, whether their index can be or not. The error is that this does not help.
func (c *dirCopy) hashAll() (err error) {
	c.stored, c.unread = digest.Digest{}, unread{unindexed: true}
	c.kept, c.at, err = c.rows.entries(func(_ []byte, e digest.Entry) { c.stored.Add(e) })
	return err
}

// sortedByKey yields the rows whose last delta lies at an offset or above, by key, without an index. Memory: their keys.
func sortedByKey(s rows, from int64) iter.Seq2[entryOfKey, error] {
	return func(yield func(entryOfKey, error) bool) {
		changed, _, err := s.since(from, false)
		if err != nil {
			yield(entryOfKey{}, err)
			return
		}
		var list []entryOfKey
		var h digest.Hasher
		for row, err := range changed {
			if err != nil {
				yield(entryOfKey{}, err)
				return
			}
			list = append(list, entryOfKey{bytes.Clone(row.Key), h.Entry(row.Key, row.Value)})
		}
		slices.SortFunc(list, func(a, b entryOfKey) int { return bytes.Compare(a.key, b.key) })
		for _, x := range list {
			if !yield(x, nil) {
				return
			}
		}
	}
}

// unindexedIn adds to a verdict about a copy that what leads to its rows cannot be read. A repair makes it anew from them, and receives nothing for that;
// where it cannot, it loads a whole frame.
func (v *dirVerifier) unindexedIn(ctx context.Context, d DirVerdict, c *dirCopy, log logInfo, index error) DirVerdict {
	why := fmt.Errorf("%w: all rows can be read, but not what leads to them: %w", ErrCorrupt, index)
	if alone := v.costOfUnread(ctx, c.rows, d.start, nearest(log.frames, c.at)); d.Repair.Method == "" || alone.Method != ByRows {
		d.Repair = alone
	}
	if d.Outcome == Drifted {
		return d.is(Drifted, d.Reason+"; what leads to the rows cannot be read", why)
	}
	if d.Outcome != Equal {
		why = fmt.Errorf("%w; not compared: %v, %s", why, d.Outcome, d.Reason)
	}
	d.Cause = LocalCorruption
	return d.is(Error, "what leads to the stored rows cannot be read", why)
}

// foldedOn tells whether the log goes on from rows that cannot be read: no delta that is no whole value can be applied to these.
func (v *dirVerifier) foldedOn(ctx context.Context, c *dirCopy, log logInfo) (bool, error) {
	if log.info == nil || c.kind().WholeValues() || max(log.info.DeltaStart, log.info.LogStart) > c.at || log.info.LastStable <= c.at {
		return false, nil
	}
	moved, err := v.between(ctx, c, log.info.LastStable)
	for key := range moved {
		if _, lost := c.applied[key]; lost {
			return true, nil
		}
	}
	return false, err
}

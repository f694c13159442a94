package client

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/storage/table"
)

// unread are rows of a copy on disk that cannot be read. What was applied of them is in the index, and can be compared with the log as the others are.
type unread struct {
	of      *dirRows // nil: all can be read
	applied map[string]appliedRow
	named   map[string]bool // by now
	// unindexed: all rows can be read, but not what leads to them.
	unindexed bool
}

// appliedRow is what was applied of a row.
type appliedRow struct {
	entry  digest.Entry
	offset int64
}

// lose notes a row that cannot be read.
func (u *unread) lose(s rows, row table.LostRow) {
	if u.applied == nil {
		u.of, _ = s.(*dirRows)
		u.applied, u.named = map[string]appliedRow{}, map[string]bool{}
	}
	u.applied[string(row.Key)] = appliedRow{row.Entry, row.Offset}
}

// marked is a key that differs, whose row may be one that cannot be read. Rows below start were not compared: they have left the log.
func (u *unread) marked(d Difference, start int64) Difference {
	if was, ok := u.applied[string(d.Key)]; ok {
		d.Here, d.Applied, d.Expired = digest.Entry{}, was.entry, was.offset < start
		u.named[string(d.Key)] = true
	}
	return d
}

// forget is for keys that were found by what came to nothing: nobody has been told of them.
func (u *unread) forget(v *dirVerifier) {
	if !v.handed {
		clear(u.named)
	}
}

// rest are those that are not named yet, by key: with what the log has of them, which is what was applied, and nothing of those below start; but for those of
// which it is not known what it has.
func (u *unread) rest(partition int32, at, start int64, unknown func(key string) bool) (keys []Difference) {
	for _, key := range slices.Sorted(maps.Keys(u.applied)) {
		if u.named[key] {
			continue
		}
		d := u.marked(Difference{Partition: partition, Cut: at, Key: []byte(key)}, start)
		switch {
		case unknown(key):
			d.LogUnknown, d.Expired = true, false
		case !d.Expired:
			d.Log = d.Applied
		}
		keys = append(keys, d)
	}
	return keys
}

// salvage hashes a copy of which not all rows can be read: these are in stored as they were applied. The error is that this does not help.
func (c *dirCopy) salvage() (err error) {
	c.stored, c.unread = digest.Digest{}, unread{}
	c.kept, c.at, err = c.rows.salvage(func(_ []byte, e digest.Entry) { c.stored.Add(e) }, func(row table.LostRow) {
		c.stored.Add(row.Entry)
		c.lose(c.rows, row)
	})
	if d, ok := c.rows.(*dirRows); ok && err == nil && len(d.lost.spans) > 0 {
		c.of = d // also where the damaged blocks have superseded rows alone
	}
	return err
}

// nameUnread names the rows of a copy that cannot be read, and that are not named yet.
func (v *dirVerifier) nameUnread(d DirVerdict, c *dirCopy) DirVerdict {
	all := proof{v: v, keys: d.Differs}
	for _, k := range c.rest(c.no, d.At, d.start, func(string) bool { return d.Outcome != Equal }) {
		all.add(k)
	}
	d.Differs = all.keys
	slices.SortFunc(d.Differs, compareKeys)
	return d
}

// unreadIn adds to a verdict about a copy that rows of it cannot be read.
func (v *dirVerifier) unreadIn(ctx context.Context, d DirVerdict, c *dirCopy, log logInfo, err error) DirVerdict {
	d = v.nameUnread(d, c)
	why := fmt.Errorf("%w: %d of them cannot be read: %w", ErrCorrupt, len(c.applied), err)
	d.Cause = LocalCorruption
	since := d.Repair
	if d.Outcome != Drifted && since.Method != ByFrame { // else the copy is of no use, whether its rows can be read or not
		d.Repair = v.costOfUnread(ctx, c.rows, d.start, nearest(log.frames, c.at))
		if since.Method == ByDelta {
			d.Repair.Bytes += since.Bytes
		}
	}
	if folded, err := v.foldedOn(ctx, c, log); folded {
		d.Repair = v.costOfWhole(ctx, log)
	} else if err != nil {
		d.Repair = RepairCost{}
	}
	if d.Outcome == Drifted {
		return d.is(Drifted, fmt.Sprintf("%s; %d rows cannot be read", d.Reason, len(c.applied)), why)
	}
	if d.Outcome != Equal {
		why = fmt.Errorf("%w; not compared: %v, %s", why, d.Outcome, d.Reason)
	}
	return d.is(Error, "the stored rows cannot be read", why)
}

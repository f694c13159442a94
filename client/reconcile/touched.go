package reconcile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
)

// touched is a key that deltas touched since a cut.
type touched struct {
	rows    []logRow     // as they are where they were touched; a zero entry: deleted
	source  digest.Entry // zero: the source does not have the key
	settled bool         // there is nothing to write
}

func (t *touched) has(partition int32) bool {
	return slices.ContainsFunc(t.rows, func(r logRow) bool { return r.partition == partition })
}

// interest is what a row that a delta touched is to who looks.
type interest int

const (
	never  interest = iota
	ifOdd           // where it is not the source's, or another row of the key is not
	always          // whatever it is
)

// touchedSince finds the keys of interest that deltas touched between offsets, by partition, and a cut, from their rows there, and what the source has of
// them: that is a pass over it, if there are any. Rows that are the source's are not kept.
func (c *comparison) touchedSince(
	ctx context.Context, now plane.Cut, since []int64, in func(partition int32, row frame.Row, is digest.Entry) interest,
) (map[string]*touched, error) {
	keys := map[string]*touched{}
	same := newAnew(c.prints.parts)
	var h digest.Hasher
	err := c.eachSince(ctx, now, since, func(partition int32, row frame.Row) {
		var is digest.Entry
		if !row.Tombstone {
			is = h.Entry(row.Key, row.Value)
		}
		switch in(partition, row, is) {
		case never:
			return
		case ifOdd:
			if !row.Tombstone && same.note(c.home(row.Key), is, partition) {
				return
			}
		}
		t := keys[string(row.Key)]
		if t == nil {
			t = &touched{}
			keys[string(row.Key)] = t
		}
		t.rows = append(t.rows, logRow{partition, is})
	})
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	got, err := c.source.each(ctx, func(row Row, e digest.Entry) {
		if t := keys[string(row.Key)]; t != nil {
			t.source = e
		}
	})
	if err == nil && got != c.prints.digest {
		err = ErrSourceChanged
	}
	for key, t := range keys {
		if p, noted := same.where(c.home([]byte(key)), t.source); noted && !t.has(p) {
			t.rows = append(t.rows, logRow{p, t.source})
		}
	}
	return keys, err
}

// eachSince visits what deltas touched between offsets, by partition, and a cut: rows as they are there, tombstones among them.
func (c *comparison) eachSince(ctx context.Context, now plane.Cut, since []int64, visit func(partition int32, row frame.Row)) error {
	for _, f := range now.Frames {
		if err := c.known(f); err != nil {
			return err
		}
		from := since[f.Partition]
		if f.Cut <= from {
			continue
		}
		if f.Start > from {
			return fmt.Errorf("%w: what was written to partition %d from %d on has expired below %d", ErrTooOld, f.Partition, from, f.Start)
		}
		err := c.load(ctx, plane.Since(f.Partition, f.Cut, from), f, func(row frame.Row) { visit(f.Partition, row) })
		if errors.Is(err, plane.ErrRefused) {
			err = fmt.Errorf("%w: %w", ErrTooOld, err)
		}
		if err != nil {
			return fmt.Errorf("what was written to partition %d since the cut: %w", f.Partition, err)
		}
	}
	return nil
}

// rowsOf are the rows of a key, touched or not, and the partition where the source's is, or is to be. The writes are those to the key, and was says what
// the row of one is where no delta touched it.
func (c *comparison) rowsOf(key string, t *touched, writes []Write, was func(Write) digest.Entry) (rows []logRow, stays int32) {
	rows = slices.Clone(t.rows)
	for _, w := range writes {
		if !t.has(w.Partition) {
			rows = append(rows, logRow{w.Partition, was(w)})
		}
	}
	stays = c.stays(key, t, writes)
	if !slices.ContainsFunc(rows, func(r logRow) bool { return r.partition == stays }) {
		rows = append(rows, logRow{stays, t.source})
	}
	return rows, stays
}

// judge tells whether the topic has another row of a key than the source, or not one row, and which.
func judge(key string, rows []logRow, stays int32, source digest.Entry) (odd Write, differs bool) {
	none := digest.Entry{}
	var live, same, want int
	if source != none {
		want = 1
	}
	found := false
	for _, r := range rows {
		if r.entry != none {
			live++
			if r.entry == source {
				same++
			}
		}
		if r.partition == stays && r.entry == source || r.partition != stays && r.entry == none {
			continue
		}
		if !found || odd.Log == none && r.entry != none {
			found, odd = true, Write{Partition: r.partition, Key: []byte(key), Source: source, Log: r.entry}
		}
	}
	if odd.Duplicate = same > 0 && odd.Partition != stays; odd.Duplicate {
		odd.Source = none
	}
	return odd, live != same || same != want
}

// stays is the partition where the source's row of a key is, or is to be. Where the log has that of a key without writes was not asked for: it is where
// the row was written again, or where a delta made it something else, or where producers write it.
func (c *comparison) stays(key string, t *touched, writes []Write) int32 {
	for _, w := range writes {
		switch {
		case w.Source != (digest.Entry{}):
			return w.Partition
		case w.Duplicate:
			return w.stays
		}
	}
	home := c.home([]byte(key))
	at, best := home, 0
	for _, r := range t.rows {
		if slices.ContainsFunc(writes, func(w Write) bool { return w.Partition == r.partition }) {
			continue // it goes
		}
		rank := 1
		if r.partition == home {
			rank++
		}
		if r.entry == t.source {
			rank += 2
		}
		if rank > best {
			at, best = r.partition, rank
		}
	}
	return at
}

// writesTo are the writes to a key.
func writesTo(writes []Write, key []byte) []Write {
	i, _ := slices.BinarySearchFunc(writes, key, func(w Write, key []byte) int { return bytes.Compare(w.Key, key) })
	end := i
	for end < len(writes) && bytes.Equal(writes[end].Key, key) {
		end++
	}
	return writes[i:end]
}

// makes tells whether a row is what one of the writes to its key makes it.
func makes(writes []Write, row logRow) bool {
	return slices.ContainsFunc(writes, func(w Write) bool { return w.Partition == row.partition && w.Source == row.entry })
}

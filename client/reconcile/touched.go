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

// touched is a key that deltas touched since the first cut.
type touched struct {
	rows    []logRow     // as they are where they were touched; a zero entry: deleted
	source  digest.Entry // zero: the source does not have the key
	settled bool         // there is nothing to write
}

func (t *touched) has(partition int32) bool {
	return slices.ContainsFunc(t.rows, func(r logRow) bool { return r.partition == partition })
}

// touchedSince finds the keys that deltas touched between the first cut and another one, from their rows there but for those that are expected, and what
// the source has of them: that is a pass over it, if there are any.
func (c *comparison) touchedSince(
	ctx context.Context, now plane.Cut, expected func(partition int32, key []byte, is digest.Entry) bool,
) (map[string]*touched, error) {
	keys := map[string]*touched{}
	var h digest.Hasher
	err := c.eachSince(ctx, now, func(partition int32, row frame.Row) {
		var is digest.Entry
		if !row.Tombstone {
			is = h.Entry(row.Key, row.Value)
		}
		if expected(partition, row.Key, is) {
			return
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
	return keys, err
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

// judge tells whether the topic has another row of a key than the source, or not one row, and which. The writes are those to the key, and was says what
// the row of one is where no delta touched it.
func (c *comparison) judge(key string, t *touched, writes []Write, was func(Write) digest.Entry) (odd Write, differs bool) {
	rows := slices.Clone(t.rows)
	for _, w := range writes {
		if !t.has(w.Partition) {
			rows = append(rows, logRow{w.Partition, was(w)})
		}
	}
	stays := c.stays(key, t, writes)
	if !slices.ContainsFunc(rows, func(r logRow) bool { return r.partition == stays }) {
		rows = append(rows, logRow{stays, t.source})
	}
	none := digest.Entry{}
	var live, same, want int
	if t.source != none {
		want = 1
	}
	found := false
	for _, r := range rows {
		if r.entry != none {
			live++
			if r.entry == t.source {
				same++
			}
		}
		if r.partition == stays && r.entry == t.source || r.partition != stays && r.entry == none {
			continue
		}
		if !found || odd.Log == none && r.entry != none {
			found, odd = true, Write{Partition: r.partition, Key: []byte(key), Source: t.source, Log: r.entry}
		}
	}
	if odd.Duplicate = same > 0 && odd.Partition != stays; odd.Duplicate {
		odd.Source = none
	}
	return odd, live != same || same != want
}

// stays is the partition where the source's row of a key is, or is to be. Where the log had it at the cut that was not asked for: it is where that row
// was written again, or where a delta made it something else, or where producers write it.
func (c *comparison) stays(key string, t *touched, writes []Write) int32 {
	for _, w := range writes {
		if w.Source != (digest.Entry{}) {
			return w.Partition
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

package reconcile

import (
	"context"
	"fmt"
	"slices"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/digest"
)

// settle reads the source's rows that may differ, decides what is written, and proves that this leads from the log's digest to the source's.
func (c *comparison) settle(ctx context.Context, f found, equal map[int32]bool) ([]Write, error) {
	rows, err := c.source.collect(ctx, f.tags, func(key []byte) bool { return f.logs[string(key)] != nil }, c.prints.digest)
	if err != nil {
		return nil, err
	}
	if err := c.addEqual(ctx, f, rows, equal); err != nil {
		return nil, err
	}
	writes := make([]Write, 0, len(rows)+len(f.logs))
	for _, row := range rows {
		writes = decide(writes, row, f.logs[string(row.key)], c.home(row.key))
	}
	for key, logs := range f.logs {
		if _, has := rows.find(key); has {
			continue
		}
		for _, l := range logs {
			writes = append(writes, Write{Partition: l.partition, Key: []byte(key), Log: l.entry})
		}
	}
	slices.SortFunc(writes, byKey)
	return writes, c.prove(writes)
}

// addEqual adds the rows of the log that are the source's, where the log has the key once more.
func (c *comparison) addEqual(ctx context.Context, f found, rows sourceRows, equal map[int32]bool) error {
	lacking := make(map[uint64]bool, len(f.tags))
	for _, t := range f.tags {
		lacking[t] = true
	}
	var tags []uint64
	var keys []string
	for key := range f.logs {
		row, has := rows.find(key)
		t := plane.TagOf(row.entry)
		if !has || lacking[t] {
			continue
		}
		if home := c.home([]byte(key)); equal[home] {
			f.add(key, logRow{home, row.entry})
			continue
		}
		tags, keys = append(tags, t), append(keys, key)
	}
	if len(tags) == 0 {
		return nil
	}
	places, err := f.places(ctx, tags)
	for i, key := range keys {
		row, _ := rows.find(key)
		for _, l := range places[tags[i]] {
			f.add(key, logRow{l.partition, row.entry})
		}
	}
	return err
}

// decide appends what makes one row of a key in the log that of the source, and deletes the others.
func decide(writes []Write, row sourceRow, logs []logRow, home int32) []Write {
	stays := logRow{partition: home}
	for i, l := range logs {
		if i == 0 || l.partition == home || stays.partition != home && l.entry == row.entry {
			stays = l
		}
	}
	if stays.entry != row.entry {
		writes = append(writes, Write{Partition: stays.partition, Key: row.key, Value: row.value, Source: row.entry, Log: stays.entry})
	}
	for _, l := range logs {
		if l.partition != stays.partition {
			writes = append(writes, Write{Partition: l.partition, Key: row.key, Log: l.entry, Duplicate: true, stays: stays.partition})
		}
	}
	return writes
}

// prove holds that the writes lead from the log's digest to the source's.
func (c *comparison) prove(writes []Write) error {
	d := c.cut.Digest()
	for _, w := range writes {
		replace(&d, w.Log, w.Source)
	}
	if d != c.prints.digest {
		return fmt.Errorf("%w: %d rows and not %d, or other ones", ErrUnproved, d.Count, c.prints.digest.Count)
	}
	return nil
}

// replace puts one row in the place of another in a digest; zero: there is none.
func replace(d *digest.Digest, old, row digest.Entry) {
	if old != (digest.Entry{}) {
		d.Sub(old)
	}
	if row != (digest.Entry{}) {
		d.Add(row)
	}
}

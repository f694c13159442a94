package client

import (
	"errors"
	"fmt"
	"io"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/memory"
)

// consolidate is for last-value.
func (m *memoryRows) consolidate(fr *frame.Reader, within func(apply func(memory.Changed) error) error) error {
	var rows []frame.Row
	for {
		b, err := fr.Next(nil)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		for pos := b.Begin(); pos < b.End(); {
			row, next, err := b.Row(pos)
			if err != nil {
				return err
			}
			rows, pos = append(rows, kept(row)), next
		}
	}
	h, footer := fr.Header(), digest.Digest{}
	if f, ok := fr.Footer(); ok {
		footer = f.Digest
	}
	after := map[string]frame.Row{}
	for row := range m.t.Snapshot().All() {
		if row.Offset >= h.Start {
			after[string(row.Key)] = row
		}
	}
	var records []batch.Record
	for _, row := range rows {
		if after[string(row.Key)] = row; row.Tombstone {
			delete(after, string(row.Key))
		}
		records = append(records, batch.Record{Offset: row.Offset, Timestamp: row.Timestamp, Key: row.Key, Value: row.Value, Headers: row.Headers})
	}
	if d := digestOf(after); d != footer {
		return fmt.Errorf("%w: %v", memory.ErrDigest, d)
	}
	return within(func(changed memory.Changed) error {
		if err := m.t.Apply(records, h.Cut, nil); err != nil {
			return err
		}
		for _, row := range rows {
			changed(row, false)
		}
		return m.expire(h.Start, func(row frame.Row) { changed(row, true) })
	})
}

package memory

import (
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
)

// Expire removes the rows whose last delta lies below start, as the log does at a cut. gone, if not nil, is called for each as it was,
// in no particular order, while the table is locked; its slices may be kept. Reads wait: every row is looked at.
func (t *Table) Expire(start int64, gone func(d digest.Digest, row frame.Row)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id := range t.rows {
		if t.rows[id] == 0 {
			continue // free
		}
		row, size, ok := t.chunks.get(t.rows[id])
		if !ok || row.Offset >= start {
			continue
		}
		slot, found, ok := t.findLocked(t.hash(row.Key), row.Key)
		if !ok || found != uint32(id) {
			continue
		}
		t.outLocked(uint32(id), t.hasher.Entry(row.Key, row.Value))
		t.removeLocked(slot, uint32(id), size, frame.Row{})
		if gone != nil {
			gone(t.digest, row)
		}
	}
}

package fold

import (
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/delta"
)

// putSection is the header section of a folded value whose last delta had no other headers: one header, keyframe.op = put.
const putSection = "\x02\x16" + delta.HeaderOp + "\x06put"

// RowHeaders returns the headers that a row carries whose last delta had h. For last-value a row is its last record. For the other
// folds a live row is a full value, which must never be folded again: it says put in place of its last delta's op.
func (k Kind) RowHeaders(tombstone bool, h batch.Headers) batch.Headers {
	if k == LastValue {
		return h
	}
	if op, ok := h.Get(delta.HeaderOp); ok {
		if !tombstone && string(op) == delta.Put.String() {
			return h
		}
		h = h.Without(delta.HeaderOp)
	}
	if tombstone {
		return h
	}
	if len(h) == 0 {
		return batch.Headers(putSection)
	}
	return h.With(delta.HeaderOp, []byte(delta.Put.String()))
}

package table

import (
	"github.com/keyframelog/keyframe/proto/delta"
	"github.com/keyframelog/keyframe/proto/digest"
)

// Delta is one delta of one key, as it stands in the log.
type Delta struct {
	delta.Delta
	Offset    int64
	Timestamp int64 // ms since the epoch
}

// Change is what one fold does to one key.
type Change struct {
	Key []byte
	// Deltas in offset order, at least one. They are folded onto the key's row; the row is read only if the first delta does not
	// reset the state.
	Deltas []Delta
	// Folded says that Deltas is a single put or delete whose value is a folded value already (a row of a frame, or deltas that
	// were collapsed before): it is stored as it is.
	Folded bool
}

// Fold is what Commit does to one table.
type Fold struct {
	Table   *Table
	Changes []Change // sorted by key, each key once
	End     int64    // position afterwards; every delta lies in [position, End)
	// LeaderEpoch is that of the last batch below End; -1: not known.
	LeaderEpoch int32
	Cut         bool // End becomes a key frame
	// CutTimeMs is the frame's time, ms since the epoch.
	CutTimeMs int64
	// Start is the log start offset that the frame at End respects: rows and tombstones whose last delta lies below it leave the table
	// there. It counts only where a frame is cut, and never moves back. Where there is a frame at End already, it is superseded by one with
	// this start, and the same time. Where very many rows would leave at once, those at the lowest offsets do: Table.Start tells how far it
	// came.
	Start int64
	// Unread lets rows leave that cannot be read, by what the index has of them. Else they are the error.
	Unread  bool
	Skipped Rejects // deltas below End that were skipped before they came here
	// Expect, if not nil, is what the table's digest must be afterwards; if it is not, nothing is committed and the error is
	// ErrDigest.
	Expect *digest.Digest
}

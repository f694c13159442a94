package table

import (
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
)

// Identity says whose table an ordinal holds. It is stored with the table and compared whenever the table is opened.
type Identity struct {
	TopicID     [16]byte
	Partition   int32
	Incarnation [16]byte
	Fold        fold.Kind
}

// Frame is a retained key frame: the table as of a cut. Cut and Start identify it: while nothing is folded behind the newest cut, a frame
// with another start may supersede it.
type Frame struct {
	Cut       int64 // every delta below it is folded, none at or above
	Start     int64 // log start offset of the frame: rows below it are excluded
	Digest    digest.Digest
	Bytes     int64 // keys and values of the live rows
	Rejected  uint64
	CutTimeMs int64
	Kept      bool // marked by DB.Keep; a frame that supersedes it is, too
}

// Rows returns the number of live rows.
func (f *Frame) Rows() int64 { return f.Digest.Count }

// same tells whether it is the same frame, marked or not.
func (f Frame) same(as *Frame) bool {
	f.Kept = as.Kept
	return f == *as
}

// Table is the folded table of one partition. Its methods may be called concurrently; those that write wait for one another.
type Table struct {
	db      *DB
	ordinal uint32
	id      Identity
	limits  Limits
	writer  chan struct{} // holds one token while nobody writes
	dropped atomic.Bool
	state   atomic.Pointer[meta]   // what the last commit stored; never modified
	holds   atomic.Uint64          // odd while an ingest is under way, see DB.hold
	counter chan struct{}          // holds one token while nobody counts, see RowsSince
	counted atomic.Pointer[census] // of the frame that was counted last
	reading sync.RWMutex
	// guarded by reading
	past *pebble.Iterator // while an ingest is under way: what was before, for readers to clone
}

// Limits bounds the rows of a table.
type Limits struct {
	RowBytesMax int // key, value and headers of a row together; 0 = fold.RowBytesMax. Less is for tests: see there
}

// Ordinal returns the number under which the partition is stored.
func (t *Table) Ordinal() uint32 { return t.ordinal }

// Identity returns whose table it is.
func (t *Table) Identity() Identity { return t.id }

// RowBytesMax returns how many bytes key, value and headers of a folded row have at most.
func (t *Table) RowBytesMax() int { return t.limits.RowBytesMax }

// Position returns the offset up to which (exclusive) the log is folded.
func (t *Table) Position() int64 { return t.state.Load().position }

// LeaderEpoch returns the leader epoch of the last batch that is folded; -1 where it is not known, as after a Load.
func (t *Table) LeaderEpoch() int32 { return t.state.Load().epoch }

// Digest returns the digest of the live rows at Position.
func (t *Table) Digest() digest.Digest { return t.state.Load().digest }

// Bytes returns the size in bytes of keys and values of the live rows at Position.
func (t *Table) Bytes() int64 { return t.state.Load().bytes }

// Rejected returns how many deltas were skipped since the table was created, by reason.
func (t *Table) Rejected() Rejects { return t.state.Load().rejects }

// Horizon returns the tombstone horizon: the lowest c for which the rows changed since c are complete.
func (t *Table) Horizon() int64 { return t.state.Load().horizon }

// Start returns the log start offset as of the newest cut: no row at Position has its last delta below it.
func (t *Table) Start() int64 { return t.state.Load().start }

// Frames returns the retained key frames, oldest first. The caller owns the slice.
func (t *Table) Frames() []Frame {
	return append([]Frame(nil), t.state.Load().frames...)
}

// Standing returns what the last commit stored, all of one moment: the table at Position, as a frame without a time, the retained key frames,
// oldest first, and the tombstone horizon. The caller owns the slice.
func (t *Table) Standing() (now Frame, frames []Frame, horizon int64) {
	m := t.state.Load()
	return m.now(0), append([]Frame(nil), m.frames...), m.horizon
}

// Frame returns the key frame at cut, or ErrNoFrame.
func (t *Table) Frame(cut int64) (Frame, error) {
	return t.state.Load().frame(cut)
}

// Pub returns the hash that a frame of this table publishes over its digest, cut and identity.
func (t *Table) Pub(f Frame) [32]byte {
	return f.Digest.Pub(digest.FrameID{
		TopicID: t.id.TopicID, Partition: t.id.Partition, Incarnation: t.id.Incarnation, Cut: f.Cut, Start: f.Start,
	})
}

// Rejects counts skipped deltas by reason (fold.Rejection).
type Rejects [16]uint64

// Total returns the sum over all reasons.
func (r *Rejects) Total() (n uint64) {
	for _, x := range r {
		n += x
	}
	return n
}

// Add adds what another counted.
func (r *Rejects) Add(o *Rejects) {
	for i := range r {
		r[i] += o[i]
	}
}

// Count adds one of reason why; reasons beyond the array count as its last element.
func (r *Rejects) Count(why fold.Rejection) {
	r[min(int(why), len(r)-1)]++
}

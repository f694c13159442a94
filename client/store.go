package client

import (
	"iter"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/memory"
	"github.com/keyframelog/keyframe/storage/table"
)

// identity names a partition and the life of its log that a store follows.
type identity = memory.Identity

// stores opens the rows of the replica's partitions: in memory or in a directory.
type stores interface {
	// open returns the stored state of a partition; false if there is none.
	open(partition int32) (rows, bool, error)
	// load reads a whole frame behind its header and returns it as a partition's rows once it is verified. Neither these nor those of empty are what
	// open returns, until they are told to be.
	load(partition int32, fr *frame.Reader) (rows, error)
	// empty returns a partition without rows at position.
	empty(id identity, position int64, kind fold.Kind) (rows, error)
	// name is that of the replica whose stores these are; empty: they keep none.
	name() string
	// verified returns the cuts at which the stored state of a partition was equal to the log, and keepVerified stores them, newest first.
	verified(partition int32) ([]verifiedCut, error)
	keepVerified(partition int32, cuts []verifiedCut) error
	// distrusted is the highest offset that the stored state of a partition was remembered with.
	distrusted(partition int32) int64
	// haltedAt is the offset at which the stored state of a partition was found to differ from the log when that ended following; 0: it was not, or is equal
	// again, or another has taken its place. keepHalted stores it.
	haltedAt(partition int32) int64
	keepHalted(partition int32, at int64) error
	// keepDamaged stores why nothing can be loaded beside what is damaged: who opens the stores next, and may, sets the tables aside, whether opening them
	// meets the damage or not.
	keepDamaged(why error) error
	close() error
}

// rows is the state of one partition. One writer; readers beside it.
type rows interface {
	identity() identity
	position() int64
	// epoch is the leader epoch of the last batch applied; -1: not known.
	epoch() int32
	// digest commits what was applied and returns its digest and position.
	digest() (digest.Digest, int64, error)
	// scrub hashes the stored rows anew; kept is the digest that was maintained, at the same position. Any goroutine may call it.
	scrub() (stored, kept digest.Digest, at int64, err error)
	// apply folds records, all of one leader epoch, and moves the position to next, in one commit. changed is called for what changed,
	// in offset order; see memory.Applied. It may be nil. perRecord: with the digest after each record; else with none, and each key
	// once.
	apply(records []batch.Record, next int64, epoch int32, changed memory.Applied) error
	// expire removes the rows whose last delta lies below a log start, at the position; gone, if not nil, is called for each. unread: also those that
	// cannot be read, by what is known of them; else these are the error.
	expire(start int64, unread bool, gone func(frame.Row)) error
	// consolidate applies what changed from the position on (a frame with Since == position), as one; nothing is visible unless the digest
	// afterwards is the footer's. The stream is read first, and the state is free for readers meanwhile; then within is called, which calls
	// apply. nil: as if it did no more than that. changed, which may be nil, is called in offset order, for rows that expired last. unread is that of expire.
	consolidate(fr *frame.Reader, unproved, unread bool, within func(apply func(changed memory.Changed) error) error) error
	// patch replaces rows at the position, as one: puts as they stand (key, value, offset, time, headers), deletes by key; nothing is visible
	// unless the digest of the stored rows (hashed anew) is want. What salvage has said to be lost must be among them. Any other error too says that
	// the whole frame is needed: a Dir store has one row at an offset.
	patch(puts []frame.Row, deletes [][]byte, want digest.Digest) error
	// entries hashes every stored row anew: its key, valid during the call, and entry. kept is the digest that was maintained, at the same
	// position. Rows in memory that cannot be read are left out; on disk they are the error. It may run beside anything.
	entries(visit func(key []byte, e digest.Entry)) (kept digest.Digest, at int64, err error)
	// salvage is entries for a repair: rows that cannot be read, and of which is known which they were, are handed to lost instead, after the
	// others. Nothing is applied between it and the patch that brings them back.
	salvage(visit func(key []byte, e digest.Entry), lost func(table.LostRow)) (kept digest.Digest, at int64, err error)
	// reindex makes what leads to the rows anew from them, where it cannot be read and all of them can. done: they have the digest that was kept. It
	// runs while nothing is applied.
	reindex() (done bool, err error)
	// scrubPass begins a pass that hashes the stored rows piece by piece while the state changes.
	scrubPass() scrubPass
	// logStart is what is known of the log start that the rows respect.
	logStart() int64
	kind() fold.Kind
	perRecord() bool
	get(key []byte) (frame.Row, bool, error)
	scan(prefix, after []byte) iter.Seq2[frame.Row, error]
	// all yields every row of one moment, in no particular order.
	all() iter.Seq2[frame.Row, error]
	// since yields the rows from an offset on, as of now, and on request the tombstones: known says that all of these are
	// there. The sequence is to be ranged over once, and is nil where tombstones were asked for and are nowhere known.
	since(from int64, tombstones bool) (changed iter.Seq2[frame.Row, error], known bool, err error)
	// remember makes the rows the stored state of their partition, durably, in place of what was it before. distrusted is the highest offset at
	// which nobody may resume to watch it, because what was told up to there was of a state that was wrong; 0: none. Within an incarnation it never
	// goes back, and of rows that are the stored state already nothing else changes.
	remember(distrusted int64) error
	// close keeps what is stored, discard removes it.
	close() error
	discard() error
}

// memoryStores keeps rows in this process.
type memoryStores struct{ cfg memory.Config }

// newMemoryStores takes the fold that frames must have; 0: what they say.
func newMemoryStores(kind fold.Kind) *memoryStores {
	return &memoryStores{memory.Config{Fold: kind}}
}

func (m *memoryStores) open(int32) (rows, bool, error) { return nil, false, nil }
func (m *memoryStores) close() error                   { return nil }
func (m *memoryStores) name() string                   { return "" }

func (m *memoryStores) verified(int32) ([]verifiedCut, error)   { return nil, nil }
func (m *memoryStores) keepVerified(int32, []verifiedCut) error { return nil }
func (m *memoryStores) distrusted(int32) int64                  { return 0 }
func (m *memoryStores) haltedAt(int32) int64                    { return 0 }
func (m *memoryStores) keepHalted(int32, int64) error           { return nil }
func (m *memoryStores) keepDamaged(error) error                 { return nil }

func (m *memoryStores) load(_ int32, fr *frame.Reader) (rows, error) {
	t, _, err := memory.LoadFrom(fr, m.cfg)
	if err != nil {
		return nil, err
	}
	return &memoryRows{t, -1}, nil
}

func (m *memoryStores) empty(id identity, position int64, kind fold.Kind) (rows, error) {
	cfg := m.cfg
	cfg.Fold = kind
	return &memoryRows{memory.New(id, position, cfg), -1}, nil
}

// memoryRows is a table in memory: each apply is one commit under the table's lock.
type memoryRows struct {
	t         *memory.Table
	lastEpoch int32 // of the writer
}

func (m *memoryRows) identity() identity   { return m.t.Identity() }
func (m *memoryRows) position() int64      { return m.t.Position() }
func (m *memoryRows) epoch() int32         { return m.lastEpoch }
func (m *memoryRows) perRecord() bool      { return true }
func (m *memoryRows) remember(int64) error { return nil }
func (m *memoryRows) close() error         { return nil }
func (m *memoryRows) discard() error       { return nil }

func (m *memoryRows) digest() (digest.Digest, int64, error) {
	d, at := m.t.Digest()
	return d, at, nil
}

func (m *memoryRows) rebase(gap digest.Digest) { m.t.Rebase(gap) }

func (m *memoryRows) scrub() (stored, kept digest.Digest, at int64, err error) {
	v := m.t.View()
	return v.Scrub(), v.Digest, v.Position, nil
}

func (m *memoryRows) apply(records []batch.Record, next int64, epoch int32, changed memory.Applied) error {
	m.lastEpoch = epoch
	return m.t.Apply(records, next, changed)
}

func (m *memoryRows) expire(start int64, _ bool, gone func(frame.Row)) error {
	m.t.Expire(start, func(_ digest.Digest, row frame.Row) {
		if gone != nil {
			gone(row)
		}
	})
	return nil
}

func (m *memoryRows) consolidate(fr *frame.Reader, unproved, _ bool, within func(apply func(memory.Changed) error) error) error {
	d, err := m.t.Since(fr, unproved)
	if err != nil {
		return err
	}
	return inside(within, func(changed memory.Changed) error {
		if err := d.Apply(changed); err != nil {
			return err
		}
		m.lastEpoch = -1 // a frame does not tell
		return nil
	})
}

// inside lets within call apply.
func inside(within func(apply func(memory.Changed) error) error, apply func(memory.Changed) error) error {
	if within == nil {
		return apply(nil)
	}
	return within(apply)
}

func (m *memoryRows) patch(puts []frame.Row, deletes [][]byte, want digest.Digest) error {
	return m.t.Patch(puts, deletes, want, nil)
}

func (m *memoryRows) entries(visit func(key []byte, e digest.Entry)) (kept digest.Digest, at int64, err error) {
	v := m.t.View()
	v.Entries(visit)
	return v.Digest, v.Position, nil
}

func (m *memoryRows) salvage(visit func(key []byte, e digest.Entry), _ func(table.LostRow)) (kept digest.Digest, at int64, err error) {
	return m.entries(visit)
}

func (m *memoryRows) reindex() (bool, error) { return false, nil }

func (m *memoryRows) logStart() int64 { return 0 }
func (m *memoryRows) kind() fold.Kind { return m.t.Fold() }

func (m *memoryRows) get(key []byte) (frame.Row, bool, error) {
	row, ok := m.t.Get(key)
	return row, ok, nil
}

func (m *memoryRows) scan(prefix, after []byte) iter.Seq2[frame.Row, error] {
	return withoutError(m.t.Scan(prefix, after))
}

func (m *memoryRows) all() iter.Seq2[frame.Row, error] { return withoutError(m.t.View().All()) }

// since knows no tombstones: the partition's history has the recent ones.
func (m *memoryRows) since(from int64, _ bool) (iter.Seq2[frame.Row, error], bool, error) {
	all := m.t.View().All()
	return func(yield func(frame.Row, error) bool) {
		for row := range all {
			if row.Offset >= from && !yield(row, nil) {
				return
			}
		}
	}, false, nil
}

func withoutError(seq iter.Seq[frame.Row]) iter.Seq2[frame.Row, error] {
	return func(yield func(frame.Row, error) bool) {
		for row := range seq {
			if !yield(row, nil) {
				return
			}
		}
	}
}

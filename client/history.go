package client

import "sync"

// nowhere is the offset of a position that cannot be resumed: something is always missing from there on.
const nowhere = -1

// history is what a partition keeps for its watchers: the latest changes, each with a sequence number, and which keys
// were deleted lately. A watcher is a cursor into it and costs nothing else.
type history struct {
	mu sync.Mutex
	// Guarded by mu.
	capacity int
	changes  []Change // ring; changes[seq % capacity]
	first    uint64   // sequence numbers kept: [first, end)
	end      uint64

	// New watchers may start at changes from sequence `base` on, where everything from the position on is in: [base, end).
	base     uint64
	position Position

	// tombs are the keys deleted since horizon.
	tombs   []tomb // oldest first, at most capacity
	horizon Position

	// wrong is up to where, itself included, the state was wrong, or may have been: nobody resumes there, because what was put right since has
	// offsets below.
	wrong Position
}

type tomb struct {
	key       string
	offset    int64
	timestamp int64
	expired   bool
	start     int64 // log start offset with which it came
}

func newHistory(capacity int) *history {
	return &history{capacity: capacity, changes: make([]Change, 0, min(capacity, 64))}
}

// begin forgets everything: the state is another one, of which only position is known.
func (h *history) begin(at Position) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.first = h.end
	h.restartLocked(at)
	h.tombs, h.horizon = nil, at
}

func (h *history) restartLocked(at Position) { h.base, h.position = h.end, at }

func (h *history) add(c Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.addLocked(c)
	if c.Deleted {
		h.buryLocked(tombOf(c))
	}
}

func tombOf(c Change) tomb { return tomb{string(c.Key), c.Offset, c.Timestamp, c.Expired, c.start} }

func (h *history) addLocked(c Change) {
	if h.end-h.first == uint64(h.capacity) {
		if h.base == h.first {
			h.base++
			c := &h.changes[h.first%uint64(h.capacity)]
			h.position = c.Next
			h.position.Start = max(c.Next.Start, c.start) // of several that expire together, who lacks one lacks them all
		}
		h.first++
	}
	if len(h.changes) < h.capacity {
		h.growLocked()
	}
	h.changes[h.end%uint64(h.capacity)] = c
	h.end++
}

// growLocked makes room for sequence number end. The ring's slots are used in order from 0, so it grows until it is whole.
func (h *history) growLocked() {
	if want := int(h.end%uint64(h.capacity)) + 1; want > len(h.changes) {
		h.changes = append(h.changes, make([]Change, want-len(h.changes))...)
	}
}

func (h *history) buryLocked(t tomb) {
	if len(h.tombs) == h.capacity {
		drop := 1 + h.capacity/8
		h.horizon.Offset = max(h.horizon.Offset, h.tombs[drop-1].offset+1)
		h.horizon.Start = max(h.horizon.Start, h.tombs[drop-1].start)
		h.tombs = append(h.tombs[:0:0], h.tombs[drop:]...)
	}
	h.tombs = append(h.tombs, t)
}

// replace adds the way from a state, which ended at `from`, to a new one that begins at `at`. Open watchers see it; later ones begin behind
// it. Deletions stay known within one incarnation, unless the old state was no earlier one of the log's, but wrong: then the way has changes
// below `from`, which nobody who resumes there would look for. Then, and where it is too long, nothing older than `at` can be resumed.
func (h *history) replace(way *transition, from, at Position) {
	h.mu.Lock()
	defer h.mu.Unlock()
	known := h.horizon.Incarnation == at.Incarnation && way.lowest >= from.Offset && !way.deletes
	if way.dropped > 0 { // open watchers have fallen behind
		h.end += way.dropped
		h.first = h.end
	}
	for c := range way.all {
		h.addLocked(c)
		if known && c.Deleted {
			h.buryLocked(tombOf(c))
		}
	}
	if !known {
		h.tombs, h.horizon = nil, at
	}
	h.restartLocked(at)
}

// since copies up to len(buf) changes from seq on. ok is false if they are no longer kept.
func (h *history) since(seq uint64, buf []Change) (n int, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if seq < h.first {
		return 0, false
	}
	for n < len(buf) && seq+uint64(n) < h.end {
		buf[n] = h.changes[(seq+uint64(n))%uint64(h.capacity)]
		n++
	}
	return n, true
}

// start tells where a watcher from a position begins: at a kept change, if all from there on are kept.
func (h *history) start(from Position) (seq uint64, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if from.before(h.position) || !h.trustsLocked(from) {
		return h.end, false
	}
	for seq = h.base; seq < h.end; seq++ {
		c := &h.changes[seq%uint64(h.capacity)]
		if c.Offset >= from.Offset {
			break
		}
		if c.start > from.Start { // what expired below from, which whoever was there had not heard of; deltas in between he has
			return seq, h.onlyExpiredLocked(seq, from.Offset)
		}
	}
	return seq, true
}

// onlyExpiredLocked tells whether the changes from seq on that lie below an offset are all of rows that expired.
func (h *history) onlyExpiredLocked(seq uint64, offset int64) bool {
	for ; seq < h.end; seq++ {
		c := &h.changes[seq%uint64(h.capacity)]
		if c.Offset >= offset {
			return true
		}
		if !c.Expired {
			return false
		}
	}
	return true
}

// before tells whether something may have happened on the way from p to another position of the same incarnation.
func (p Position) before(o Position) bool { return p.Offset < o.Offset || p.Start < o.Start }

// deletedSince returns the deletions from a position on, and false if some are no longer known.
func (h *history) deletedSince(from Position) ([]tomb, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if from.before(h.horizon) || !h.trustsLocked(from) {
		return nil, false
	}
	var out []tomb
	for _, t := range h.tombs {
		if t.offset >= from.Offset || t.start > from.Start {
			out = append(out, t)
		}
	}
	return out, true
}

// last is the sequence number behind the latest change.
func (h *history) last() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.end
}

// oldest is the lowest position that can be resumed.
func (h *history) oldest() Position {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := h.horizon
	if h.wrong.Incarnation == at.Incarnation {
		at.Offset = max(at.Offset, h.wrong.Offset+1)
	}
	return at
}

// distrust says that the state was wrong up to a position: nobody resumes at or below it. Those who wait in Watch are told what was put right.
func (h *history) distrust(at Position) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if at.Offset > 0 && (h.wrong.Incarnation != at.Incarnation || h.wrong.Offset < at.Offset) {
		h.wrong = at
	}
}

// distrusted is the highest offset at which nobody resumes in an incarnation because of distrust; 0: there is none.
func (h *history) distrusted(incarnation [16]byte) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.wrong.Incarnation != incarnation {
		return 0
	}
	return h.wrong.Offset
}

func (h *history) trusts(from Position) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.trustsLocked(from)
}

func (h *history) trustsLocked(from Position) bool {
	return h.wrong == Position{} || from.Incarnation != h.wrong.Incarnation || from.Offset > h.wrong.Offset
}

package memory

import (
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
)

// Scrub is one pass that hashes a table's rows anew, piece by piece, while the table goes on changing. What it has summed up
// follows the changes: a row that is replaced behind it is taken out of the sum and the new one counted in, as in the table's digest. So
// when it has come to the end, the sum is that of the rows as they are stored at that moment, for each as it was read last. It holds
// neither rows nor the lock: those of a piece are looked up under it and hashed without it.
type Scrub struct {
	t      *Table
	hasher digest.Hasher
	refs   []ref
	rows   []frame.Row
	hashed []hashed

	// Guarded by t.mu: written by the scrub with its read lock held, which keeps writers out, and by writers with the lock.
	next uint32 // rows with lower numbers are in the sum
	sum  digest.Digest
}

type hashed struct {
	entry digest.Entry // zero: it cannot be read
	ok    bool         // false: a free number
}

// Scrubbed is what a pass found: damage of memory where Stored is not Kept. Rows that cannot be read count in Stored, and add nothing to its sum.
type Scrubbed struct {
	Stored, Kept digest.Digest
	Position     int64
}

// Rebase adds to the digest that is kept what rows that are not what was applied hash to beyond it: Stored less Kept. What is replaced goes out of the digest as
// it is stored then. So the two stay as far apart until a Patch, whatever is applied, unless more rots, or a row that cannot be read is in the way.
func (t *Table) Rebase(gap digest.Digest) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.digest.Merge(gap)
}

// NewScrub begins a pass. There is one at a time: another one that is under way ends without a result.
func (t *Table) NewScrub() *Scrub {
	s := &Scrub{t: t}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.scrub = s
	return s
}

// Step looks at up to n rows and returns how many it did. At the end of the pass done is true, and the result is there; or it is nil where
// the pass was ended by another, or by Patch, which looks at all rows itself.
func (s *Scrub) Step(n int) (looked int, found *Scrubbed, done bool) {
	first, drops, ok := s.lookUp(n)
	if !ok {
		return 0, nil, true
	}
	s.hashed = s.hashed[:0]
	for i, e := range s.hasher.Entries(len(s.rows), func(i int) (key, value []byte, ok bool) {
		return s.rows[i].Key, s.rows[i].Value, s.rows[i].Key != nil
	}) {
		s.hashed = append(s.hashed, hashed{e, s.refs[i] != 0})
	}
	looked = len(s.refs)
	clear(s.rows) // lets go of their chunks
	return s.add(first, drops, looked)
}

func (s *Scrub) hash(r ref, row *frame.Row, ok bool) hashed {
	if r == 0 || !ok {
		return hashed{ok: r != 0}
	}
	return hashed{s.hasher.Entry(row.Key, row.Value), true}
}

// lookUp copies where the next rows lie.
func (s *Scrub) lookUp(n int) (first uint32, drops uint64, ok bool) {
	t := s.t
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.scrub != s {
		return 0, 0, false
	}
	n = min(n, len(t.rows)-int(s.next))
	s.refs = append(s.refs[:0], t.rows[s.next:int(s.next)+n]...)
	s.rows = s.rows[:0]
	for _, r := range s.refs {
		row, _, ok := t.chunks.get(r)
		if r == 0 || !ok {
			row.Key = nil
		}
		s.rows = append(s.rows, row)
	}
	return s.next, t.chunks.drops, true
}

// add counts in what was hashed. Rows that changed meanwhile are hashed as they are now; so are all where a chunk's number may stand for
// another chunk.
func (s *Scrub) add(first uint32, drops uint64, n int) (looked int, found *Scrubbed, done bool) {
	t := s.t
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.scrub != s || s.next != first {
		return n, nil, true
	}
	for i, was := range s.refs {
		x := s.hashed[i]
		if r := t.rows[int(first)+i]; r != was || t.chunks.drops != drops {
			row, _, ok := t.chunks.get(r)
			x = s.hash(r, &row, ok)
		}
		if x.ok {
			s.sum.Add(x.entry)
		}
	}
	s.next += uint32(n)
	if int(s.next) < len(t.rows) {
		return n, nil, false
	}
	return n, &Scrubbed{Stored: s.sum, Kept: t.digest, Position: t.position}, true
}

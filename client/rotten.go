package client

import (
	"errors"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/state"
)

// errRotten is the reason of a comparison where rows are known to be rotten: whether the digest that is kept beside them is the log's or not says nothing of them.
var errRotten = errors.New("rows are not what was applied, and the digest that is kept beside them does not tell what they are")

// rotten is a state of which rows are known that are not what was applied. It is so until they are put right, another state takes its place, all rows
// are hashed anew and are what was applied, or are the log's all the same: those that were rotten have been overwritten.
type rotten struct {
	of  rows
	why error // wraps ErrCorrupt
	// gap is what a scrub found the rows to hash to beyond the digest that is kept, and they do until they are put right; nil: none has, or the rows are
	// no rebaser.
	gap *digest.Digest
}

// rebaser is rows whose digest follows their bytes: what is overwritten goes out of it as it is then, as it does out of the sum of all rows hashed anew. So
// the two stay as far apart as they were. Where an entry is kept beside each row, that is what goes out, and the digest is that of what was applied.
type rebaser interface {
	// rebase adds to the digest that is kept.
	rebase(gap digest.Digest)
}

// rotted notes that rows of a state are rotten.
func (p *partition) rotted(s rows, found scrubbed) {
	r := &rotten{of: s, why: found.damage}
	if _, ok := s.(rebaser); ok && found.stored != found.kept {
		gap := gapBetween(found.stored, found.kept)
		r.gap = &gap
	}
	p.rotten.Store(r)
}

// rottedThere is rotted of the state that is there; false: it is gone, or rows of it were put right since it was begun to look at them.
func (p *partition) rottedThere(s rows, found scrubbed) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rows() != s || p.patched.Load() != found.patched {
		return false // or the rows are other ones by now
	}
	p.rotted(s, found)
	return true
}

// knownRot is what is known to be rotten of the state that is there; nil: nothing.
func (p *partition) knownRot() *rotten {
	if r := p.rotten.Load(); r != nil && r.of == p.rows() {
		return r
	}
	return nil
}

// rot is why the state that is there is rotten; nil: it is not, as far as is known.
func (p *partition) rot() error {
	if r := p.knownRot(); r != nil {
		return r.why
	}
	return nil
}

// overwrittenLocked tells whether all rows are the log's, going by how they were hashed anew, though they were known to be rotten when ours was the digest
// that was kept of them. Then they are so no more, and the digest is that of the rows.
func (p *partition) overwrittenLocked(was *rotten, ours, logs digest.Digest) bool {
	if was == nil || was.gap == nil {
		return false
	}
	if ours.Merge(*was.gap); ours != logs {
		return false
	}
	if p.rotten.CompareAndSwap(was, nil) {
		was.of.(rebaser).rebase(*was.gap)
		p.ring.reset(was.of.perRecord()) // the digests in it are as far from what the rows were
		if d, at, err := was.of.digest(); err == nil {
			p.ring.add(at, d)
		}
		p.rehash, p.refused = false, nil // there is nothing to repair
	}
	return true
}

// sound notes that rows that were known to be rotten when it was begun to look at all of them are not; nil: none were. The log is asked what it says of them.
func (p *partition) sound(was *rotten) {
	if was != nil && p.rotten.CompareAndSwap(was, nil) {
		p.askNow()
	}
}

// hashedAnew takes what all rows of a copy hash to now, where it was known before that some are rotten: what a scrub has read wrongly once, or what was put
// right since, is so no more. Rows on disk are not judged by it: what leads to them may be what is rotten.
func (p *partition) hashedAnew(was *rotten, c *dirCopy) {
	if was == nil || was.gap == nil || was.of != c.rows {
		return
	}
	switch gap := gapBetween(c.stored, c.kept); gap {
	case *was.gap:
	case digest.Digest{}:
		p.sound(was)
	default:
		p.rotten.CompareAndSwap(was, &rotten{of: was.of, why: was.why, gap: &gap})
	}
}

// judged is a comparison with the log, by what is known of the rows: of rotten ones none says that they are equal, nor, where that may be the rot, that they have
// drifted.
func (p *partition) judged(v Verdict) Verdict { return p.knownRot().judge(v) }

// judge is judged by what was known when v was made; nil: nothing was.
func (r *rotten) judge(v Verdict) Verdict {
	if r != nil && !v.Scrub && (v.Outcome == Equal || v.Outcome == Drifted && r.gap != nil) {
		v.Outcome, v.Reason, v.Err = Error, errRotten.Error(), r.why
	}
	return v
}

// rotten tells whether it was judged so by rotten rows.
func (v *Verdict) rotten() bool {
	return v.Outcome == Error && v.Reason == errRotten.Error() && errors.Is(v.Err, ErrCorrupt)
}

// corruption makes known that rows of the state are rotten.
func (p *partition) corruption(s rows, at int64, why error) {
	p.rotted(s, scrubbed{damage: why}) // what a repair has hashed is without rows that it cannot read: no gap
	p.r.event(Event{Kind: CorruptionFound, Partition: p.no, Offset: at, Err: why})
}

// rottenIn says that the rows are not what was applied, where that is known of those that are there. It makes no claim about the log.
func rottenIn(x *state.ReplicaPartition, e Event) {
	x.Outcome, x.Reason, x.ComparedMs = state.Outcome_OUTCOME_ERROR, clipped(e.Err.Error()), e.Time.UnixMilli()
	x.Compared = &state.Point{Offset: e.Offset, Sum: make([]byte, 32)}
}

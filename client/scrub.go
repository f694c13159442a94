package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/storage/memory"
	"github.com/keyframelog/keyframe/storage/table"
)

// scrubRows is how many rows are hashed between two pauses.
const scrubRows = 256

// scrubPass looks at up to n rows. At the end of a pass done is true; damage, which wraps ErrCorrupt, may come before.
type scrubPass func(n int) (looked int, found scrubbed, done bool, err error)

type scrubbed struct {
	stored, kept digest.Digest // where rows are summed up
	at           int64
	damage       error
	patched      uint64 // that of the partition when it was begun to look at the rows
}

// runScrub hashes the rows of one partition after the other at the configured rate, and begins anew after a pause.
func (r *Replica) runScrub(ctx context.Context) {
	for r.cfg.ScrubRate > 0 && plane.Wait(ctx, r.cfg.scrubPause) == nil {
		r.scrubAll(ctx)
	}
}

// scrubAll is one pass over each partition.
func (r *Replica) scrubAll(ctx context.Context) {
	for _, no := range r.numbers {
		if p := r.partitions[no]; p.followed() { // what is being repaired or replaced need not be told again
			p.scrubOnce(ctx)
		}
	}
}

func (p *partition) followed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.following
}

// scrubOnce is one pass over the state that is there; it ends with that. It returns the state if its rows are not what was applied.
func (p *partition) scrubOnce(ctx context.Context) (corrupt rows) {
	s := p.rows()
	if s == nil {
		return nil
	}
	patched := p.patched.Load()
	pass, was := s.scrubPass(), p.rotten.Load()
	for p.rows() == s {
		n, found, done, err := pass(scrubRows)
		found.patched = patched
		switch {
		case err != nil:
			if !errors.Is(err, ErrClosed) && !errors.Is(err, table.ErrClosed) {
				p.log.Warn("the stored rows cannot be hashed anew", "err", err)
			}
			return nil
		case found.damage != nil:
			if p.r.cfg.OnDrift == Report && p.rot() != nil { // such rows stay: it was told
				p.rottedThere(s, found) // there may be more of them
			} else {
				p.corrupted(s, found)
			}
			return s
		case done:
			p.sound(was)
			return nil
		}
		if plane.Wait(ctx, time.Duration(n)*time.Second/time.Duration(p.r.cfg.ScrubRate)) != nil {
			return nil
		}
	}
	return nil
}

// scrub hashes all rows at once, and does what the policy says if they are not what was applied. Where rows were put right meanwhile, it looks again.
func (p *partition) scrub() Verdict {
	for {
		patched := p.patched.Load()
		if v := p.scrubAsOf(patched); v.Outcome != Drifted || p.patched.Load() == patched {
			return v
		}
	}
}

func (p *partition) scrubAsOf(patched uint64) Verdict {
	s, was := p.rows(), p.rotten.Load()
	stored, kept, at, err := s.scrub()
	switch {
	case errors.Is(err, table.ErrCorrupt):
		return p.corrupted(s, scrubbed{kept: kept, at: at, damage: fmt.Errorf("%w: %w", ErrCorrupt, err), patched: patched})
	case err == nil && stored != kept:
		return p.corrupted(s, scrubbed{stored, kept, at, fmt.Errorf("%w, at offset %d: %s", ErrCorrupt, at, differs(stored, kept)), patched})
	}
	v := p.verdict(at, Equal, stored, kept, "", nil)
	if err != nil {
		v.Outcome, v.Reason, v.Err = Error, "the rows cannot be read", err
	} else {
		p.sound(was)
	}
	v.Scrub = true
	p.tell(v)
	return v
}

// corrupted tells of rows that are not what was applied, whatever the log says, and does what the policy says about them.
func (p *partition) corrupted(s rows, found scrubbed) Verdict {
	v := p.verdict(found.at, Drifted, found.stored, found.kept, ErrCorrupt.Error(), found.damage)
	v.Scrub = true
	if p.rottedThere(s, found) {
		p.tell(v)
		p.act(restart{event: CorruptionFound, err: v.Err}, v, repairOrder{rehash: true})
	}
	return v
}

// scrubPass sums up the rows as they are stored, beside their changes.
func (m *memoryRows) scrubPass() scrubPass {
	var pass *memory.Scrub
	return func(n int) (looked int, found scrubbed, done bool, err error) {
		if pass == nil {
			pass = m.t.NewScrub()
		}
		looked, sum, done := pass.Step(n)
		if sum == nil {
			return looked, scrubbed{}, done, nil
		}
		found = scrubbed{stored: sum.Stored, kept: sum.Kept, at: sum.Position}
		if sum.Stored != sum.Kept {
			found.damage = fmt.Errorf("%w: %d rows at %d hash differently from the %d that were applied", ErrCorrupt, sum.Stored.Count, sum.Position, sum.Kept.Count)
		}
		return looked, found, done, nil
	}
}

// scrubPass compares each row with what the index keeps of it.
func (d *dirRows) scrubPass() scrubPass {
	pass := d.t.ScrubRows()
	return func(n int) (looked int, found scrubbed, done bool, err error) {
		if err := d.s.gate.enter(); err != nil {
			return 0, found, true, err
		}
		defer d.s.gate.leave()
		piece, err := pass.Next(context.Background(), n)
		if errors.Is(err, table.ErrCorrupt) {
			return piece.Rows, scrubbed{kept: d.t.Digest(), at: d.t.Position(), damage: fmt.Errorf("%w: %w", ErrCorrupt, err)}, true, nil
		}
		return piece.Rows, found, piece.Done, err
	}
}

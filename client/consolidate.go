package client

import (
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/memory"
)

// consolidate brings the partition's state, to which nothing is applied meanwhile, to the cut of a consolidated delta. Readers see all of it at
// once, and watchers each key once, in offset order, what has expired last. The stream is read without a lock. unproved: whether the state has the digest
// of the frame afterwards is not asked.
func (p *partition) consolidate(s rows, fr *frame.Reader, unproved bool) error {
	h := fr.Header()
	err := s.consolidate(fr, unproved, p.rot() != nil, func(apply func(memory.Changed) error) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.consolidateLocked(s, h, apply)
	})
	p.moved.notify()
	p.r.changed.notify()
	return err
}

func (p *partition) consolidateLocked(s rows, h frame.Header, apply func(memory.Changed) error) error {
	id, before := s.identity(), p.position()
	after := Position{before.Incarnation, h.Cut, max(before.Start, h.Start)}
	var changed memory.Changed
	var held *Change                // who has the last has all
	if s.perRecord() || p.watched { // else the first watcher begins the history
		changed = func(row frame.Row, expired bool) {
			c := consolidated(id, row, expired, before, after)
			if held != nil {
				p.history.add(*held)
			}
			held = &c
		}
	}
	if err := apply(changed); err != nil {
		return err
	}
	if held != nil {
		held.Next = after
		p.history.add(*held)
	}
	d, at, err := s.digest()
	if err != nil {
		return err
	}
	p.start.Store(after.Start)
	p.ring.reset(s.perRecord())
	p.ring.add(at, d)
	p.compared = max(p.compared, at)
	return nil
}

// consolidated is the change that a row of a consolidated delta makes. Who resumes behind it is told of the rest: of each key its newest row.
func consolidated(id identity, row frame.Row, expired bool, before, after Position) Change {
	if !expired {
		return toChange(id, &row, Position{before.Incarnation, row.Offset + 1, before.Start})
	}
	row.Value, row.Headers, row.Tombstone, row.Offset = nil, nil, true, after.Offset-1
	c := toChange(id, &row, Position{before.Incarnation, after.Offset, before.Start})
	c.Expired, c.start = true, after.Start
	return c
}

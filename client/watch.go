package client

import (
	"context"
	"iter"
)

// watchBatch is how many changes a watcher takes at a time.
const watchBatch = 256

// Watch yields changes from the given positions on, until ctx ends, the replica closes, or the caller breaks the loop; an
// error is the last thing yielded. Positions is what r.Positions, a Change's Next or an error says. A partition that from does
// not have (nil: all) begins with its whole state, each row a Change, and goes on from there.
//
// Within a partition changes come in offset order and none is left out, as long as the reader keeps up with WatchChanges changes. A
// reader that resumes from further back, or fell behind, first gets what changed since: each key once, as it is now, in no
// particular order, deletions included; all of these but the last carry the old position in Next. A new state (new
// bootstrap) comes as the difference between the states, keys that vanished as deletions. On a Dir store a key that changed several times within one
// fetch comes once, and on any one that changed while the replica was away, where it was given what changed in place of the log.
//
// A position above the replica's own is waited for, since the replica may well be behind who saved it, as after a restart with an older state: nothing of
// that partition comes before the replica is there, and nothing below. WaitFor tells how far it is. One above the log's end in the same incarnation is
// nothing that the replica ever said; it is waited for as well.
//
// Errors: *SlowWatcherError (go on with its Resume), *WatchResetError (begin anew), ErrClosed, ErrInCallback (where it would wait), ctx's.
func (r *Replica) Watch(ctx context.Context, from Positions) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		w := watcher{r: r, from: from, at: Positions{}, cursor: map[int32]uint64{}, buf: make([]Change, watchBatch)}
		if err := r.closedErr(); err != nil {
			yield(Change{}, err)
			return
		}
		for _, no := range r.numbers {
			if !w.start(no, yield) {
				return
			}
		}
		for {
			changed := r.changed.wait()
			moved, goOn := w.drain(yield)
			if !goOn {
				return
			}
			if moved && ctx.Err() == nil {
				continue
			}
			if r.callbacks.inside() {
				yield(Change{}, ErrInCallback)
				return
			}
			select {
			case <-changed:
				if err := r.closedErr(); err != nil {
					yield(Change{}, err)
					return
				}
			case <-r.done:
				yield(Change{}, ErrClosed)
				return
			case <-ctx.Done():
				yield(Change{}, ctx.Err())
				return
			}
		}
	}
}

// watcher is a cursor into each partition's history.
type watcher struct {
	r      *Replica
	from   Positions
	at     Positions        // everything below was yielded
	cursor map[int32]uint64 // of the partitions that have begun
	buf    []Change
}

// start sets the cursor of a partition, after yielding what the history no longer has. It does nothing while the position to go on from is yet to come.
func (w *watcher) start(no int32, yield func(Change, error) bool) bool {
	p := w.r.partitions[no]
	pos, resumed := w.from[no]
	p.mu.Lock() // nothing is applied meanwhile: rows, tombstones and cursor are of one moment
	p.recordHistoryLocked()
	now := p.position()
	if !resumed || pos.Incarnation == [16]byte{} {
		pos.Incarnation = now.Incarnation
	}
	if w.at[no] = pos; resumed && pos.Incarnation == now.Incarnation && pos.Offset > now.Offset {
		p.mu.Unlock()
		return true
	}
	if seq, kept := p.history.start(pos); resumed && kept && pos.Incarnation == now.Incarnation {
		p.mu.Unlock()
		w.at[no], w.cursor[no] = pos, seq
		return true
	}
	catchUp, err := p.catchUpLocked(pos, now, resumed)
	w.at[no], w.cursor[no] = pos, p.history.last()
	p.mu.Unlock()
	if err != nil {
		yield(Change{}, err)
		return false
	}
	for c, err := range catchUp {
		if !yield(c, err) || err != nil {
			return false
		}
	}
	w.at[no] = now
	return true
}

// recordHistoryLocked makes a partition record its changes. Where that costs nothing it always does; a Dir store reads rows for
// it, so it begins with the first watcher.
func (p *partition) recordHistoryLocked() {
	if !p.watched && !p.rows().perRecord() {
		p.history.begin(p.position())
	}
	p.watched = true
}

// catchUpLocked yields what changed from a position on, as it is now: rows, and the keys that went.
func (p *partition) catchUpLocked(from, now Position, resumed bool) (iter.Seq2[Change, error], error) {
	reset := &WatchResetError{Partition: p.no, From: from, Horizon: p.history.oldest()}
	if from.Incarnation != now.Incarnation || resumed && !p.history.trusts(from) {
		return nil, reset
	}
	var tombs []tomb
	all, expired := false, from.Start < now.Start
	if resumed {
		if tombs, all = p.history.deletedSince(from); !all && expired { // no tombstone tells of what has expired
			return nil, reset
		}
	}
	s := p.rows()
	rows, known, err := s.since(from.Offset, resumed)
	if err != nil {
		return nil, &PartitionError{p.r.cfg.Topic, p.no, now.Offset, err}
	}
	gone := map[string]tomb{}
	if resumed && !known && (!all || rows == nil) {
		return nil, reset
	}
	for _, t := range tombs {
		if t.offset < from.Offset { // came with a log start that who was there had not heard of; deltas in between he has
			if _, lives, err := s.get([]byte(t.key)); err != nil {
				return nil, &PartitionError{p.r.cfg.Topic, p.no, now.Offset, err}
			} else if lives {
				continue
			}
		} else if known && !t.expired {
			continue // its tombstone is among the rows
		}
		gone[t.key] = t
	}
	return holdLast(now, func(yield func(Change, error) bool) {
		for row, err := range rows {
			delete(gone, string(row.Key)) // it came back since, which is behind the deletion
			if !yield(toChange(s.identity(), &row, from), err) || err != nil {
				return
			}
		}
		for _, t := range gone {
			if !yield(Change{Partition: p.no, Offset: t.offset, Timestamp: t.timestamp, Key: []byte(t.key), Deleted: true, Expired: t.expired, Next: from}, nil) {
				return
			}
		}
	}), nil
}

// holdLast lets the last of a run of changes resume at `at`: who has it has all.
func holdLast(at Position, changes iter.Seq2[Change, error]) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		var held *Change
		for c, err := range changes {
			if err != nil {
				yield(Change{}, err)
				return
			}
			if held != nil && !yield(*held, nil) {
				return
			}
			held = &c
		}
		if held != nil {
			held.Next = at
			yield(*held, nil)
		}
	}
}

// drain yields what is new in all partitions.
func (w *watcher) drain(yield func(Change, error) bool) (moved, goOn bool) {
	for _, no := range w.r.numbers {
		if _, begun := w.cursor[no]; !begun {
			if !w.start(no, yield) {
				return false, false
			}
			if _, begun = w.cursor[no]; !begun {
				continue
			}
			moved = true
		}
		n, kept := w.r.partitions[no].history.since(w.cursor[no], w.buf)
		if !kept {
			yield(Change{}, &SlowWatcherError{Resume: w.at})
			return false, false
		}
		for i := range w.buf[:n] {
			c := w.buf[i]
			w.cursor[no]++
			if !yield(c, nil) {
				return false, false
			}
			w.at[no] = c.Next
			moved = true
		}
	}
	clear(w.buf) // lets go of the rows' memory
	return moved, true
}

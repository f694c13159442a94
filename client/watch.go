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
// fetch comes once.
//
// Errors: *SlowWatcherError (go on with its Resume), *WatchResetError (begin anew), ErrClosed, ctx's.
func (r *Replica) Watch(ctx context.Context, from Positions) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		w := watcher{r: r, at: Positions{}, cursor: map[int32]uint64{}, buf: make([]Change, watchBatch)}
		for _, no := range r.numbers {
			if !w.start(no, from, yield) {
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
	at     Positions // everything below was yielded
	cursor map[int32]uint64
	buf    []Change
}

// start sets the cursor of a partition, after yielding what the history no longer has.
func (w *watcher) start(no int32, from Positions, yield func(Change, error) bool) bool {
	p := w.r.partitions[no]
	pos, known := from[no]
	p.mu.Lock() // nothing is applied meanwhile: rows, tombstones and cursor are of one moment
	now := p.position()
	if known && pos.Incarnation == [16]byte{} {
		pos.Incarnation = now.Incarnation
	}
	if known {
		seq, kept := p.history.start(pos.Offset)
		if kept && pos.Incarnation == now.Incarnation {
			p.mu.Unlock()
			w.at[no], w.cursor[no] = pos, seq
			return true
		}
	}
	tombs, complete := p.history.deletedSince(pos.Offset)
	if known && (!complete || pos.Incarnation != now.Incarnation) {
		horizon := p.history.oldest()
		p.mu.Unlock()
		yield(Change{}, &WatchResetError{Partition: no, From: pos, Horizon: horizon})
		return false
	}
	if !known {
		tombs, pos = nil, Position{now.Incarnation, 0}
	}
	catchUp := p.catchUpLocked(pos, now, tombs)
	w.at[no], w.cursor[no] = pos, p.history.last()
	p.mu.Unlock()
	for c, err := range catchUp {
		if !yield(c, err) || err != nil {
			return false
		}
	}
	w.at[no] = now
	return true
}

// catchUpLocked yields the rows that changed from a position on, as they are at now, and the keys that went.
func (p *partition) catchUpLocked(from, now Position, tombs []tomb) iter.Seq2[Change, error] {
	s := p.rows()
	id := s.identity()
	gone := map[string]tomb{}
	for _, t := range tombs {
		if _, ok, _ := s.get([]byte(t.key)); !ok {
			gone[t.key] = t
		}
	}
	rows, _ := s.all()
	return func(yield func(Change, error) bool) {
		var held *Change // one is held back: only the last resumes at now
		for row, err := range rows {
			if err != nil {
				yield(Change{}, err)
				return
			}
			if row.Offset < from.Offset {
				continue
			}
			if held != nil && !yield(*held, nil) {
				return
			}
			c := toChange(id, &row, from)
			held = &c
		}
		for _, t := range gone {
			if held != nil && !yield(*held, nil) {
				return
			}
			held = &Change{Partition: p.no, Offset: t.offset, Timestamp: t.timestamp, Key: []byte(t.key), Deleted: true, Next: from}
		}
		if held != nil {
			held.Next = now
			yield(*held, nil)
		}
	}
}

// drain yields what is new in all partitions.
func (w *watcher) drain(yield func(Change, error) bool) (moved, goOn bool) {
	for _, no := range w.r.numbers {
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

package client

// transition is what leads from one state to another: what watchers are told of it, and what is known of the way. Of more changes than a
// history keeps it has the last, so that it can be found without a lock and taken over under one.
type transition struct {
	capacity int
	changes  []Change // the latest, a ring from `first`
	first    int
	dropped  uint64 // changes before these
	deletes  bool   // ... of which some were deletions
	lowest   int64  // offset of a change, of all of them
}

func newTransition(capacity int) *transition {
	return &transition{capacity: capacity, lowest: 1<<63 - 1}
}

func (t *transition) add(c Change) {
	t.lowest = min(t.lowest, c.Offset)
	if len(t.changes) < t.capacity {
		t.changes = append(t.changes, c)
		return
	}
	t.dropped++
	t.deletes = t.deletes || t.changes[t.first].Deleted
	t.changes[t.first] = c
	t.first = (t.first + 1) % t.capacity
}

// all yields the changes that are kept, in order.
func (t *transition) all(yield func(Change) bool) {
	for i := range t.changes {
		if !yield(t.changes[(t.first+i)%len(t.changes)]) {
			return
		}
	}
}

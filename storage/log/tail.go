package log

import (
	"sort"
	"sync"

	"github.com/keyframelog/keyframe/proto/batch"
)

// tail bounds the memory of all partitions' newest batches together: what was appended first, by whichever partition,
// goes first.
type tail struct {
	limit int64

	mu    sync.Mutex
	bytes int64
	order []tailEntry // ring of what is kept, oldest at head
	head  int
	count int
}

type tailEntry struct {
	p     *Partition // nil: bytes beside batches, see Partition.ChargeTail
	bytes int
}

func newTail(limit int64) *tail { return &tail{limit: limit} }

// account counts what was pushed to a partition's ring (p is nil for a charge), and evicts the oldest batches of all beyond the limit.
func (t *tail) account(p *Partition, n int) {
	if t.limit <= 0 {
		return
	}
	t.mu.Lock()
	t.push(tailEntry{p, n})
	t.bytes += int64(n)
	for t.bytes > t.limit && t.count > 0 {
		e := t.pop()
		t.bytes -= int64(e.bytes)
		if e.p == nil {
			continue
		}
		e.p.mu.Lock()
		e.p.tail.dropOldest()
		e.p.mu.Unlock()
	}
	t.mu.Unlock()
}

// ChargeTail counts n bytes that are kept with the batches appended last: the log keeps a batch as it got it, a slice of something
// that may be much larger. As the tail goes in the order in which it came, the charge goes after those batches have gone.
func (p *Partition) ChargeTail(n int) { p.store.tail.account(nil, n) }

func (t *tail) push(e tailEntry) {
	if t.count == len(t.order) {
		grown := make([]tailEntry, max(64, 2*len(t.order)))
		for i := range t.count {
			grown[i] = t.order[(t.head+i)%len(t.order)]
		}
		t.order, t.head = grown, 0
	}
	t.order[(t.head+t.count)%len(t.order)] = e
	t.count++
}

func (t *tail) pop() tailEntry {
	e := t.order[t.head]
	t.order[t.head] = tailEntry{}
	t.head = (t.head + 1) % len(t.order)
	t.count--
	return e
}

// tailRing is one partition's newest batches, in order and without a gap up to the log end. Guarded by Partition.mu.
type tailRing struct {
	batches []batch.Batch
	head    int
}

func (r *tailRing) push(b batch.Batch) {
	if r.head > 32 && r.head > len(r.batches)/2 {
		n := copy(r.batches, r.batches[r.head:])
		clear(r.batches[n:])
		r.batches, r.head = r.batches[:n], 0
	}
	r.batches = append(r.batches, b)
}

func (r *tailRing) dropOldest() {
	if r.head < len(r.batches) {
		r.batches[r.head] = nil
		r.head++
	}
}

// find returns the batches from the one that contains the offset on; ok is false when that one is not here.
func (r *tailRing) find(offset int64) (batches []batch.Batch, ok bool) {
	kept := r.batches[r.head:]
	if len(kept) == 0 || offset < kept[0].BaseOffset() {
		return nil, false
	}
	i := sort.Search(len(kept), func(i int) bool { return kept[i].NextOffset() > offset })
	return kept[i:], i < len(kept)
}

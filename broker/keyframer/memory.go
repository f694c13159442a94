package keyframer

import (
	"sort"
	"sync"
)

// memory shares the budget of open intervals among all partitions. From half of it on the largest intervals are folded
// without a cut; when all is used, nothing is applied until a fold ends.
type memory struct {
	limit int64

	mu     sync.Mutex // guards the rest
	used   int64
	shares map[*Partition]int64 // of those that joined and were not forgotten
	asked  map[*Partition]bool  // were told to fold, and have not tried yet
	parked map[*Partition]bool  // wait for memory
}

func newMemory(limit int64) *memory {
	return &memory{limit: limit, shares: map[*Partition]int64{}, asked: map[*Partition]bool{}, parked: map[*Partition]bool{}}
}

// join makes the partition one of those that share the budget, until it is forgotten.
func (m *memory) join(p *Partition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shares[p] = 0
}

// update takes note of what a partition holds now and asks partitions to fold. It returns whether this one should look at
// its situation again.
func (m *memory) update(p *Partition) bool {
	bytes := p.intervalBytes()
	m.mu.Lock()
	m.noteLocked(p, bytes)
	var ask []*Partition
	if m.used > m.limit/2 && len(m.asked) == 0 {
		ask = m.largestLocked()
	}
	exhausted := m.used >= m.limit
	m.mu.Unlock()
	for _, other := range ask {
		other.askToFold()
		if other != p {
			other.k.steps.add(&other.steps)
		}
	}
	return exhausted || len(ask) > 0
}

// noteLocked leaves a forgotten partition out: whoever can fold no more must not be asked.
func (m *memory) noteLocked(p *Partition, bytes int64) {
	before, joined := m.shares[p]
	if !joined {
		return
	}
	m.used += bytes - before
	m.shares[p] = bytes
}

// folded is update after the end of a fold. If the fold failed, the partition may be asked again at once.
func (m *memory) folded(p *Partition) {
	m.mu.Lock()
	delete(m.asked, p)
	m.mu.Unlock()
	m.update(p)
}

// largestLocked picks partitions that hold enough to come down to a quarter of the budget.
func (m *memory) largestLocked() []*Partition {
	all := make([]*Partition, 0, len(m.shares))
	for p, bytes := range m.shares {
		if bytes > 0 {
			all = append(all, p)
		}
	}
	sort.Slice(all, func(i, j int) bool { return m.shares[all[i]] > m.shares[all[j]] })
	left := m.used
	for i, p := range all {
		if left <= m.limit/4 {
			return all[:i]
		}
		left -= m.shares[p]
		m.asked[p] = true
	}
	return all
}

// exhausted says whether the partition must not apply more, and remembers that it waits.
func (m *memory) exhausted(p *Partition) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.used < m.limit {
		delete(m.parked, p)
		return false
	}
	m.parked[p] = true
	return true
}

// release wakes the partitions that wait for memory.
func (m *memory) release(q *queue) {
	m.mu.Lock()
	parked := m.parked
	m.parked = map[*Partition]bool{}
	m.mu.Unlock()
	for p := range parked {
		q.add(&p.steps)
	}
}

// forget drops a partition that is gone, or that failed and holds nothing any more.
func (m *memory) forget(p *Partition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.used -= m.shares[p]
	delete(m.shares, p)
	delete(m.asked, p)
	delete(m.parked, p)
}

func (m *memory) usedBytes() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

// askToFold makes the partition fold what it holds, without a cut.
func (p *Partition) askToFold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.full = p.live != nil && p.live.IntervalBytes() > 0
}

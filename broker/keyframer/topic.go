package keyframer

import (
	"fmt"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/keyframelog/keyframe/proto/fold"
)

// Topic is one topic that is folded. It is immutable but for its settings.
type Topic struct {
	Name string
	ID   [16]byte
	Fold fold.Kind

	partitions []*Partition // by index
	settings   atomic.Pointer[Settings]
	cutting    chan struct{} // holds one token while no Cut is under way

	mu      sync.Mutex
	changed chan struct{} // guarded by mu; closed and replaced when a partition's frames change
}

func newTopic(k *Keyframer, spec TopicSpec, settings Settings) *Topic {
	t := &Topic{
		Name: spec.Name, ID: spec.ID, Fold: spec.Fold,
		cutting: make(chan struct{}, 1), changed: make(chan struct{}),
	}
	t.cutting <- struct{}{}
	t.settings.Store(&settings)
	for _, ps := range spec.Partitions {
		t.partitions = append(t.partitions, newPartition(k, t, ps))
	}
	sort.Slice(t.partitions, func(i, j int) bool { return t.partitions[i].Index < t.partitions[j].Index })
	return t
}

// start opens all partitions, and then begins to work. No frame gets a time that a cut of the topic has had, whichever partitions had
// something to cut then: the time names that cut.
func (t *Topic) start() {
	var open []*Partition
	lastCutMs := int64(0)
	for _, p := range t.partitions {
		if err := p.open(p.k.ctx); err != nil {
			p.fail(err)
			continue
		}
		open = append(open, p)
		lastCutMs = max(lastCutMs, p.lastCutMs)
	}
	for _, p := range open {
		p.lastCutMs = lastCutMs
		p.start()
	}
}

// Settings returns the settings of this moment. The value is immutable.
func (t *Topic) Settings() *Settings { return t.settings.Load() }

// Partitions returns the partitions that are folded here, by index. The slice is shared: do not change it.
func (t *Topic) Partitions() []*Partition { return t.partitions }

// Partition returns the partition with the index. ErrUnknownPartition.
func (t *Topic) Partition(index int32) (*Partition, error) {
	i := sort.Search(len(t.partitions), func(i int) bool { return t.partitions[i].Index >= index })
	if i == len(t.partitions) || t.partitions[i].Index != index {
		return nil, fmt.Errorf("%w: %s/%d", ErrUnknownPartition, t.Name, index)
	}
	return t.partitions[i], nil
}

// Changed returns a channel that is closed when a frame of the topic has come or gone, or the topic itself is gone. Take
// it before looking at the frames.
func (t *Topic) Changed() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changed
}

func (t *Topic) notify() {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.changed)
	t.changed = make(chan struct{})
}

func (t *Topic) stop(why error) {
	for _, p := range t.partitions {
		p.stop(why)
	}
	t.notify()
}

func (t *Topic) wait() {
	for _, p := range t.partitions {
		p.wait()
	}
}

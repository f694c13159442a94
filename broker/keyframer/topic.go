package keyframer

import (
	"fmt"
	"slices"
	"sort"
	"sync"
	"sync/atomic"

	"github.com/keyframelog/keyframe/proto/fold"
)

// Topic is one topic that is folded. It is immutable but for its settings, and partitions that it gets.
type Topic struct {
	Name string
	ID   [16]byte
	Fold fold.Kind

	partitions atomic.Pointer[[]*Partition] // by index; replaced under mu by longer ones
	settings   atomic.Pointer[Settings]
	cutting    chan struct{} // holds one token while no Cut is under way

	mu      sync.Mutex    // guards the rest
	changed chan struct{} // closed and replaced when a partition's frames change
	heldMs  int64         // newest time that a cut of the topic was given
}

func newTopic(k *Keyframer, spec TopicSpec, settings Settings) *Topic {
	t := &Topic{
		Name: spec.Name, ID: spec.ID, Fold: spec.Fold,
		cutting: make(chan struct{}, 1), changed: make(chan struct{}),
	}
	t.cutting <- struct{}{}
	t.settings.Store(&settings)
	t.partitions.Store(&[]*Partition{})
	return t
}

// start opens partitions, adds them, and begins to work on them. No frame gets a time that a cut of the topic has had, whichever
// partitions had something to cut then: the time names that cut.
func (t *Topic) start(k *Keyframer, specs []PartitionSpec) {
	var added, open []*Partition
	for _, spec := range specs {
		p := newPartition(k, t, spec)
		added = append(added, p)
		if err := p.open(k.ctx); err != nil {
			p.fail(err)
			continue
		}
		open = append(open, p)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	all := append(slices.Clone(t.Partitions()), added...)
	sort.Slice(all, func(i, j int) bool { return all[i].Index < all[j].Index })
	lastCutMs := t.heldMs
	for _, p := range all {
		p.mu.Lock()
		lastCutMs = max(lastCutMs, p.lastCutMs)
		p.mu.Unlock()
	}
	for _, p := range open {
		p.lastCutMs = lastCutMs
		p.start()
	}
	t.partitions.Store(&all)
}

// Settings returns the settings of this moment. The value is immutable.
func (t *Topic) Settings() *Settings { return t.settings.Load() }

// Partitions returns the partitions that are folded here, by index. The slice is shared: do not change it.
func (t *Topic) Partitions() []*Partition { return *t.partitions.Load() }

// Partition returns the partition with the index. ErrUnknownPartition.
func (t *Topic) Partition(index int32) (*Partition, error) {
	all := t.Partitions()
	i := sort.Search(len(all), func(i int) bool { return all[i].Index >= index })
	if i == len(all) || all[i].Index != index {
		return nil, fmt.Errorf("%w: %s/%d", ErrUnknownPartition, t.Name, index)
	}
	return all[i], nil
}

// Changed returns a channel that is closed when a frame of the topic has come or gone, its settings have changed, it has got partitions, or it is
// gone itself. Take it before looking at them.
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
	for _, p := range t.Partitions() {
		p.stop(why)
	}
	t.notify()
}

func (t *Topic) wait() {
	for _, p := range t.Partitions() {
		p.wait()
	}
}

package consumer

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/keyframelog/keyframe/broker/group/assign"
)

// world is the topics of a test.
type world struct {
	version uint64
	serial  uint32
	topics  map[string]Topic
	names   map[TopicID]string
}

func newWorld() *world { return &world{topics: map[string]Topic{}, names: map[TopicID]string{}} }

// set creates a topic, or gives it another number of partitions; 0 deletes it.
func (w *world) set(name string, partitions int) TopicID {
	w.version++
	t, ok := w.topics[name]
	switch {
	case partitions == 0:
		delete(w.topics, name)
		return t.ID
	case !ok:
		w.serial++
		t = Topic{Name: name}
		binary.BigEndian.PutUint32(t.ID[:], w.serial)
		w.names[t.ID] = name
	}
	t.Partitions = partitions
	w.topics[name] = t
	return t.ID
}

func (w *world) Version() uint64 { return w.version }

func (w *world) ByName(name string) (Topic, bool) {
	t, ok := w.topics[name]
	return t, ok
}

func (w *world) ByID(id TopicID) (Topic, bool) {
	t, ok := w.topics[w.names[id]]
	return t, ok && t.ID == id
}

func (w *world) All() (all []Topic) {
	for _, t := range w.topics {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b Topic) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// parts are the given partitions of one topic.
func parts(topic TopicID, partitions ...int32) assign.Partitions {
	if len(partitions) == 0 {
		return assign.Partitions{}
	}
	return assign.Partitions{topic: partitions}
}

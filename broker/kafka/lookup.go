package kafka

import (
	"github.com/keyframelog/keyframe/broker/topics"
)

// topicRef names a topic as a request does: by name, or by id from some version on.
type topicRef struct {
	name string
	id   [16]byte
	byID bool
}

// lookup finds the topic of a request; the code says why not.
func (h *Handler) lookup(ref topicRef) (*topics.Topic, int16) {
	if ref.byID {
		if t, ok := h.cfg.Registry.ByID(ref.id); ok {
			return t, none
		}
		return nil, unknownTopicID
	}
	if t, ok := h.cfg.Registry.Get(ref.name); ok {
		return t, none
	}
	return nil, unknownTopicOrPartition
}

// partition finds a partition of a topic that lookup returned with its code.
func partitionOf(t *topics.Topic, code int16, index int32) (*topics.Partition, int16) {
	if code != none {
		return nil, code
	}
	if p := t.Partition(index); p != nil {
		return p, none
	}
	return nil, unknownTopicOrPartition
}

// checkEpoch compares the leader epoch that a client knows with ours (KIP-320); -1 means that it knows none.
func (h *Handler) checkEpoch(epoch int32) int16 {
	switch {
	case epoch < 0 || epoch == h.cfg.LeaderEpoch:
		return none
	case epoch < h.cfg.LeaderEpoch:
		return fencedLeaderEpoch
	}
	return unknownLeaderEpoch
}

// once keeps the first of those that are equal. What is described is told once, however often it is named: an answer may be a thousand
// times larger than its question.
func once[T comparable](list []T) []T {
	seen := make(map[T]bool, len(list))
	first := list[:0:0]
	for _, x := range list {
		if !seen[x] {
			seen[x] = true
			first = append(first, x)
		}
	}
	return first
}

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

// lastEntries leaves one entry, the last, of each partition that a request names more than once, and puts it where the first was; Kafka
// makes a map of the partitions. Two would be carried out as two. Each topic is then there once, too.
func lastEntries[T, P any](list []T, topic func(*T) (topicRef, *[]P), index func(*P) int32) []T {
	if !namesTwice(list, topic, index) {
		return list
	}
	type place struct {
		topic     int
		partition int32
	}
	topicAt, partitionAt := map[topicRef]int{}, map[place]int{}
	var kept []T
	for i := range list {
		ref, entries := topic(&list[i])
		at, known := topicAt[ref]
		if !known {
			at = len(kept)
			topicAt[ref], kept = at, append(kept, list[i])
			_, fresh := topic(&kept[at])
			*fresh = nil
		}
		_, into := topic(&kept[at])
		for _, entry := range *entries {
			p := place{at, index(&entry)}
			if first, twice := partitionAt[p]; twice {
				(*into)[first] = entry
				continue
			}
			partitionAt[p] = len(*into)
			*into = append(*into, entry)
		}
	}
	return kept
}

func namesTwice[T, P any](list []T, topic func(*T) (topicRef, *[]P), index func(*P) int32) bool {
	type partition struct {
		topic topicRef
		index int32
	}
	total := 0
	for i := range list {
		_, entries := topic(&list[i])
		total += len(*entries)
	}
	if total < 2 { // as of most producers
		return false
	}
	seen := make(map[partition]struct{}, total)
	for i := range list {
		ref, entries := topic(&list[i])
		for j := range *entries {
			seen[partition{ref, index(&(*entries)[j])}] = struct{}{}
		}
	}
	return len(seen) < total
}

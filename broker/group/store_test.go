package group

import (
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/storage/catalog"
	"github.com/keyframelog/keyframe/storage/engine"
)

var errDisk = errors.New("disk")

// memStore is a Store whose writes can be held up and can fail.
type memStore struct {
	mu      sync.Mutex
	meta    map[string][]byte
	offsets map[string]map[topicPartition]catalog.OffsetCommit
	pending map[string]map[int64]map[topicPartition]catalog.OffsetCommit
	fail    bool
	full    bool          // offsets are refused
	gate    chan struct{} // if not nil, a write waits for it
	writes  int
	busy    map[string]bool
	overlap bool // two writes of one group at once
}

func newMemStore() *memStore {
	return &memStore{meta: map[string][]byte{}, offsets: map[string]map[topicPartition]catalog.OffsetCommit{},
		pending: map[string]map[int64]map[topicPartition]catalog.OffsetCommit{}, busy: map[string]bool{}}
}

func (s *memStore) write(group string, do func()) error {
	s.mu.Lock()
	s.overlap = s.overlap || s.busy[group]
	s.busy[group] = true
	gate := s.gate
	s.mu.Unlock()
	if gate != nil {
		<-gate
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy[group] = false
	s.writes++
	if s.fail {
		return errDisk
	}
	do()
	return nil
}

func (s *memStore) isFull() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.full
}

func (s *memStore) PutOffsets(group string, commits []catalog.OffsetCommit) error {
	if s.isFull() {
		return &engine.DiskFullError{}
	}
	return s.write(group, func() {
		if s.offsets[group] == nil {
			s.offsets[group] = map[topicPartition]catalog.OffsetCommit{}
		}
		for _, o := range commits {
			key := topicPartition{o.Topic, o.Partition}
			if o.Delete {
				delete(s.offsets[group], key)
			} else {
				s.offsets[group][key] = o
			}
		}
	})
}

func (s *memStore) PutPending(group string, producerID int64, commits []catalog.OffsetCommit) error {
	if s.isFull() {
		return &engine.DiskFullError{}
	}
	return s.write(group, func() {
		if s.pending[group] == nil {
			s.pending[group] = map[int64]map[topicPartition]catalog.OffsetCommit{}
		}
		if s.pending[group][producerID] == nil {
			s.pending[group][producerID] = map[topicPartition]catalog.OffsetCommit{}
		}
		for _, o := range commits {
			key := topicPartition{o.Topic, o.Partition}
			if o.Delete {
				delete(s.pending[group][producerID], key)
			} else {
				s.pending[group][producerID][key] = o
			}
		}
	})
}

func (s *memStore) Pending(group string) (map[int64][]catalog.OffsetCommit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := map[int64][]catalog.OffsetCommit{}
	for id, offsets := range s.pending[group] {
		all[id] = slices.Collect(maps.Values(offsets))
	}
	return all, nil
}

// EndOffsets writes at once: there is no batch.
func (s *memStore) EndOffsets(_ *pebble.Batch, group string, producerID int64, ended, commits []catalog.OffsetCommit) error {
	return s.write(group, func() {
		for _, o := range ended {
			delete(s.pending[group][producerID], topicPartition{o.Topic, o.Partition})
		}
		for _, o := range commits {
			if s.offsets[group] == nil {
				s.offsets[group] = map[topicPartition]catalog.OffsetCommit{}
			}
			s.offsets[group][topicPartition{o.Topic, o.Partition}] = o
		}
	})
}

func (s *memStore) PutGroup(group string, metadata []byte) error {
	return s.write(group, func() { s.meta[group] = metadata })
}

func (s *memStore) DeleteGroup(group string) error {
	return s.write(group, func() {
		delete(s.meta, group)
		delete(s.offsets, group)
		delete(s.pending, group)
	})
}

func (s *memStore) Offsets(group string) ([]catalog.OffsetCommit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.offsets[group])), nil
}

func (s *memStore) GetGroup(group string) ([]byte, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.meta[group]
	return b, ok, nil
}

func (s *memStore) Groups() ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := map[string]bool{}
	for name := range s.meta {
		names[name] = true
	}
	for name, offsets := range s.offsets {
		if len(offsets) > 0 {
			names[name] = true
		}
	}
	for name, producers := range s.pending {
		for _, offsets := range producers {
			if len(offsets) > 0 {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names)), nil
}

func (s *memStore) set(f func(*memStore)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f(s)
}

package log

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/storage/catalog"
)

// PartitionID is the ordinal that the catalog gave a partition. It is never reused.
type PartitionID uint32

// Store is all partitions of one database. It owns two goroutines, the committer and the compactor; Close waits for both.
type Store struct {
	cfg       Config
	db        *pebble.DB
	committer *committer
	compactor *compactor
	tail      *tail
	chunks    chunks
	stats     stats

	mu         sync.Mutex
	closed     bool
	uses       sync.WaitGroup // calls that are using the database; added to under mu only
	partitions map[PartitionID]*Partition
}

// Open starts a store. Config.LeaderEpoch must be higher than that of every run before.
func Open(cfg Config) (*Store, error) {
	if cfg.DB == nil {
		return nil, errors.New("log: no database given")
	}
	cfg = cfg.withDefaults()
	s := &Store{cfg: cfg, db: cfg.DB, partitions: make(map[PartitionID]*Partition)}
	s.tail = newTail(cfg.TailBytes)
	s.committer = startCommitter(cfg.InFlightBytes, s.failed)
	s.compactor = startCompactor(cfg.DB, cfg.CompactEveryBytes, cfg.Logger)
	return s, nil
}

// OpenPartition loads a partition: its bounds, its producers, its epochs. A partition that was never written is empty.
// Opening one that is open returns it.
// Errors: *CorruptError; an error when the stored log belongs to another incarnation.
func (s *Store) OpenPartition(id PartitionID, meta catalog.Partition) (*Partition, error) {
	if uint32(id) != meta.Ordinal {
		return nil, fmt.Errorf("partition %d: catalog has ordinal %d", id, meta.Ordinal)
	}
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.uses.Done()
	s.mu.Lock()
	if p := s.partitions[id]; p != nil {
		s.mu.Unlock()
		return p, nil
	}
	s.mu.Unlock()
	p, err := s.load(id, meta)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if other := s.partitions[id]; other != nil { // loaded by two at once: neither has been appended to
		return other, nil
	}
	s.partitions[id] = p
	return p, nil
}

// DropPartition closes a partition: appends, reads and trims return ErrClosed from now on. What was appended is still
// completed, and when it returns no write to the partition's keys is under way, so that none comes behind their deletion.
// Its keys are deleted by catalog.Delete, which comes after, and then Reclaim gives the space back. Dropping a partition
// that is not open does nothing.
func (s *Store) DropPartition(id PartitionID) error {
	s.mu.Lock()
	p := s.partitions[id]
	delete(s.partitions, id)
	s.mu.Unlock()
	if p != nil {
		p.close()
		p.trimming <- struct{}{} // a trim under way ends first; the next one finds the partition closed
		<-p.trimming
		p.notify()
	}
	return nil
}

// Reclaim has the space of n bytes of record batches given back, soon, that catalog.Delete has deleted.
func (s *Store) Reclaim(n int64) { s.compactor.trimmed(n) }

// Close refuses new work, waits until everything that was appended is durable or has failed, and stops the goroutines.
// The database stays open: its owner closes it.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	open := make([]*Partition, 0, len(s.partitions))
	for _, p := range s.partitions {
		open = append(open, p)
	}
	s.mu.Unlock()
	for _, p := range open {
		p.close()
	}
	s.compactor.stop()
	s.uses.Wait()
	s.committer.stop()
	for _, p := range open {
		p.notify()
	}
	return nil
}

// enter keeps the database open for the caller until uses.Done. Pebble panics when a closed database is used.
func (s *Store) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.uses.Add(1)
	return nil
}

// failed is called by the committer, once.
func (s *Store) failed(err error) {
	s.cfg.Fatal(fmt.Sprintf("a write could not be made durable: %v: stopping, because what is on disk is unknown; "+
		"acknowledged records are safe, start again once the disk works", err))
}

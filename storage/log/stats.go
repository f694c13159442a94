package log

import (
	"errors"
	"sync/atomic"
)

type stats struct {
	appends, appendBytes       atomic.Uint64
	duplicates, sequenceErrors atomic.Uint64
	tailHits, tailMisses       atomic.Uint64
	trims                      atomic.Uint64
}

func (s *stats) refused(err error) {
	var seq *SequenceError
	switch {
	case err == nil:
		s.duplicates.Add(1)
	case errors.As(err, &seq):
		s.sequenceErrors.Add(1)
	}
}

// Metrics of a store: plain numbers of one moment. Counters count since Open.
type Metrics struct {
	Partitions      int
	Appends         uint64
	AppendBytes     uint64
	Duplicates      uint64 // batches of idempotent producers that were there already
	SequenceErrors  uint64
	TailHits        uint64 // reads served from memory
	TailMisses      uint64 // reads that went to disk
	TailBytes       int64
	InFlightBytes   int64 // appended, not yet durable
	InFlightBatches int
	Trims           uint64
	Compactions     uint64 // started to give trimmed space back
}

// Metrics returns the numbers of this moment.
func (s *Store) Metrics() Metrics {
	m := Metrics{
		Appends:        s.stats.appends.Load(),
		AppendBytes:    s.stats.appendBytes.Load(),
		Duplicates:     s.stats.duplicates.Load(),
		SequenceErrors: s.stats.sequenceErrors.Load(),
		TailHits:       s.stats.tailHits.Load(),
		TailMisses:     s.stats.tailMisses.Load(),
		Trims:          s.stats.trims.Load(),
	}
	s.mu.Lock()
	m.Partitions = len(s.partitions)
	s.mu.Unlock()
	s.tail.mu.Lock()
	m.TailBytes = s.tail.bytes
	s.tail.mu.Unlock()
	s.committer.mu.Lock()
	m.InFlightBytes, m.InFlightBatches = s.committer.inFlight, s.committer.batches
	s.committer.mu.Unlock()
	s.compactor.mu.Lock()
	m.Compactions = s.compactor.runs
	s.compactor.mu.Unlock()
	return m
}

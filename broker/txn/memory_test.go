package txn

import (
	"errors"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/storage/catalog"
)

// memStore keeps transactional ids in memory; what it writes is durable at once.
type memStore struct {
	mu   sync.Mutex
	all  map[string]catalog.Transaction
	next int64
	fail bool // nothing is saved
}

func newMemStore() *memStore { return &memStore{all: map[string]catalog.Transaction{}} }

func (s *memStore) Transactions() (list []catalog.Transaction, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.all {
		list = append(list, t)
	}
	return list, nil
}

func (s *memStore) PutTransaction(t *catalog.Transaction) (*catalog.Write, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail {
		return nil, errors.New("disk")
	}
	s.all[t.ID] = *t
	return nil, nil
}

func (s *memStore) DeleteTransaction(id string) (*catalog.Write, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, id)
	return nil, nil
}

func (s *memStore) PutTxnAddition(a *catalog.TxnAddition) (*catalog.Write, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail {
		return nil, errors.New("disk")
	}
	s.all[a.ID] = added(s.all[a.ID], a)
	return nil, nil
}

// added is a transaction as it is read after an addition.
func added(t catalog.Transaction, a *catalog.TxnAddition) catalog.Transaction {
	t.Partitions = append(slices.Clone(t.Partitions), a.Partitions...)
	t.Groups = append(slices.Clone(t.Groups), a.Groups...)
	t.Additions = a.Number + 1
	return t
}

func (s *memStore) EndTransaction(_ *pebble.Batch, t *catalog.Transaction, _ int64, _ int) error {
	_, err := s.PutTransaction(t)
	return err
}

func (s *memStore) NextProducerID() (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	return s.next, nil
}

func (s *memStore) state(id string) catalog.TxnState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[id].State
}

// memMarkers notes what is written; it can be held up and can fail.
type memMarkers struct {
	mu    sync.Mutex
	ends  []End
	fail  int // so many times
	gate  chan struct{}
	calls int
}

func (m *memMarkers) WriteMarkers(end *End, extra func(*pebble.Batch) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.calls++
	if gate := m.gate; gate != nil {
		m.mu.Unlock()
		<-gate
		m.mu.Lock()
	}
	if m.fail > 0 {
		m.fail--
		return errors.New("disk")
	}
	m.ends = append(m.ends, *end)
	return extra(nil)
}

func (m *memMarkers) called() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls
}

// memGroups notes which offsets are ended.
type memGroups struct {
	mu  sync.Mutex
	log []string
}

func (g *memGroups) EndOffsets(_ int64, groups []string, commit bool) (func(*pebble.Batch) error, func(bool)) {
	note := func(s string) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.log = append(g.log, s)
	}
	note("hold " + groups[0])
	return func(*pebble.Batch) error {
			note(map[bool]string{true: "commit", false: "abort"}[commit])
			return nil
		}, func(durable bool) {
			note(map[bool]string{true: "durable", false: "failed"}[durable])
		}
}

func (g *memGroups) noted() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.log)
}

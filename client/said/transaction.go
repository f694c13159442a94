package said

import (
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/storage/memory"
)

// transaction holds what an abort puts back.
type transaction struct {
	before map[touched]former
}

type touched struct {
	partition int32
	key       string
}

// former is a row as it was before the transaction; its value aliases the table.
type former struct {
	exists bool
	value  []byte
}

func (t *transaction) remember(partition int32, table *memory.Table, key []byte) {
	if _, ok := t.before[touched{partition, string(key)}]; ok {
		return
	}
	row, ok := table.Get(key)
	t.before[touched{partition, string(key)}] = former{ok, row.Value}
}

// BeginTransaction says that what is said from here on is of a transaction.
func (s *State) BeginTransaction() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.txn == nil {
		s.txn = &transaction{map[touched]former{}}
	}
}

// EndTransaction ends the transaction: what was said in it stays, or never was.
func (s *State) EndTransaction(commit bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.txn == nil {
		return
	}
	marked := map[int32]bool{}
	for key, was := range s.txn.before {
		marked[key.partition] = true
		if !commit {
			s.putBackLocked(key, was)
		}
	}
	for no := range marked {
		s.parts[no].since.Markers++
	}
	s.txn = nil
}

func (s *State) putBackLocked(key touched, was former) {
	p := s.parts[key.partition]
	r := batch.Record{Key: []byte(key.key)} // deletes
	if was.exists {
		r.Value, r.Headers = append([]byte{}, was.value...), s.kind.RowHeaders(false, nil)
		p.exact = false // the row has another number now
	}
	s.foldLocked(p, r)
}

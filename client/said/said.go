package said

import (
	"fmt"
	"iter"
	"sync"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/memory"
)

// State is what a producer has said of a topic. All methods may be called beside each other; but one Moment is looked at at a time.
type State struct {
	kind fold.Kind

	mu sync.Mutex
	// Guarded by mu.
	parts  []*part
	waves  []*wave // oldest first; the last is the one that records go to now
	handed uint64
	txn    *transaction // nil: none is open
	err    error        // the state lacks something that was said
	record [1]batch.Record
}

// part is the state of one partition.
type part struct {
	table  *memory.Table
	next   int64 // number of the next record
	places places
	start  int64 // log start that the rows respect
	exact  bool  // it is known which rows the log start has passed
	moved  bool  // it has moved since the state was loaded

	incarnation [16]byte
	floor       int64 // where the log stands with all of the waves that are no longer kept
	since       Since
}

// Since is what happened in a partition since the state was last known to be the log's.
type Since struct {
	Base    int64 // where the log stood then
	Handed  int64 // records said
	Acked   int64 // and acknowledged
	Failed  int64 // and failed
	Markers int64 // transactions ended
	Vague   bool  // not all acknowledgements had an offset
	Err     error // of the last failure
}

// New begins with a table of each partition, in order, at the cut of its frame; starts are the log starts that they respect. The tables belong to the
// state from here on.
func New(tables []*memory.Table, starts []int64) *State {
	return &State{kind: tables[0].Fold(), parts: newParts(tables, starts), waves: []*wave{newWave(len(tables))}}
}

func newParts(tables []*memory.Table, starts []int64) (parts []*part) {
	for i, t := range tables {
		at := t.Position()
		parts = append(parts, &part{
			table: t, next: at, places: newPlaces(at), start: starts[i], exact: true,
			incarnation: t.Identity().Incarnation, floor: at, since: Since{Base: at},
		})
	}
	return parts
}

// Begin begins anew, with as many tables.
func (s *State) Begin(tables []*memory.Table, starts []int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(tables) != len(s.parts) {
		return fmt.Errorf("there are %d partitions, and were %d", len(tables), len(s.parts))
	}
	s.parts, s.err = newParts(tables, starts), nil
	for no := range s.parts {
		s.forgetEndsLocked(no)
	}
	s.handed++ // no moment is quiet that was before
	return nil
}

// Home is the partition in which a key was said; first, if it is in that one or in none.
func (s *State) Home(key []byte, first int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if first >= 0 && first < len(s.parts) && s.parts[first].has(key) {
		return first
	}
	for no, p := range s.parts {
		if p.has(key) {
			return no
		}
	}
	return first
}

func (p *part) has(key []byte) bool {
	_, ok := p.table.Get(key)
	return ok
}

// Partitions is their number.
func (s *State) Partitions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.parts)
}

// Word is a record that was said.
type Word struct {
	partition int32
	number    int64
	wave      *wave
}

// Say folds a record into the state; its offset is ignored. Settle must follow.
func (s *State) Say(partition int32, r batch.Record) Word {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.parts[partition]
	if s.txn != nil {
		s.txn.remember(partition, p.table, r.Key)
	}
	w := Word{partition, p.next, s.waves[len(s.waves)-1]}
	s.foldLocked(p, r)
	w.wave.open++
	s.handed++
	p.since.Handed++
	return w
}

func (s *State) foldLocked(p *part, r batch.Record) {
	r.Offset = p.next
	p.next++
	s.record[0] = r
	if err := p.table.Apply(s.record[:], p.next, nil); err != nil {
		s.err = err
	}
}

// Settle tells what became of a record: the offset at which it was acknowledged (-1: not known), or the error with which it failed.
func (s *State) Settle(w Word, offset int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.parts[w.partition]
	switch {
	case err != nil:
		p.since.Failed++
		p.since.Err = err
	case offset < 0:
		p.since.Acked++
		p.since.Vague, p.exact = true, false
	default:
		p.since.Acked++
		passed := offset < p.start // before it was acknowledged: moments since then have a row that the log has not
		p.exact = p.places.add(w.number, offset) && !passed && p.exact
		w.wave.ends[w.partition] = max(w.wave.ends[w.partition], offset+1)
	}
	w.wave.settle()
}

// Expire lets the rows go that a log start has passed, where it is known which these are.
func (s *State) Expire(partition int32, start int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.parts[partition]
	if start <= p.start {
		return
	}
	p.start, p.moved = start, true
	if p.exact {
		p.table.Expire(p.places.number(start), nil)
	}
}

// Standing is what a comparison of a partition has to know.
type Standing struct {
	Since
	Incarnation [16]byte
	Start       int64
	// Exact: the rows that expired are known, and nothing can have been folded onto one of them. Else a difference may be due to that.
	Exact bool
}

// Standing of a partition.
func (s *State) Standing(partition int32) Standing {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.parts[partition]
	return Standing{Since: p.since, Incarnation: p.incarnation, Start: p.start, Exact: !p.moved || s.kind.WholeValues() && p.exact}
}

// Agree says that the log, of this incarnation, had the state of a moment at an offset, and nothing else. It changes nothing where more has been said
// since.
func (s *State) Agree(m Moment, partition int32, incarnation [16]byte, at int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handed != m.handed {
		return
	}
	p := s.parts[partition]
	p.incarnation, p.floor, p.since = incarnation, at, Since{Base: at}
	s.forgetEndsLocked(int(partition))
}

// forgetEndsLocked lets the floor alone say where the log stands: the ends that are known may be those of a log that was longer.
func (s *State) forgetEndsLocked(partition int) {
	for _, w := range s.waves {
		w.ends[partition] = 0
	}
}

// Rows yields the rows of this moment, partition by partition; each time it is ranged over the same ones. They alias the state's memory: read only.
func (s *State) Rows() iter.Seq2[int32, frame.Row] {
	s.mu.Lock()
	defer s.mu.Unlock()
	var views []*memory.View
	for _, p := range s.parts {
		views = append(views, p.table.View())
	}
	return func(yield func(int32, frame.Row) bool) {
		for no, view := range views {
			for row := range view.All() {
				if !yield(int32(no), row) {
					return
				}
			}
		}
	}
}

// Moment is what was said up to a moment.
type Moment struct {
	Digests []digest.Digest // of each partition
	Open    bool            // some of it in a transaction that is open
	handed  uint64
	waves   int
	err     error
}

// Moment ends a wave of records and begins another. It takes the place of the one before.
func (s *State) Moment() Moment {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.waves) > 1 && s.waves[0].isDone() {
		for no, end := range s.waves[0].ends {
			s.parts[no].floor = max(s.parts[no].floor, end)
		}
		s.waves = s.waves[1:]
	}
	m := Moment{Open: s.txn != nil && len(s.txn.before) > 0, handed: s.handed, waves: len(s.waves), err: s.err}
	for _, p := range s.parts {
		d, _ := p.table.Digest()
		m.Digests = append(m.Digests, d)
	}
	s.waves[len(s.waves)-1].seal()
	s.waves = append(s.waves, newWave(len(s.parts)))
	return m
}

// Quiet tells whether nothing has been said since.
func (s *State) Quiet(m Moment) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.handed == m.handed
}

// Position is the offset behind the last record of a moment in a partition. ok: it is known.
func (s *State) Position(m Moment, partition int32) (at int64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.parts[partition]
	at = p.floor
	for _, w := range s.waves[:m.waves] {
		at = max(at, w.ends[partition])
	}
	return at, !p.since.Vague
}

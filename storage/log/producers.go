package log

import (
	"cmp"
	"slices"
	"time"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/storage/keys"
)

// producers are the idempotent producers of one partition and the rules of their sequences (KIP-98, KIP-360). It has no
// lock of its own: Partition.appendMu guards it.
type producers struct {
	byID     map[int64]*keys.Producer
	expired  []int64 // to be deleted on disk by the next appends
	sweptMs  int64
	expiryMs int64
	max      int
	evictAt  int // beyond so many producers it is worth it to look for some to forget
}

const (
	sweepEvery      = 10 * time.Minute
	expiredPerBatch = 256
)

func newProducers(expiry time.Duration, limit int) producers {
	return producers{byID: make(map[int64]*keys.Producer), expiryMs: expiry.Milliseconds(), max: limit, evictAt: limit}
}

// sequenced is a batch that continues its producer's sequence.
type sequenced struct {
	tracked    bool // false: not an idempotent producer
	producerID int64
	epoch      int16
	first      int32
	delta      int32 // last offset delta
	txn        bool  // transactional
	known      *keys.Producer
	window     bool // the batch continues known's epoch, and so its batches
}

// begins says whether the batch opens a transaction.
func (s sequenced) begins() bool { return s.txn && (s.known == nil || s.known.TxnFirstOffset < 0) }

// check decides about a batch: it continues the sequence, it is one of the last five (dup), or it is refused. An unknown producer may start
// anywhere, or fromZero.
func (ps *producers) check(b batch.Batch, nowMs int64, fromZero bool) (s sequenced, dup *keys.ProducerBatch, err error) {
	id := b.ProducerID()
	if id < 0 || b.BaseSequence() < 0 { // control batches have a producer and no sequence
		return s, nil, nil
	}
	s = sequenced{tracked: true, producerID: id, epoch: b.ProducerEpoch(), first: b.BaseSequence(), delta: b.LastOffsetDelta(), txn: b.IsTransactional()}
	state := ps.byID[id]
	if state == nil || ps.isExpired(state, nowMs) {
		if fromZero && s.first != 0 {
			return s, nil, &SequenceError{Kind: OutOfOrder, ProducerID: id, Epoch: s.epoch, LastEpoch: -1, Sequence: s.first, Want: 0}
		}
		return s, nil, nil
	}
	s.known = state
	want := nextSequence(state)
	refuse := func(kind SequenceKind, want int32) (sequenced, *keys.ProducerBatch, error) {
		return s, nil, &SequenceError{Kind: kind, ProducerID: id, Epoch: s.epoch, LastEpoch: state.Epoch, Sequence: s.first, Want: want}
	}
	switch {
	case s.epoch < state.Epoch:
		return refuse(StaleEpoch, want)
	case s.epoch > state.Epoch:
		if s.first != 0 {
			return refuse(OutOfOrder, 0)
		}
		if state.TxnFirstOffset >= 0 && !s.txn {
			return refuse(InTransaction, 0)
		}
		return s, nil, nil // the window starts anew
	}
	for i := range state.Batches[:state.Count] {
		if x := state.Batches[i]; x.FirstSequence == s.first && x.LastOffsetDelta == s.delta {
			return s, &x, nil
		}
	}
	if s.first != want {
		oldest := state.Batches[0].FirstSequence
		// Only with a full window is it sure that there was something before; a client takes 46 for "written already".
		if state.Count == keys.ProducerBatches && behind(addSequence(s.first, s.delta), oldest) {
			return refuse(DuplicateTooOld, want)
		}
		return refuse(OutOfOrder, want)
	}
	if state.TxnFirstOffset >= 0 && !s.txn {
		return refuse(InTransaction, want)
	}
	s.window = true
	return s, nil, nil
}

// value is the producer's state after the batch.
func (s sequenced) value(baseOffset, nowMs int64) (v keys.Producer) {
	v.TxnFirstOffset, v.CoordinatorEpoch = -1, -1
	if s.known != nil {
		v = *s.known
	}
	if !s.window {
		v.Count, v.Batches = 0, [keys.ProducerBatches]keys.ProducerBatch{}
	}
	v.Epoch, v.LastMs = s.epoch, nowMs
	if s.begins() {
		v.TxnFirstOffset, v.TxnSinceMs = baseOffset, nowMs
	}
	if v.Count == keys.ProducerBatches {
		copy(v.Batches[:], v.Batches[1:])
		v.Count--
	}
	v.Batches[v.Count] = keys.ProducerBatch{FirstSequence: s.first, LastOffsetDelta: s.delta, BaseOffset: baseOffset, AppendMs: nowMs}
	v.Count++
	return v
}

// overtaken says that a marker has nothing to end: no transaction is open, and the producer has a newer epoch than the marker's, or the one
// that the marker would bring. Nobody who writes in transactions gets there, but whoever writes without them, and foreign markers, may name
// any producer and any epoch.
func (ps *producers) overtaken(m Marker) bool {
	p := ps.byID[m.ProducerID]
	return p != nil && p.TxnFirstOffset < 0 && (p.Epoch > m.ProducerEpoch || m.Bumped && p.Epoch == m.ProducerEpoch)
}

// mark decides about the end of a transaction: the producer's state after it, and the first offset of the transaction, -1 if none is
// open (KIP-98, KIP-890).
func (ps *producers) mark(m Marker, nowMs int64) (v keys.Producer, first int64, refused *SequenceError) {
	v = keys.Producer{Epoch: m.ProducerEpoch, TxnFirstOffset: -1, CoordinatorEpoch: -1}
	state := ps.byID[m.ProducerID]
	if state != nil && !ps.isExpired(state, nowMs) {
		v = *state
		late := m.ProducerEpoch < v.Epoch || m.Bumped && m.ProducerEpoch == v.Epoch
		refuse := &SequenceError{ProducerID: m.ProducerID, Epoch: m.ProducerEpoch, LastEpoch: v.Epoch, Sequence: -1, Want: -1}
		if late {
			refuse.Kind = StaleEpoch
			return v, -1, refuse
		}
		if m.CoordinatorEpoch < v.CoordinatorEpoch && m.Foreign {
			refuse.Kind = StaleCoordinator
			return v, -1, refuse
		}
		m.CoordinatorEpoch = max(m.CoordinatorEpoch, v.CoordinatorEpoch)
	}
	first = v.TxnFirstOffset
	if m.ProducerEpoch != v.Epoch { // the window starts anew, and at sequence 0
		v.Epoch, v.Count, v.Batches = m.ProducerEpoch, 0, [keys.ProducerBatches]keys.ProducerBatch{}
	}
	v.CoordinatorEpoch, v.TxnFirstOffset, v.TxnSinceMs, v.LastMs = m.CoordinatorEpoch, -1, 0, nowMs
	return v, first, nil
}

// commit remembers the batch.
func (ps *producers) commit(s sequenced, baseOffset, nowMs int64) {
	if s.tracked {
		ps.set(s.producerID, s.value(baseOffset, nowMs))
	}
}

func (ps *producers) set(id int64, v keys.Producer) {
	if p := ps.byID[id]; p != nil {
		*p = v
		return
	}
	ps.byID[id] = &v
	if len(ps.byID) > ps.evictAt {
		ps.evict()
	}
}

// evict forgets the producers that have been silent longest, until there is room for a sixteenth part; those in a transaction stay. It looks at all of them, so
// it is not done again before there are as many new ones, be it that all are in transactions.
func (ps *producers) evict() {
	var ids []int64
	for id, p := range ps.byID {
		if p.TxnFirstOffset < 0 {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, func(a, b int64) int {
		return cmp.Or(cmp.Compare(ps.byID[a].LastMs, ps.byID[b].LastMs), cmp.Compare(a, b))
	})
	for _, id := range ids[:min(len(ids), len(ps.byID)-ps.max+ps.max/16)] {
		delete(ps.byID, id)
		ps.expired = append(ps.expired, id)
	}
	ps.evictAt = max(ps.max, len(ps.byID)+ps.max/16)
}

// takeExpired returns producers whose stored state is to be deleted with this append.
func (ps *producers) takeExpired(nowMs int64) []int64 {
	if nowMs-ps.sweptMs >= sweepEvery.Milliseconds() {
		ps.sweptMs = nowMs
		for id, p := range ps.byID {
			if ps.isExpired(p, nowMs) {
				delete(ps.byID, id)
				ps.expired = append(ps.expired, id)
			}
		}
	}
	n := min(len(ps.expired), expiredPerBatch)
	if n == 0 {
		return nil
	}
	taken := ps.expired[:n:n]
	if ps.expired = ps.expired[n:]; len(ps.expired) == 0 {
		ps.expired = nil
	}
	return taken
}

func (ps *producers) isExpired(p *keys.Producer, nowMs int64) bool {
	return p.TxnFirstOffset < 0 && nowMs-p.LastMs >= ps.expiryMs
}

func (ps *producers) describe(nowMs int64) []ProducerState {
	list := make([]ProducerState, 0, len(ps.byID))
	for id, p := range ps.byID {
		if ps.isExpired(p, nowMs) {
			continue
		}
		x := ProducerState{ProducerID: id, Epoch: p.Epoch, LastSequence: -1, LastOffset: -1, AppendTimeMs: p.LastMs,
			TxnFirstOffset: p.TxnFirstOffset, CoordinatorEpoch: p.CoordinatorEpoch}
		if p.Count > 0 {
			last := p.Batches[p.Count-1]
			x.LastSequence = addSequence(last.FirstSequence, last.LastOffsetDelta)
			x.LastOffset = last.BaseOffset + int64(last.LastOffsetDelta)
		}
		list = append(list, x)
	}
	slices.SortFunc(list, func(a, b ProducerState) int { return cmp.Compare(a.ProducerID, b.ProducerID) })
	return list
}

// nextSequence is the sequence that continues the producer's batches; after a marker that began its epoch the first one.
func nextSequence(p *keys.Producer) int32 {
	if p.Count == 0 {
		return 0
	}
	last := p.Batches[p.Count-1]
	return addSequence(last.FirstSequence, last.LastOffsetDelta+1)
}

// addSequence adds in the ring of sequences, 0 to 2^31-1.
func addSequence(sequence, n int32) int32 {
	return int32((uint32(sequence) + uint32(n)) & 0x7fffffff)
}

// behind says whether a comes before b on the shorter way round the ring.
func behind(a, b int32) bool {
	d := (uint32(b) - uint32(a)) & 0x7fffffff
	return d != 0 && d < 1<<30
}

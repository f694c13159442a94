package log

import (
	"cmp"
	"maps"
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
}

const (
	sweepEvery      = 10 * time.Minute
	expiredPerBatch = 256
)

func newProducers(expiry time.Duration, limit int) producers {
	return producers{byID: make(map[int64]*keys.Producer), expiryMs: expiry.Milliseconds(), max: limit}
}

// sequenced is a batch that continues its producer's sequence.
type sequenced struct {
	tracked    bool // false: not an idempotent producer
	producerID int64
	epoch      int16
	first      int32
	delta      int32 // last offset delta
	known      *keys.Producer
}

// check decides about a batch: it continues the sequence, it is one of the last five (dup), or it is refused.
func (ps *producers) check(b batch.Batch, nowMs int64) (s sequenced, dup *keys.ProducerBatch, err error) {
	id := b.ProducerID()
	if id < 0 || b.BaseSequence() < 0 { // control batches have a producer and no sequence
		return s, nil, nil
	}
	s = sequenced{tracked: true, producerID: id, epoch: b.ProducerEpoch(), first: b.BaseSequence(), delta: int32(b.LastOffset() - b.BaseOffset())}
	state := ps.byID[id]
	if state == nil || ps.isExpired(state, nowMs) {
		return s, nil, nil // an unknown producer may start anywhere
	}
	last := state.Batches[state.Count-1]
	want := addSequence(last.FirstSequence, last.LastOffsetDelta+1)
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
	s.known = state
	return s, nil, nil
}

// value is the producer's state after the batch.
func (s sequenced) value(baseOffset, nowMs int64) (v keys.Producer) {
	if s.known != nil {
		v = *s.known
	}
	v.Epoch = s.epoch
	if v.Count == keys.ProducerBatches {
		copy(v.Batches[:], v.Batches[1:])
		v.Count--
	}
	v.Batches[v.Count] = keys.ProducerBatch{FirstSequence: s.first, LastOffsetDelta: s.delta, BaseOffset: baseOffset, AppendMs: nowMs}
	v.Count++
	return v
}

// commit remembers the batch.
func (ps *producers) commit(s sequenced, baseOffset, nowMs int64) {
	if !s.tracked {
		return
	}
	v := s.value(baseOffset, nowMs)
	if p := ps.byID[s.producerID]; p != nil {
		*p = v
		return
	}
	ps.byID[s.producerID] = &v
	if len(ps.byID) > ps.max {
		ps.evict()
	}
}

// evict forgets the sixteenth part of the producers that has been silent longest.
func (ps *producers) evict() {
	ids := slices.SortedFunc(maps.Keys(ps.byID), func(a, b int64) int {
		return cmp.Or(cmp.Compare(lastAppendMs(ps.byID[a]), lastAppendMs(ps.byID[b])), cmp.Compare(a, b))
	})
	for _, id := range ids[:1+ps.max/16] {
		delete(ps.byID, id)
		ps.expired = append(ps.expired, id)
	}
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
	return nowMs-lastAppendMs(p) >= ps.expiryMs
}

func (ps *producers) describe(nowMs int64) []ProducerState {
	list := make([]ProducerState, 0, len(ps.byID))
	for id, p := range ps.byID {
		if ps.isExpired(p, nowMs) {
			continue
		}
		last := p.Batches[p.Count-1]
		list = append(list, ProducerState{ProducerID: id, Epoch: p.Epoch, LastSequence: addSequence(last.FirstSequence, last.LastOffsetDelta),
			LastOffset: last.BaseOffset + int64(last.LastOffsetDelta), AppendTimeMs: last.AppendMs, TxnFirstOffset: -1, CoordinatorEpoch: -1})
	}
	slices.SortFunc(list, func(a, b ProducerState) int { return cmp.Compare(a.ProducerID, b.ProducerID) })
	return list
}

func lastAppendMs(p *keys.Producer) int64 { return p.Batches[p.Count-1].AppendMs }

// addSequence adds in the ring of sequences, 0 to 2^31-1.
func addSequence(sequence, n int32) int32 {
	return int32((uint32(sequence) + uint32(n)) & 0x7fffffff)
}

// behind says whether a comes before b on the shorter way round the ring.
func behind(a, b int32) bool {
	d := (uint32(b) - uint32(a)) & 0x7fffffff
	return d != 0 && d < 1<<30
}

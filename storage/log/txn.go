package log

import (
	"cmp"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/storage/keys"
)

// Marker ends a transaction: a control record in each of its partitions.
type Marker struct {
	ProducerID       int64
	ProducerEpoch    int16 // the producer's from here on
	CoordinatorEpoch int32
	Commit           bool // false: abort

	// Bumped: the epoch is higher than that of the transaction's batches, as in transaction.version 2 (KIP-890). A marker with the epoch
	// that the partition has already is then one too late.
	Bumped bool
	// Foreign: the marker is not of this process's coordinator, which alone decides how transactions end. It is refused where an epoch is
	// newer, also if there is nothing to end, and written to the other partitions (Appended.Refused); the coordinator's own must never hang
	// on what a foreign one has left behind.
	Foreign bool
}

// OpenTxn is a transaction of one partition that has no marker yet. It holds the last stable offset at FirstOffset.
type OpenTxn struct {
	ProducerID  int64
	Epoch       int16
	FirstOffset int64
	SinceMs     int64 // append time of its first batch
}

// txn is a transaction that holds the last stable offset: until its marker is durable.
type txn struct {
	OpenTxn
	end int64 // the offset after its marker; -1: it has none
}

// marking is a marker on its way into one partition.
type marking struct {
	p       *Partition
	b       batch.Batch
	nowMs   int64
	epoch   bool // the first append of this run's leader epoch
	state   keys.Producer
	aborted *keys.AbortedTxn // nil: a commit, or no transaction was open
}

// AppendMarkers ends a transaction in all its partitions, with one Pebble batch that also takes what extra writes (nil: nothing): a
// crash leaves all of it or none. partitions may be empty, and one that was dropped is left out. A partition without an open transaction
// of the producer gets the marker all the same, as in Kafka: it makes the epoch known there. Where a newer epoch is known and no
// transaction is open there is nothing to end: it is left out, too, so that it holds nothing up. Appended completes when the batch is
// durable and every partition's high watermark and last stable offset have moved; it has no offsets.
//
// The reserve of the disk is not asked: what ends a transaction is what lets space be freed.
//
// Errors, and nothing was written then: *SequenceError (StaleEpoch; of a Foreign marker see Appended.Refused), ErrClosed, ErrFailed, extra's.
func (s *Store) AppendMarkers(partitions []*Partition, m Marker, extra func(*pebble.Batch) error) (*Appended, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.uses.Done()
	pb := s.db.NewBatch()
	if extra != nil {
		if err := extra(pb); err != nil { // before any lock is taken
			_ = pb.Close()
			return nil, err
		}
	}
	// Appends hold one such lock at a time, so with an order among those who hold several nobody waits in a circle.
	partitions = slices.SortedFunc(slices.Values(partitions), func(a, b *Partition) int { return cmp.Compare(a.id, b.id) })
	partitions = slices.Compact(partitions)
	bytes := len(partitions) * batch.EndTxnSize
	if err := s.committer.acquire(bytes); err != nil {
		_ = pb.Close()
		return nil, err
	}
	a, marks, err := s.appendMarkers(partitions, m, pb, bytes)
	if err != nil {
		_ = pb.Close()
		s.committer.release(bytes)
		s.stats.refused(err)
		return nil, err
	}
	for _, err := range a.Refused {
		s.stats.refused(err)
	}
	for _, x := range marks {
		s.tail.account(x.p, len(x.b))
	}
	s.stats.appends.Add(uint64(len(marks)))
	s.stats.appendBytes.Add(uint64(len(marks) * batch.EndTxnSize))
	s.compactor.appended(len(marks) * batch.EndTxnSize)
	return a, nil
}

// appendMarkers does what has to happen in the order of the logs, under the append locks of all partitions, none of which is held across
// a sync.
func (s *Store) appendMarkers(partitions []*Partition, m Marker, pb *pebble.Batch, bytes int) (*Appended, []marking, error) {
	for _, p := range partitions {
		p.appendMu.Lock()
		defer p.appendMu.Unlock()
	}
	marks := make([]marking, 0, len(partitions))
	var refused []*SequenceError
	for _, p := range partitions {
		if p.writer.closed || !m.Foreign && p.producers.overtaken(m) {
			continue
		}
		x, err := p.mark(m)
		switch {
		case err == nil:
		case m.Foreign:
			refused = append(refused, err)
			continue
		default:
			return nil, nil, err
		}
		p.encodeMarker(pb, x)
		marks = append(marks, x)
	}
	if err := s.db.ApplyNoSyncWait(pb, pebble.Sync); err != nil {
		return nil, nil, err // as in appendOrdered
	}
	done := &completion{ch: make(chan struct{})}
	head := &pending{batch: pb, total: bytes, done: done}
	at := head
	for i, x := range marks {
		if i > 0 {
			at.next = &pending{done: done}
			at = at.next
		}
		x.p.marked(x, at)
	}
	s.committer.enqueue(head)
	return &Appended{BaseOffset: -1, LastOffset: -1, LogStart: -1, AppendTimeMs: s.cfg.Now().UnixMilli(), Refused: refused, done: done}, marks, nil
}

// mark decides about a marker, as ProducerAppendInfo of Kafka does.
func (p *Partition) mark(m Marker) (x marking, refused *SequenceError) {
	w := &p.writer
	x = marking{p: p, nowMs: max(w.appendMs, p.store.cfg.Now().UnixMilli()), epoch: p.epochs.last() != p.store.cfg.LeaderEpoch}
	var first int64
	x.state, first, refused = p.producers.mark(m, x.nowMs)
	if refused != nil {
		refused.Partition = p.id
		return x, refused
	}
	x.b = batch.EndTxn{ProducerID: m.ProducerID, ProducerEpoch: m.ProducerEpoch, CoordinatorEpoch: m.CoordinatorEpoch, Commit: m.Commit}.Batch(x.nowMs)
	x.b.Stamp(w.next, p.store.cfg.LeaderEpoch)
	if first >= 0 && !m.Commit {
		x.aborted = &keys.AbortedTxn{ProducerID: m.ProducerID, FirstOffset: first, LastStable: p.stableWithout(m.ProducerID, x.b.NextOffset())}
	}
	return x, nil
}

// stableWithout is where the last stable offset will lie when the producer's transaction has ended at end and that is durable.
func (p *Partition) stableWithout(producerID, end int64) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, t := range p.txns {
		if t.end < 0 && t.ProducerID != producerID {
			return t.FirstOffset
		}
	}
	return end
}

func (p *Partition) encodeMarker(pb *pebble.Batch, x marking) {
	p.encodeBatch(pb, x.b, x.nowMs, x.epoch)
	id := uint32(p.id)
	producerID, offset := x.b.ProducerID(), x.b.BaseOffset()
	must(pb.Set(keys.ProducerKey(nil, id, producerID), x.state.Append(nil), nil))
	if x.aborted != nil {
		must(pb.Set(keys.Aborted(nil, id, offset), x.aborted.Append(nil), nil))
	}
}

// marked remembers what was applied; pend becomes its part of what the committer waits for.
func (p *Partition) marked(x marking, pend *pending) {
	p.producers.set(x.b.ProducerID(), x.state)
	pend.p, pend.base, pend.end, pend.bytes, pend.maxTimestamp, pend.marker = p, x.b.BaseOffset(), x.b.NextOffset(), len(x.b), x.b.MaxTimestamp(), true
	p.written(x.b, pend, x.nowMs, x.epoch, func() {
		for i := range p.txns {
			if t := &p.txns[i]; t.ProducerID == x.b.ProducerID() && t.end < 0 {
				t.end = pend.end
			}
		}
		if x.aborted != nil {
			p.lastAborted = pend.base
		}
	})
}

// endTxnsLocked forgets the transactions whose markers are durable.
func (p *Partition) endTxnsLocked() {
	synced := p.state.bounds.Synced
	p.txns = slices.DeleteFunc(p.txns, func(t txn) bool { return t.end >= 0 && t.end <= synced })
}

// moveStableLocked puts the last stable offset where it belongs: at the first offset of the oldest transaction that has no durable
// marker, else at the end of what is synced.
func (p *Partition) moveStableLocked() {
	b := &p.state.bounds
	stable := b.Synced
	if len(p.txns) > 0 {
		stable = min(stable, p.txns[0].FirstOffset)
	}
	// Records may be gone: DeleteRecords stops neither at open transactions nor at what is synced. What is only hidden from consumers is
	// still folded.
	b.LastStable = max(stable, min(b.DeltaStart, b.HighWatermark))
}

// OpenTxns returns the transactions that are open at this moment, oldest first.
func (p *Partition) OpenTxns() []OpenTxn {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []OpenTxn
	for _, t := range p.txns {
		if t.end < 0 {
			list = append(list, t.OpenTxn)
		}
	}
	return list
}

package log

import (
	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/storage/keys"
)

// Append writes one batch at the end of the partition and returns when its order is fixed; Appended.Done tells when it is
// durable and visible, or, after ShowUnsynced, at once. The batch must have passed batch.Validate. Its bytes belong to the log from here on: they are
// stamped with base offset and leader epoch, and readers get them.
//
// A batch that is one of its producer's last five is not written again: the answer has the offsets of the original and
// waits for the original's sync. The first batch with the transactional bit opens its producer's transaction: LastStable stays at its
// first offset until the marker is durable, see Store.AppendMarkers.
//
// Errors: *SequenceError, ErrClosed, ErrFailed, or what Config.Reserve says (disk full); nothing was written then.
func (p *Partition) Append(b batch.Batch) (*Appended, error) { return p.append(b, Terms{}) }

// Terms are what may be different about an append.
type Terms struct {
	// StampTime is for message.timestamp.type=LogAppendTime (KIP-32): the batch's timestamps become its append time,
	// Appended.AppendTimeMs, which is taken where the order is decided. They never go back in a partition.
	StampTime bool
	// FromZero has a producer that the partition does not know begin at sequence 0, which is safe where its epoch is another in each
	// transaction (KIP-890). Else, of batches that were sent one after the other, the second would be taken after the first was refused.
	FromZero bool
}

// AppendOn is Append on other terms.
func (p *Partition) AppendOn(terms Terms, b batch.Batch) (*Appended, error) {
	return p.append(b, terms)
}

func (p *Partition) append(b batch.Batch, terms Terms) (*Appended, error) {
	s := p.store
	if err := s.cfg.Reserve.Admit(len(b)); err != nil {
		return nil, p.wrap(err)
	}
	if err := s.enter(); err != nil {
		return nil, p.wrap(err)
	}
	defer s.uses.Done()
	if err := s.committer.acquire(len(b)); err != nil {
		return nil, p.wrap(err)
	}
	a, written, err := p.appendOrdered(b, terms)
	if !written {
		s.committer.release(len(b))
		s.stats.refused(err)
		return a, err
	}
	s.tail.account(p, len(b))
	s.stats.appends.Add(1)
	s.stats.appendBytes.Add(uint64(len(b)))
	s.compactor.appended(len(b))
	if a.done == s.committer.completed {
		p.notify() // visible without the committer
	}
	return a, err
}

// appendOrdered does what has to happen in the order of the log. written: the append was handed to the committer.
func (p *Partition) appendOrdered(b batch.Batch, terms Terms) (a *Appended, written bool, err error) {
	p.appendMu.Lock()
	defer p.appendMu.Unlock()
	if p.writer.closed {
		return nil, false, p.wrap(ErrClosed)
	}
	w := p.writer
	nowMs := max(w.appendMs, p.store.cfg.Now().UnixMilli())
	seq, dup, err := p.producers.check(b, nowMs, terms.FromZero)
	if err != nil {
		err.(*SequenceError).Partition = p.id
		return nil, false, err
	}
	if dup != nil {
		return p.duplicate(*dup), false, nil
	}
	b.Stamp(w.next, p.store.cfg.LeaderEpoch)
	if terms.StampTime {
		b.StampAppendTime(nowMs)
	}
	newEpoch := p.epochs.last() != p.store.cfg.LeaderEpoch // only appends change it, so appendMu is enough to look
	pb := p.encode(b, nowMs, newEpoch, seq)
	if err := p.store.db.ApplyNoSyncWait(pb, pebble.Sync); err != nil {
		// Nothing of it is visible, and Pebble's commit pipeline is broken: the next append or sync will say so.
		return nil, false, p.wrap(err)
	}
	pend := &pending{p: p, batch: pb, total: len(b), base: w.next, end: b.NextOffset(), bytes: len(b), maxTimestamp: b.MaxTimestamp(),
		done: &completion{ch: make(chan struct{})}}
	logStart, shown := p.written(b, pend, nowMs, newEpoch, func() {
		if seq.begins() {
			p.txns = append(p.txns, txn{OpenTxn: OpenTxn{seq.producerID, seq.epoch, w.next, nowMs}, end: -1})
		}
	})
	p.producers.commit(seq, pend.base, nowMs) // begins has looked at what this changes
	p.store.committer.enqueue(pend)           // still under appendMu: the committer sees a partition's appends in their order
	done := pend.done
	if shown {
		done = p.store.committer.completed
	}
	return &Appended{BaseOffset: pend.base, LastOffset: pend.end - 1, LogStart: logStart, AppendTimeMs: nowMs, done: done}, true, nil
}

// written remembers a batch that Pebble has applied; more does it under the lock for what is not the same for all batches. The caller
// holds appendMu until the batch is with the committer.
func (p *Partition) written(b batch.Batch, pend *pending, nowMs int64, newEpoch bool, more func()) (logStart int64, shown bool) {
	w := &p.writer
	w.metaWritten = true
	w.next = pend.end
	w.appendMs = nowMs
	w.maxTimestamp = max(w.maxTimestamp, pend.maxTimestamp)
	w.bytes += int64(len(b))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state.bounds.LogEnd = pend.end
	if newEpoch {
		p.epochs.add(p.store.cfg.LeaderEpoch, pend.base)
	}
	p.pending = append(p.pending, pend)
	if p.store.tail.limit > 0 && !p.closed {
		p.tail.push(b)
	}
	more()
	if p.unsynced {
		p.showPendingLocked()
	}
	return p.state.bounds.LogStart, pend.shown
}

// encode puts everything that one append writes into one Pebble batch.
func (p *Partition) encode(b batch.Batch, nowMs int64, newEpoch bool, seq sequenced) *pebble.Batch {
	const overhead = 512 // keys, the small values and the headers of six operations
	id := uint32(p.id)
	pb := p.store.db.NewBatchWithSize(len(b)+overhead, pebble.WithMaxRetainedSizeBytes(4<<20))
	p.encodeBatch(pb, b, nowMs, newEpoch)
	var key [keys.OffsetKeyLen]byte
	var val [keys.ProducerLenMax]byte
	if seq.tracked {
		value := seq.value(p.writer.next, nowMs)
		must(pb.Set(keys.ProducerKey(key[:0], id, seq.producerID), value.Append(val[:0]), nil))
	}
	for _, pid := range p.producers.takeExpired(nowMs) {
		if p.producers.byID[pid] != nil || seq.tracked && pid == seq.producerID {
			continue // it is back
		}
		must(pb.Delete(keys.ProducerKey(key[:0], id, pid), nil))
	}
	return pb
}

// encodeBatch writes the batch and what the partition keeps beside each.
func (p *Partition) encodeBatch(pb *pebble.Batch, b batch.Batch, nowMs int64, newEpoch bool) {
	w := &p.writer
	id := uint32(p.id)
	op := pb.SetDeferred(keys.OffsetKeyLen, len(b))
	keys.Batch(op.Key[:0], id, w.next)
	copy(op.Value, b)
	must(op.Finish())
	var key, val [64]byte
	if !w.metaWritten {
		meta := keys.Part{Incarnation: p.incarnation}
		must(pb.Set(keys.Partition(key[:0], keys.SpacePart, id), meta.Append(val[:0]), nil))
	}
	if newEpoch {
		must(pb.Set(keys.Epoch(key[:0], id, p.store.cfg.LeaderEpoch), keys.AppendInt64(val[:0], w.next), nil))
	}
	if nowMs != w.appendMs || w.next == 0 {
		entry := keys.TimeEntry{AppendMs: nowMs, MaxTimestamp: w.maxTimestamp, BytesBefore: w.bytes}
		must(pb.Set(keys.Time(key[:0], id, w.next), entry.Append(val[:0]), nil))
	}
}

// must holds for writes into a batch in memory: Pebble has them return errors only when the batch was applied already.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func (p *Partition) duplicate(d keys.ProducerBatch) *Appended {
	p.mu.Lock()
	defer p.mu.Unlock()
	done := p.store.committer.completed
	for _, a := range p.pending {
		if a.base == d.BaseOffset && !a.shown {
			done = a.done
			break
		}
	}
	return &Appended{BaseOffset: d.BaseOffset, LastOffset: d.BaseOffset + int64(d.LastOffsetDelta), LogStart: p.state.bounds.LogStart,
		AppendTimeMs: d.AppendMs, Duplicate: true, done: done}
}

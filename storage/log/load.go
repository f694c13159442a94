package log

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/storage/catalog"
	"github.com/keyframelog/keyframe/storage/keys"
)

// load reads what a partition needs in memory. It touches a handful of keys and the producers, never the log.
func (s *Store) load(id PartitionID, meta catalog.Partition) (*Partition, error) {
	p := &Partition{
		store:       s,
		id:          id,
		incarnation: meta.Incarnation,
		trimming:    make(chan struct{}, 1),
		writer:      writerState{appendMs: math.MinInt64, maxTimestamp: noTimestamp},
		producers:   newProducers(s.cfg.ProducerExpiry, s.cfg.MaxProducers),
		state:       state{lastBase: -1, maxTimestamp: noTimestamp},
	}
	found, err := p.loadMeta()
	if err != nil {
		return nil, err
	}
	if err := p.loadEnd(found); err != nil {
		return nil, err
	}
	if err := p.loadEpochs(); err != nil {
		return nil, err
	}
	if err := p.loadProducers(); err != nil {
		return nil, err
	}
	if err := p.loadAborted(); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Partition) loadMeta() (found bool, err error) {
	value, closer, err := p.store.db.Get(keys.Partition(nil, keys.SpacePart, uint32(p.id)))
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, p.corrupt(0, err)
	}
	defer closer.Close()
	part, err := keys.DecodePart(value)
	if err != nil {
		return false, p.corrupt(0, err)
	}
	if part.Incarnation != p.incarnation {
		return false, p.corrupt(0, fmt.Errorf("the log belongs to incarnation %x, the catalog says %x", part.Incarnation, p.incarnation))
	}
	p.writer.metaWritten = true
	p.state.bounds.LogStart, p.state.bounds.DeltaStart = part.LogStart, part.DeltaStart
	p.state.bytesBefore = part.BytesBefore
	return true, nil
}

// loadEnd finds the end of the log: the last batch, and from the last entry of the time index on the sums that the next
// entry continues. What lies between the two was appended within one millisecond.
func (p *Partition) loadEnd(metaFound bool) error {
	it, err := p.store.db.NewIter(p.spaceBounds(keys.SpaceBatch))
	if err != nil {
		return p.corrupt(0, err)
	}
	defer it.Close()
	if !it.Last() {
		if err := it.Error(); err != nil {
			return p.corrupt(p.state.bounds.DeltaStart, err)
		}
		if metaFound { // the last batch is never trimmed
			return p.corrupt(p.state.bounds.DeltaStart, errors.New("the log has no batches, but it had some"))
		}
		return nil
	}
	if !metaFound {
		return p.corrupt(0, errors.New("the log has batches and no bounds"))
	}
	last, err := p.stored(it)
	if err != nil {
		offset, _ := keys.OffsetOf(it.Key())
		return p.corrupt(offset, err)
	}
	end, lastBase := last.NextOffset(), last.BaseOffset()
	if p.state.bounds.LogStart > end || p.state.bounds.DeltaStart > end {
		return p.corrupt(end, fmt.Errorf("the log ends at %d, before its start %d", end, p.state.bounds.DeltaStart))
	}
	entryOffset, entry, err := p.lastTime()
	if err != nil {
		return err
	}
	// A trim within the entry's millisecond has deleted batches that its own sum knows of.
	bytes, maxTimestamp := max(entry.BytesBefore, p.state.bytesBefore), entry.MaxTimestamp
	for ok := it.SeekGE(p.keyBatch(entryOffset)); ok; ok = it.Next() {
		b, err := p.stored(it)
		if err != nil {
			offset, _ := keys.OffsetOf(it.Key())
			return p.corrupt(offset, err)
		}
		bytes += int64(len(b))
		maxTimestamp = max(maxTimestamp, b.MaxTimestamp())
	}
	if err := it.Error(); err != nil {
		return p.corrupt(entryOffset, err)
	}
	p.writer.next, p.writer.appendMs, p.writer.maxTimestamp, p.writer.bytes = end, entry.AppendMs, maxTimestamp, bytes
	p.state.lastBase, p.state.maxTimestamp, p.state.bytesEnd = lastBase, maxTimestamp, bytes
	b := &p.state.bounds
	b.HighWatermark, b.Synced, b.LogEnd = end, end, end
	return nil
}

func (p *Partition) lastTime() (offset int64, entry keys.TimeEntry, err error) {
	it, err := p.store.db.NewIter(p.spaceBounds(keys.SpaceTime))
	if err != nil {
		return 0, entry, p.corrupt(0, err)
	}
	defer it.Close()
	if !it.Last() {
		if err = it.Error(); err == nil {
			err = errors.New("the log has no index of append times")
		}
		return 0, entry, p.corrupt(0, err)
	}
	return p.timeEntry(it)
}

func (p *Partition) loadEpochs() error {
	it, err := p.store.db.NewIter(p.spaceBounds(keys.SpaceEpoch))
	if err != nil {
		return p.corrupt(0, err)
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		epoch, err := keys.EpochOf(it.Key())
		if err != nil {
			return p.corrupt(0, err)
		}
		start, err := keys.DecodeInt64(it.Value())
		if err != nil {
			return p.corrupt(0, fmt.Errorf("leader epoch %d: %w", epoch, err))
		}
		p.epochs.add(epoch, start)
	}
	if err := it.Error(); err != nil {
		return p.corrupt(0, err)
	}
	if last := p.epochs.last(); last > p.store.cfg.LeaderEpoch {
		return p.corrupt(0, fmt.Errorf("the log has leader epoch %d, later than this run's %d", last, p.store.cfg.LeaderEpoch))
	}
	return nil
}

func (p *Partition) loadProducers() error {
	it, err := p.store.db.NewIter(p.spaceBounds(keys.SpaceProducer))
	if err != nil {
		return p.corrupt(0, err)
	}
	defer it.Close()
	nowMs := p.store.cfg.Now().UnixMilli()
	for ok := it.First(); ok; ok = it.Next() {
		id, err := keys.ProducerIDOf(it.Key())
		if err != nil {
			return p.corrupt(0, err)
		}
		state, err := keys.DecodeProducer(it.Value())
		if err != nil {
			return p.corrupt(0, fmt.Errorf("producer %d: %w", id, err))
		}
		last := state.Batches[max(state.Count, 1)-1]
		if last.BaseOffset+int64(last.LastOffsetDelta) >= max(1, p.writer.next) || state.TxnFirstOffset >= p.writer.next {
			return p.corrupt(last.BaseOffset, fmt.Errorf("producer %d has appended beyond the end of the log", id))
		}
		if state.TxnFirstOffset >= 0 {
			p.txns = append(p.txns, txn{OpenTxn: OpenTxn{id, state.Epoch, state.TxnFirstOffset, state.TxnSinceMs}, end: -1})
		}
		if p.producers.isExpired(&state, nowMs) {
			p.producers.expired = append(p.producers.expired, id)
			continue
		}
		p.producers.byID[id] = &state
	}
	if err := it.Error(); err != nil {
		return p.corrupt(0, err)
	}
	if len(p.producers.byID) > p.producers.max {
		p.producers.evict()
	}
	slices.SortFunc(p.txns, func(a, b txn) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	p.moveStableLocked()
	return nil
}

func (p *Partition) spaceBounds(space byte) *pebble.IterOptions {
	return &pebble.IterOptions{
		LowerBound: keys.Partition(nil, space, uint32(p.id)),
		UpperBound: keys.PartitionEnd(nil, space, uint32(p.id)),
	}
}

package log

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

// Partition is one open partition. All methods may be called at any time from any goroutine.
type Partition struct {
	store       *Store
	id          PartitionID
	incarnation [16]byte // read under any of mu, appendMu and trimming; RenewIncarnation holds all of them to write it

	// trimming has one place: one trim at a time. A channel, because it is held across a sync.
	trimming chan struct{}

	appendMu  sync.Mutex // makes the order of appends; held while Pebble applies them, never across a sync (but by RenewIncarnation)
	writer    writerState
	producers producers

	mu       sync.Mutex // held for moments only
	unsynced bool       // see ShowUnsynced
	state    state
	epochs   epochs
	pending  []*pending // appended, not yet synced, in order
	txns     []txn      // without a durable marker, oldest first
	tail     tailRing
	watchers []*watcher // replaced, never changed
	damaged  map[int64]damageNote
	closed   bool

	lastAborted int64 // highest marker of the index of aborted transactions; -1: it is empty
}

// writerState is what the next append continues. Guarded by appendMu.
type writerState struct {
	next         int64 // log end
	appendMs     int64 // of the last batch
	maxTimestamp int64 // highest record timestamp so far; math.MinInt64: none
	bytes        int64 // of all batches ever appended
	metaWritten  bool
	closed       bool
}

// damageNote: damage is remembered for a while: for each read of a damaged block Pebble looks for the one flipped bit that explains its
// checksum: up to 320,000 checksums of the whole block, seconds for a large one, and consumers retry.
type damageNote struct {
	err     error
	untilMs int64
}

const (
	damageMs  = 60_000
	damageMax = 64 // offsets of a partition
)

// state is guarded by Partition.mu.
type state struct {
	bounds       Bounds
	lastBase     int64 // base offset of the last visible batch; -1: none
	maxTimestamp int64 // highest record timestamp below the high watermark; math.MinInt64: none
	bytesEnd     int64 // bytes of all batches ever appended below the high watermark
	bytesBefore  int64 // bytes of all batches that are gone
}

// Bounds are the offsets of a partition at one moment: LogStart and DeltaStart <= LastStable <= HighWatermark <= LogEnd. LogStart is above
// DeltaStart where HideBelow has moved it there, and otherwise at or below it.
// LastStable <= Synced <= HighWatermark, but for moments in which records are deleted that are not synced.
type Bounds struct {
	LogStart      int64 // the lowest offset that a consumer may ask for ("earliest")
	DeltaStart    int64 // N1: from here on the raw record batches are kept, below it only rows
	HighWatermark int64 // end of what is visible: Synced, or LogEnd after ShowUnsynced
	LastStable    int64 // last stable offset: below it every transaction has ended and all is synced; Synced where none is open
	Synced        int64 // end of what is synced to disk
	LogEnd        int64 // end of what is written
}

type watcher struct{ fn func() }

const noTimestamp = math.MinInt64

// ID is the partition's ordinal.
func (p *Partition) ID() PartitionID { return p.id }

// Incarnation identifies this life of the log.
func (p *Partition) Incarnation() [16]byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.incarnation
}

// RenewIncarnation makes this another life of the log: readable records of it are known to be lost, and their offsets will be used
// again. renew draws the incarnation and makes it durable (catalog.RenewIncarnation). Appends and trims, which write it as well, wait
// meanwhile. Errors: ErrClosed, the context's, renew's.
func (p *Partition) RenewIncarnation(ctx context.Context, renew func() ([16]byte, error)) ([16]byte, error) {
	select {
	case p.trimming <- struct{}{}:
		defer func() { <-p.trimming }()
	case <-ctx.Done():
		return [16]byte{}, ctx.Err()
	}
	if err := p.store.enter(); err != nil {
		return [16]byte{}, p.wrap(err)
	}
	defer p.store.uses.Done()
	p.appendMu.Lock()
	defer p.appendMu.Unlock()
	if p.writer.closed {
		return [16]byte{}, p.wrap(ErrClosed)
	}
	incarnation, err := renew()
	if err != nil {
		return [16]byte{}, p.wrap(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.incarnation = incarnation
	return incarnation, nil
}

// Bounds returns the offsets of this moment.
func (p *Partition) Bounds() Bounds {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state.bounds
}

// SizeBytes is the size of the raw batches that are kept and visible.
func (p *Partition) SizeBytes() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state.bytesEnd - p.state.bytesBefore
}

// Watch calls fn whenever the high watermark or another bound has moved, and when the partition is closed. fn runs on the
// committer's goroutine, which every partition waits for: it must not block, nor call back into the log; waking somebody
// through a channel with room is what it is for. A call may still be under way when cancel returns.
func (p *Partition) Watch(fn func()) (cancel func()) {
	w := &watcher{fn: fn}
	p.mu.Lock()
	p.watchers = append(slices.Clone(p.watchers), w)
	p.mu.Unlock()
	return func() {
		p.mu.Lock()
		p.watchers = slices.DeleteFunc(slices.Clone(p.watchers), func(x *watcher) bool { return x == w })
		p.mu.Unlock()
	}
}

func (p *Partition) notify() {
	if p == nil {
		return
	}
	p.mu.Lock()
	watchers := p.watchers
	p.mu.Unlock()
	for _, w := range watchers {
		w.fn()
	}
}

// close refuses appends and reads from now on, and forgets the tail.
func (p *Partition) close() {
	p.appendMu.Lock()
	p.writer.closed = true
	p.appendMu.Unlock()
	p.mu.Lock()
	p.closed = true
	p.tail = tailRing{}
	p.mu.Unlock()
}

// synced is called by the committer, in the order of the appends.
func (p *Partition) synced(a *pending) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.pending) > 0 && p.pending[0] == a {
		p.pending[0] = nil
		p.pending = p.pending[1:]
	}
	if a.done.err != nil {
		return
	}
	p.state.bounds.Synced = a.end
	p.showLocked(a)
	if a.marker {
		p.endTxnsLocked()
	}
	p.moveStableLocked()
}

// showLocked moves the high watermark behind a batch, unless it is there already. Batches come in their order.
func (p *Partition) showLocked(a *pending) {
	if a.shown {
		return
	}
	a.shown = true
	p.state.bounds.HighWatermark = a.end
	p.state.lastBase = a.base
	p.state.maxTimestamp = max(p.state.maxTimestamp, a.maxTimestamp)
	p.state.bytesEnd += int64(a.bytes)
}

// showPendingLocked shows everything that is written: what was appended when ShowUnsynced was false, too.
func (p *Partition) showPendingLocked() {
	first := len(p.pending)
	for first > 0 && !p.pending[first-1].shown {
		first--
	}
	for _, a := range p.pending[first:] {
		p.showLocked(a)
	}
}

// ShowUnsynced decides about the appends to come: true makes a batch visible, and Appended complete, as soon as it is written, as a
// topic with flush.messages other than 1 asks for. Every append schedules its sync as before, at once, and whoever reads up to LastStable
// still sees only what is synced; but a crash can take back what a reader at the high watermark saw and what a producer was promised.
func (p *Partition) ShowUnsynced(show bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unsynced = show
}

// ShowsUnsynced is what ShowUnsynced set last.
func (p *Partition) ShowsUnsynced() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.unsynced
}

// EpochEnd answers OffsetForLeaderEpoch (KIP-101, KIP-320): the largest epoch at or below the one asked for, and where it
// ends: at the start of the next one, or at the log end, and not the high watermark: a reader that waits in between has not read another
// log. (-1, -1) means that nothing is known, as in Kafka.
func (p *Partition) EpochEnd(epoch int32) (found int32, endOffset int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.epochs.end(epoch, p.store.cfg.LeaderEpoch, p.state.bounds.LogEnd)
}

// EpochAt returns the leader epoch in which the record at the offset was written; the current epoch at the log end;
// -1 when nothing is known.
func (p *Partition) EpochAt(offset int64) int32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if offset >= p.state.bounds.LogEnd {
		return p.store.cfg.LeaderEpoch
	}
	return p.epochs.at(offset)
}

// ProducerState is what DescribeProducers shows of one idempotent producer.
type ProducerState struct {
	ProducerID   int64
	Epoch        int16
	LastSequence int32 // -1: only a marker made it known, as LastOffset
	LastOffset   int64
	AppendTimeMs int64 // of its last batch or marker

	TxnFirstOffset   int64 // of its open transaction; -1: none
	CoordinatorEpoch int32 // of its last marker; -1: none
}

// ProducerStates returns the idempotent producers that have appended within the expiry or have an open transaction, by id.
func (p *Partition) ProducerStates() []ProducerState {
	p.appendMu.Lock()
	defer p.appendMu.Unlock()
	return p.producers.describe(p.store.cfg.Now().UnixMilli())
}

func (p *Partition) keyBatch(offset int64) []byte {
	return keys.Batch(make([]byte, 0, keys.OffsetKeyLen), uint32(p.id), offset)
}

func (p *Partition) keyTime(offset int64) []byte {
	return keys.Time(make([]byte, 0, keys.OffsetKeyLen), uint32(p.id), offset)
}

func (p *Partition) corrupt(offset int64, err error) error {
	return &CorruptError{Partition: p.id, Offset: offset, Err: damage.Of(err)}
}

func (p *Partition) wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("log of ordinal %d: %w", p.id, damage.Of(err))
}

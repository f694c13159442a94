package live

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/table"
)

// ErrFull is returned by Apply when the open interval is at its bound: fold, then apply again; and while rows expire in a fold
// (StartCut): finish that, then apply again. Nothing was applied.
var ErrFull = errors.New("live: the open interval is full")

// ErrBusy is returned by Patch while something is applied that is not committed, or a fold is under way.
var ErrBusy = errors.New("live: not everything is committed")

// GapError is returned by Apply for a batch that begins above the position.
type GapError struct {
	Position, BaseOffset int64
}

func (e *GapError) Error() string {
	return fmt.Sprintf("live: batch at offset %d, want %d", e.BaseOffset, e.Position)
}

// Config bounds the memory of one partition's intervals.
type Config struct {
	MaxIntervalBytes int64            // of the open interval; Apply returns ErrFull from there on. 0 = 64 MiB
	MaxDecompressed  int              // bytes of one decompressed batch. 0 = 64 MiB
	MaxSeekBytes     int64            // what At may hold of deltas above a frame, collapsed. 0 = 256 MiB
	Now              func() time.Time // nil = time.Now
	Logger           *slog.Logger     // nil = slog.Default()
}

func (c Config) withDefaults() Config {
	if c.MaxIntervalBytes == 0 {
		c.MaxIntervalBytes = 64 << 20
	}
	if c.MaxDecompressed == 0 {
		c.MaxDecompressed = 64 << 20
	}
	if c.MaxSeekBytes == 0 {
		c.MaxSeekBytes = 256 << 20
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

const (
	lookAhead  = 32       // records whose keys are looked for together, and applied under one hold of the lock, so that readers wait microseconds
	chainMax   = 32       // pending deltas of one key before the row below them is read
	chainBytes = 64 << 10 // or so many bytes of them
)

// Partition is the table of one partition with its open interval on top. One goroutine applies and folds; any number reads.
type Partition struct {
	table   *table.Table
	cfg     Config
	inFold  atomic.Bool
	sorting sync.Mutex // one reader at a time sorts the open interval's new keys
	folders sync.Pool  // *fold.Folder, for readers

	// of the writer
	collapser
	reader     *batch.Reader
	approached int // keeps the reads of approach from being left out as useless

	mu sync.RWMutex
	// guarded by mu; the writer alone changes them, finishFold aside
	open       *interval
	folding    *interval // frozen; nil if none
	position   int64
	epoch      int32 // leader epoch of the last batch applied; -1: not known
	generation int64 // counts the moves of intervals
	foldEnd    int64 // of the interval that is being folded
	expiring   bool  // rows leave at its cut: nothing is applied before it is finished
}

// New starts at the table's position with an empty interval.
func New(t *table.Table, cfg Config) *Partition {
	cfg = cfg.withDefaults()
	p := &Partition{table: t, cfg: cfg, open: newInterval(), position: t.Position(), epoch: t.LeaderEpoch(), collapser: newCollapser(t),
		reader: batch.NewReader(cfg.MaxDecompressed)}
	p.folders.New = func() any { return fold.NewFolder(t.Identity().Fold, t.RowBytesMax()) }
	return p
}

// Table returns the table below the intervals.
func (p *Partition) Table() *table.Table { return p.table }

// Position returns the exclusive end of what is applied.
func (p *Partition) Position() int64 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.position
}

// LeaderEpoch returns the leader epoch of the last batch applied; -1 where it is not known.
func (p *Partition) LeaderEpoch() int32 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.epoch
}

// FoldedPosition returns the exclusive end of what is folded and durable.
func (p *Partition) FoldedPosition() int64 { return p.table.Position() }

// IntervalBytes returns the memory that the open interval and the one that is being folded take, about.
func (p *Partition) IntervalBytes() int64 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	n := p.open.bytes
	if p.folding != nil {
		n += p.folding.bytes
	}
	return n
}

// IntervalRecords returns how many records the open interval has taken.
func (p *Partition) IntervalRecords() int64 {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.open.records
}

// Apply collapses one batch into the open interval. What lies below Position is skipped, so a batch may come again; one that begins
// above it is a *GapError. Control batches only move the position. Records without a key, and those that the fold's own check
// refuses (an external log refuses nothing), are skipped and counted. After another error, Position tells how far it came.
func (p *Partition) Apply(b batch.Batch) error { return p.take(b, b.IsControl()) }

// Skip takes a batch of an aborted transaction: only the position moves. Errors: Apply's.
func (p *Partition) Skip(b batch.Batch) error { return p.take(b, true) }

func (p *Partition) take(b batch.Batch, skip bool) error {
	position := p.position
	if b.NextOffset() <= position {
		return nil
	}
	if b.BaseOffset() > position {
		return &GapError{position, b.BaseOffset()}
	}
	if p.full() {
		return ErrFull
	}
	if !skip {
		if err := p.applyBatch(b); err != nil {
			return err
		}
	}
	p.advance(b.NextOffset(), b.LeaderEpoch())
	return nil
}

// full says whether nothing may be applied before a fold. It is called by the writer.
func (p *Partition) full() bool {
	p.mu.RLock()
	defer p.mu.RUnlock() // expiring ends with a fold
	return p.open.bytes >= p.cfg.MaxIntervalBytes || p.expiring
}

func (p *Partition) applyBatch(b batch.Batch) error {
	if err := p.reader.Reset(b); err != nil {
		return fmt.Errorf("live: batch at offset %d: %w", b.BaseOffset(), err)
	}
	var ahead [lookAhead]batch.Record
	for {
		n := 0
		for ; n < len(ahead); n++ {
			r, ok, err := p.reader.Next()
			if err != nil {
				return fmt.Errorf("live: batch at offset %d: %w", b.BaseOffset(), err)
			}
			if !ok {
				break
			}
			ahead[n] = r
		}
		if err := p.applyRecords(ahead[:n]); err != nil {
			return err
		}
		if n < len(ahead) {
			return nil
		}
	}
}

// ApplyRecords does what Apply does, for records that somebody else decoded, as a Kafka client does. Their offsets ascend, gaps
// are allowed, and end becomes the position; epoch is the leader epoch of them all. What is kept of the records is copied.
func (p *Partition) ApplyRecords(records []batch.Record, end int64, epoch int32) error {
	if p.full() {
		return ErrFull
	}
	for part := range slices.Chunk(records, lookAhead) {
		if err := p.applyRecords(part); err != nil {
			return err
		}
	}
	p.advance(end, epoch)
	return nil
}

// applyRecords takes at most lookAhead of them.
func (p *Partition) applyRecords(records []batch.Record) error {
	var hashes [lookAhead]uint64
	for i := range records {
		hashes[i] = p.open.hash(records[i].Key)
	}
	p.approached += p.open.approach(hashes[:len(records)])
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range records {
		if err := p.applyRecordLocked(&records[i], hashes[i]); err != nil {
			return err
		}
	}
	return nil
}

func (p *Partition) advance(end int64, epoch int32) {
	p.mu.Lock()
	p.position, p.epoch = max(p.position, end), epoch
	p.mu.Unlock()
	if p.open.wasteful() {
		p.compact()
	}
}

// Reclaim gives back what the open interval holds of deltas that later ones replaced, if that is at least a third of it, and returns whether it did. It
// is cheaper than a fold, but in vain where there is less. It is called by the writer.
func (p *Partition) Reclaim() bool {
	if p.open.garbage == 0 || p.open.garbage*3 < p.open.bytes {
		return false
	}
	p.compact()
	return true
}

func (p *Partition) compact() {
	heads := p.open.compact()
	p.mu.Lock()
	for i, h := range heads {
		p.open.entries[i].head = h
	}
	p.mu.Unlock()
}

// applyRecordLocked takes a record and its key's hash. It may let go of the lock for a while, to read the table.
func (p *Partition) applyRecordLocked(r *batch.Record, hash uint64) error {
	if r.Offset < p.position {
		return nil
	}
	iv := p.open
	d, why := p.parse(r)
	if why != 0 {
		iv.rejects.Count(why)
	} else {
		e := iv.touch(d.Key, hash)
		if crowded(e.head) {
			if err := p.resolveLocked(iv, e); err != nil {
				return err
			}
		}
		p.collapse(iv, e, table.Delta{Delta: d, Offset: r.Offset, Timestamp: r.Timestamp})
	}
	iv.records++
	p.position = r.Offset + 1
	return nil
}

// Package memlog is the log of one partition in memory: what the keyframer is tested against, and the smallest example of
// a keyframer.Log that is not Keyframe's own.
//
//	l := memlog.New(clock.Now)
//	offset := l.Append(memlog.Put("k", "v"), memlog.Delete("k")) // one batch, committed at once
package memlog

import (
	"context"
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/delta"
	"github.com/keyframelog/keyframe/storage/log"
)

// Log implements keyframer.Log. Its methods may be called concurrently.
type Log struct {
	now func() time.Time

	mu        sync.Mutex // guards the rest
	batches   []entry
	bounds    log.Bounds
	held      bool // appends are written, and not committed
	open      []log.OpenTxn
	aborted   []log.AbortedTxn
	epoch     int32
	epochs    []epochStart
	watchers  map[int]func()
	watched   int
	failure   error
	failFrom  int64 // reads from here on fail with failAbove, if that is set
	failAbove error
	closed    bool
}

type epochStart struct {
	start int64
	epoch int32
}

type entry struct {
	batch      batch.Batch
	appendedMs int64
}

// New returns an empty log.
func New(now func() time.Time) *Log {
	return &Log{now: now, watchers: map[int]func(){}}
}

// Record returns a record with an op header, or without one if op is 0.
func Record(op delta.Op, key string, value []byte, headers ...batch.Header) batch.Record {
	if op != 0 {
		headers = append(headers, batch.Header{Key: delta.HeaderOp, Value: []byte(op.String())})
	}
	r := batch.Record{Key: []byte(key), Value: value}
	if len(headers) > 0 {
		r.Headers = batch.AppendHeaders(nil, headers...)
	}
	return r
}

// Put returns a record of the topic's default op.
func Put(key, value string) batch.Record { return Record(0, key, []byte(value)) }

// Delete returns a record with a null value.
func Delete(key string) batch.Record { return Record(0, key, nil) }

// Append appends one batch and returns its base offset. Records without a timestamp get the clock's.
func (l *Log) Append(records ...batch.Record) int64 {
	return l.AppendAs(batch.NewOptions(), records...)
}

// AppendAs is Append with the batch's options but for its place in the log.
func (l *Log) AppendAs(opts batch.Options, records ...batch.Record) int64 {
	l.mu.Lock()
	base := l.bounds.LogEnd
	ms := l.now().UnixMilli()
	opts.BaseOffset, opts.LeaderEpoch = base, l.epoch
	b := batch.NewBuilder(opts)
	for i, r := range records {
		r.Offset = base + int64(i)
		if r.Timestamp == 0 {
			r.Timestamp = ms
		}
		must(b.Append(r))
	}
	encoded, err := b.Finish()
	must(err)
	l.appendLocked(encoded, ms)
	l.mu.Unlock()
	l.notify()
	return base
}

func (l *Log) appendLocked(b batch.Batch, ms int64) {
	l.batches = append(l.batches, entry{b, ms})
	if n := len(l.epochs); n == 0 || l.epochs[n-1].epoch != l.epoch {
		l.epochs = append(l.epochs, epochStart{b.BaseOffset(), l.epoch})
	}
	l.noteLocked(b, ms)
	l.bounds.LogEnd = b.NextOffset()
	l.commitLocked()
}

// must is for what a test got wrong.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func (l *Log) commitLocked() {
	l.bounds.HighWatermark, l.bounds.Synced = l.bounds.LogEnd, l.bounds.LogEnd
	if l.held {
		return
	}
	l.bounds.LastStable = l.bounds.LogEnd
	for _, o := range l.open {
		l.bounds.LastStable = min(l.bounds.LastStable, o.FirstOffset)
	}
}

// Hold keeps the last stable offset where it is, as an open transaction of somebody else does, until called with false.
func (l *Log) Hold(hold bool) {
	l.mu.Lock()
	l.held = hold
	l.commitLocked()
	l.mu.Unlock()
	l.notify()
}

// SetEpoch sets the leader epoch of the batches to come.
func (l *Log) SetEpoch(epoch int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch = epoch
}

// Truncate loses everything from an offset on, as no log should.
func (l *Log) Truncate(end int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.batches) > 0 && l.batches[len(l.batches)-1].batch.NextOffset() > end {
		l.batches = l.batches[:len(l.batches)-1]
	}
	l.bounds.LogEnd = l.bounds.DeltaStart
	if n := len(l.batches); n > 0 {
		l.bounds.LogEnd = l.batches[n-1].batch.NextOffset()
	}
	for len(l.epochs) > 0 && l.epochs[len(l.epochs)-1].start >= l.bounds.LogEnd {
		l.epochs = l.epochs[:len(l.epochs)-1]
	}
	l.open, l.aborted = nil, nil
	for _, e := range l.batches {
		l.noteLocked(e.batch, e.appendedMs)
	}
	l.commitLocked()
}

// Fail makes reads fail; nil ends it.
func (l *Log) Fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failure = err
}

// FailFrom makes reads fail at an offset and above; nil ends it.
func (l *Log) FailFrom(offset int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failFrom, l.failAbove = offset, err
}

// Close makes reads and trims fail with log.ErrClosed.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

// Watchers is how many watch.
func (l *Log) Watchers() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.watchers)
}

func (l *Log) notify() {
	l.mu.Lock()
	fns := make([]func(), 0, len(l.watchers))
	for _, fn := range l.watchers {
		fns = append(fns, fn)
	}
	l.mu.Unlock()
	for _, fn := range fns {
		fn()
	}
}

// Bounds implements keyframer.Log, as the methods below do.
func (l *Log) Bounds() log.Bounds {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bounds
}

// Batches returns whole batches of [from, end).
func (l *Log) Batches(from, end int64, maxBytes int) ([]batch.Batch, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil, log.ErrClosed
	case l.failure != nil:
		return nil, l.failure
	case l.failAbove != nil && from >= l.failFrom:
		return nil, l.failAbove
	case from < l.bounds.DeltaStart:
		return nil, fmt.Errorf("offset %d: %w", from, log.ErrTrimmed)
	}
	i := sort.Search(len(l.batches), func(i int) bool { return l.batches[i].batch.NextOffset() > from })
	var out []batch.Batch
	size := 0
	for ; i < len(l.batches) && l.batches[i].batch.BaseOffset() < end; i++ {
		if l.failAbove != nil && len(out) > 0 && l.batches[i].batch.BaseOffset() >= l.failFrom {
			break
		}
		if size += len(l.batches[i].batch); len(out) > 0 && size > maxBytes {
			break
		}
		out = append(out, l.batches[i].batch)
	}
	return out, nil
}

// Watch calls fn whenever the bounds have changed.
func (l *Log) Watch(fn func()) (cancel func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id := l.watched
	l.watched++
	l.watchers[id] = fn
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.watchers, id)
	}
}

// TrimTo drops batches below deltaStart; the last one stays.
func (l *Log) TrimTo(_ context.Context, deltaStart int64) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return log.ErrClosed
	}
	if n := len(l.batches); n > 0 {
		deltaStart = min(deltaStart, l.batches[n-1].batch.BaseOffset())
	}
	l.bounds.DeltaStart = max(l.bounds.DeltaStart, deltaStart)
	for len(l.batches) > 0 && l.batches[0].batch.NextOffset() <= l.bounds.DeltaStart {
		l.batches = l.batches[1:]
	}
	l.mu.Unlock()
	l.notify()
	return nil
}

// HideBelow moves the log start alone.
func (l *Log) HideBelow(_ context.Context, offset int64) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return log.ErrClosed
	}
	l.bounds.LogStart = max(l.bounds.LogStart, min(offset, l.bounds.LastStable))
	l.mu.Unlock()
	l.notify()
	return nil
}

// SetLogStart moves the log start and the delta start with it.
func (l *Log) SetLogStart(ctx context.Context, offset int64) error {
	if err := l.HideBelow(ctx, offset); err != nil {
		return err
	}
	l.mu.Lock()
	l.bounds.DeltaStart = max(l.bounds.DeltaStart, l.bounds.LogStart)
	for len(l.batches) > 1 && l.batches[0].batch.NextOffset() <= l.bounds.DeltaStart {
		l.batches = l.batches[1:]
	}
	l.mu.Unlock()
	l.notify()
	return nil
}

// OffsetForTimestamp returns the first record at or after a time.
func (l *Log) OffsetForTimestamp(ms int64) (offset, recordMs int64, epoch int32, ok bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.batches {
		if e.batch.MaxTimestamp() < ms || e.batch.NextOffset() <= l.bounds.DeltaStart {
			continue
		}
		r := batch.NewReader(1 << 20)
		if err := r.Reset(e.batch); err != nil {
			return 0, 0, 0, false, err
		}
		for record, err := range r.All() {
			if err != nil {
				return 0, 0, 0, false, err
			}
			if record.Timestamp >= ms && record.Offset >= max(l.bounds.LogStart, l.bounds.DeltaStart) {
				return record.Offset, record.Timestamp, e.batch.LeaderEpoch(), true, nil
			}
		}
	}
	return 0, 0, 0, false, nil
}

// EpochAt returns the leader epoch of an offset's batch, which may be trimmed; above the end, that of the batches to come.
func (l *Log) EpochAt(offset int64) int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if offset >= l.bounds.LogEnd {
		return l.epoch
	}
	epoch := int32(-1)
	for _, e := range l.epochs {
		if e.start <= offset {
			epoch = e.epoch
		}
	}
	return epoch
}

// EpochEnd returns the largest epoch at or below the one asked for, and where it ends.
func (l *Log) EpochEnd(epoch int32) (found int32, endOffset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case epoch < 0 || epoch > l.epoch:
		return -1, -1
	case epoch == l.epoch:
		return l.epoch, l.bounds.LogEnd
	}
	found, endOffset = epoch, l.bounds.LogEnd
	for i := len(l.epochs) - 1; i >= 0; i-- {
		e := l.epochs[i]
		if e.epoch <= epoch {
			return e.epoch, endOffset
		}
		endOffset = e.start
	}
	return found, endOffset
}

// OffsetAtAppendTime returns the end of what was appended at or before a time.
func (l *Log) OffsetAtAppendTime(ms int64) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.batches) > 0 && ms < l.batches[0].appendedMs && l.bounds.DeltaStart > 0 {
		return 0, log.ErrNoTime
	}
	offset := l.bounds.DeltaStart
	for _, e := range l.batches {
		if e.appendedMs <= ms {
			offset = e.batch.NextOffset()
		}
	}
	return offset, nil
}

// AppendTimeAt returns when the record at offset was appended.
func (l *Log) AppendTimeAt(offset int64) (ms int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.batches) == 0 {
		return 0, log.ErrNoTime
	}
	ms = l.batches[0].appendedMs
	for _, e := range l.batches {
		if e.batch.BaseOffset() <= offset {
			ms = e.appendedMs
		}
	}
	return ms, nil
}

// SizeBytes is the size of the batches that are kept.
func (l *Log) SizeBytes() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.bytesFromLocked(l.bounds.DeltaStart)
}

// BytesFrom is the size of the batches that end above the offset.
func (l *Log) BytesFrom(_ context.Context, offset int64) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, log.ErrClosed
	}
	return l.bytesFromLocked(max(offset, l.bounds.DeltaStart)), nil
}

func (l *Log) bytesFromLocked(offset int64) (n int64) {
	for _, e := range l.batches {
		if e.batch.NextOffset() > offset {
			n += int64(len(e.batch))
		}
	}
	return n
}

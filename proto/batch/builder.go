package batch

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Options of a batch that is built. NewOptions has the values of a batch without a producer.
type Options struct {
	Codec         Codec
	BaseOffset    int64
	LeaderEpoch   int32
	ProducerID    int64
	ProducerEpoch int16
	BaseSequence  int32
	Transactional bool
	Control       bool
}

// NewOptions are those of a batch that no idempotent producer sent.
func NewOptions() Options {
	return Options{LeaderEpoch: -1, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}
}

// Builder encodes one batch. Offsets may have gaps, as the rows below a delta start offset do; they must ascend.
type Builder struct {
	opts          Options
	records       []byte
	count         int32
	lastDelta     int32
	baseTimestamp int64
	maxTimestamp  int64
}

// NewBuilder starts a batch; the first record's timestamp becomes the base timestamp.
func NewBuilder(opts Options) *Builder { return &Builder{opts: opts} }

// Reset starts another batch and keeps the memory.
func (b *Builder) Reset(opts Options) { *b = Builder{opts: opts, records: b.records[:0]} }

// Fits reports whether a record at the offset can still be in this batch: offset deltas end at 2^31-1.
func (b *Builder) Fits(offset int64) bool { return offset-b.opts.BaseOffset <= math.MaxInt32 }

// Append adds a record. Its offset must be above the last one's, and fit.
func (b *Builder) Append(r Record) error {
	delta := r.Offset - b.opts.BaseOffset
	if delta < 0 || delta > math.MaxInt32 || b.count > 0 && delta <= int64(b.lastDelta) {
		return fmt.Errorf("batch at offset %d cannot take a record at offset %d behind %d", b.opts.BaseOffset, r.Offset, b.opts.BaseOffset+int64(b.lastDelta))
	}
	if b.count == 0 {
		b.baseTimestamp, b.maxTimestamp = r.Timestamp, r.Timestamp
	}
	b.maxTimestamp = max(b.maxTimestamp, r.Timestamp)
	timestampDelta := r.Timestamp - b.baseTimestamp
	headers := len(r.Headers)
	if headers == 0 {
		headers = 1
	}
	size := 1 + varintLen(timestampDelta) + varintLen(delta) + nullableLen(r.Key) + nullableLen(r.Value) + headers
	out := binary.AppendVarint(b.records, int64(size))
	out = append(out, 0) // attributes
	out = binary.AppendVarint(out, timestampDelta)
	out = binary.AppendVarint(out, delta)
	out = appendNullable(out, r.Key)
	out = appendNullable(out, r.Value)
	if len(r.Headers) == 0 {
		out = append(out, 0)
	} else {
		out = append(out, r.Headers...)
	}
	b.records = out
	b.count++
	b.lastDelta = int32(delta)
	return nil
}

func varintLen(v int64) int {
	n := 1
	for u := uint64(v<<1) ^ uint64(v>>63); u >= 0x80; u >>= 7 {
		n++
	}
	return n
}

func nullableLen(b []byte) int {
	if b == nil {
		return 1
	}
	return varintLen(int64(len(b))) + len(b)
}

// Len is the number of records so far, Size the bytes of the batch before compression.
func (b *Builder) Len() int  { return int(b.count) }
func (b *Builder) Size() int { return HeaderSize + len(b.records) }

// SetLastOffset makes the batch end at an offset behind its last record: the offsets in between hold nothing any more.
func (b *Builder) SetLastOffset(offset int64) error {
	delta := offset - b.opts.BaseOffset
	if delta < int64(b.lastDelta) || delta > math.MaxInt32 {
		return fmt.Errorf("batch at offset %d cannot end at offset %d", b.opts.BaseOffset, offset)
	}
	b.lastDelta = int32(delta)
	return nil
}

// Finish encodes the batch into memory of its own. Error: ErrCodec, or the compressor's.
func (b *Builder) Finish() (Batch, error) { return b.AppendTo(nil) }

// AppendTo encodes the batch behind dst and returns dst with it.
func (b *Builder) AppendTo(dst []byte) ([]byte, error) {
	start := len(dst)
	dst = append(dst, make([]byte, HeaderSize)...)
	if b.opts.Codec == None {
		dst = append(dst, b.records...)
	} else {
		var err error
		if dst, err = compress(b.opts.Codec, 0, dst, b.records); err != nil {
			return nil, err
		}
	}
	h := Batch(dst[start:])
	attributes := uint16(b.opts.Codec)
	if b.opts.Transactional {
		attributes |= attrTransactional
	}
	if b.opts.Control {
		attributes |= attrControl
	}
	be := binary.BigEndian
	be.PutUint64(h[posBaseOffset:], uint64(b.opts.BaseOffset))
	be.PutUint32(h[posLength:], uint32(len(h)-lengthOverhead))
	be.PutUint32(h[posLeaderEpoch:], uint32(b.opts.LeaderEpoch))
	h[posMagic] = 2
	be.PutUint16(h[posAttributes:], attributes)
	be.PutUint32(h[posLastOffsetDelta:], uint32(b.lastDelta))
	be.PutUint64(h[posBaseTimestamp:], uint64(b.baseTimestamp))
	be.PutUint64(h[posMaxTimestamp:], uint64(b.maxTimestamp))
	be.PutUint64(h[posProducerID:], uint64(b.opts.ProducerID))
	be.PutUint16(h[posProducerEpoch:], uint16(b.opts.ProducerEpoch))
	be.PutUint32(h[posBaseSequence:], uint32(b.opts.BaseSequence))
	be.PutUint32(h[posNumRecords:], uint32(b.count))
	h.seal()
	return dst, nil
}

package batch

import (
	"encoding/binary"
	"iter"
)

// Record is one decoded record. nil and empty keys and values differ: a nil value is a tombstone. The slices alias the reader's
// buffer or the batch, see Reader.
type Record struct {
	Offset    int64
	Timestamp int64 // Unix milliseconds
	Key       []byte
	Value     []byte
	Headers   Headers
}

// Reader decodes the records of one batch after the other. It reuses its buffer: records are valid until the next Reset, and those of
// an uncompressed batch alias the batch. The zero value is not usable: see NewReader.
type Reader struct {
	limit int
	buf   []byte // decompressed records
	all   []byte // of this batch
	rest  []byte

	baseOffset, baseTimestamp, appendTime int64
	logAppendTime                         bool
	index, count                          int
	delta, lastDelta                      int64 // of the last record read, and of the batch
}

// keepBuffer is how much memory a Reader keeps from one batch to the next, in bytes: there may be one for every partition.
const keepBuffer = 1 << 20

// NewReader makes a reader that refuses batches whose records decompress to more than maxDecompressedBytes.
func NewReader(maxDecompressedBytes int) *Reader { return &Reader{limit: maxDecompressedBytes} }

// Reset starts with a batch, decompressing it if need be. The batch must have passed Split.
// Errors: ErrTruncated, ErrCodec, ErrTooLarge, ErrCompressed, ErrCount.
func (r *Reader) Reset(b Batch) error {
	r.all, r.rest, r.count, r.index, r.delta = nil, nil, 0, 0, -1
	if len(b) < HeaderSize {
		return ErrTruncated
	}
	records := []byte(b[HeaderSize:])
	if codec := b.Codec(); codec != None {
		if cap(r.buf) > keepBuffer {
			r.buf = nil
		}
		out, err := decompress(codec, r.buf, records, r.limit)
		if err != nil {
			return err
		}
		r.buf, records = out, out
	}
	count := int(b.NumRecords())
	if count < 0 || count > len(records)/minRecordSize {
		return ErrCount
	}
	r.all, r.rest, r.count = records, records, count
	r.baseOffset, r.baseTimestamp, r.appendTime = b.BaseOffset(), b.BaseTimestamp(), b.MaxTimestamp()
	r.logAppendTime, r.lastDelta = b.IsLogAppendTime(), int64(b.LastOffsetDelta())
	return nil
}

// SetLimit refuses, from the next Reset on, batches whose records decompress to more.
func (r *Reader) SetLimit(maxDecompressedBytes int) { r.limit = maxDecompressedBytes }

// Records are the batch's records as they are encoded without compression, valid as long as the records are. See Batch.Recompress.
func (r *Reader) Records() []byte { return r.all }

// Release gives the memory back, and with it the last batch's records. The reader can be used again.
func (r *Reader) Release() { *r = Reader{limit: r.limit} }

// minRecordSize is the smallest record: length, attributes, two deltas, null key, null value, no headers.
const minRecordSize = 7

// Next decodes the next record; false at the end. Error: *RecordError.
func (r *Reader) Next() (record Record, ok bool, err error) {
	if r.index == r.count {
		if len(r.rest) != 0 {
			return Record{}, false, &RecordError{r.index, "bytes after the last record"}
		}
		return Record{}, false, nil
	}
	length, n := varint(r.rest)
	if n <= 0 || length < minRecordSize-1 || length > int64(len(r.rest)-n) {
		return Record{}, false, &RecordError{r.index, "length"}
	}
	end := n + int(length)
	if why := r.decode(&record, r.rest[n:end]); why != "" {
		return Record{}, false, &RecordError{r.index, why}
	}
	r.rest = r.rest[end:]
	r.delta = record.Offset - r.baseOffset
	r.index++
	return record, true, nil
}

// decode reads one record's body; why names the part that is wrong. It is most of what a broker does for each record, so it is written for speed.
func (r *Reader) decode(record *Record, body []byte) (why string) {
	b := body[1:] // the record's own attributes are unused
	timestampDelta, n := varint(b)
	if n <= 0 {
		return "offset or timestamp delta"
	}
	b = b[n:]
	offsetDelta, n := varint(b)
	if n <= 0 || offsetDelta <= r.delta || offsetDelta > r.lastDelta {
		return "offset or timestamp delta"
	}
	var ok bool
	if record.Key, b, ok = splitField(b[n:]); !ok {
		return "key or value"
	}
	if record.Value, b, ok = splitField(b); !ok {
		return "key or value"
	}
	if len(b) != 1 || b[0] != 0 { // the common case, no headers, is one zero byte
		record.Headers = Headers(b)
		if len(b) == 0 || record.Headers.Validate() != nil {
			return "headers"
		}
		if record.Headers.Len() == 0 {
			record.Headers = nil
		}
	}
	record.Offset = r.baseOffset + offsetDelta
	if record.Timestamp = r.baseTimestamp + timestampDelta; r.logAppendTime {
		record.Timestamp = r.appendTime
	}
	return ""
}

// splitField splits a length and so many bytes off b; nil where the length is -1.
func splitField(b []byte) (field, rest []byte, ok bool) {
	length, n := varint(b)
	switch {
	case n <= 0:
		return nil, b, false
	case length == -1:
		return nil, b[n:], true
	case length < 0 || length > int64(len(b)-n):
		return nil, b, false
	}
	end := n + int(length)
	return b[n:end:end], b[end:], true
}

// varint is binary.Varint. Nearly all that a record has of them takes one byte or two.
func varint(b []byte) (v int64, n int) {
	if len(b) >= 2 {
		low, high := uint64(b[0]), uint64(b[1])
		if low < 0x80 {
			return int64(low>>1) ^ -int64(low&1), 1
		}
		if high < 0x80 {
			u := low&0x7f | high<<7
			return int64(u>>1) ^ -int64(u&1), 2
		}
	}
	return binary.Varint(b)
}

// All yields the records from here on; it ends after the first error.
func (r *Reader) All() iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for {
			record, ok, err := r.Next()
			if !ok && err == nil {
				return
			}
			if !yield(record, err) || err != nil {
				return
			}
		}
	}
}

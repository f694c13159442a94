package batch

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
)

// HeaderSize is the size of an encoded batch without any records, in bytes.
const HeaderSize = 61

// lengthOverhead is what the batch length field does not count: base offset and the field itself.
const lengthOverhead = 12

// Positions of the header fields, see the package documentation.
const (
	posBaseOffset      = 0
	posLength          = 8
	posLeaderEpoch     = 12
	posMagic           = 16
	posCRC             = 17
	posAttributes      = 21
	posLastOffsetDelta = 23
	posBaseTimestamp   = 27
	posMaxTimestamp    = 35
	posProducerID      = 43
	posProducerEpoch   = 51
	posBaseSequence    = 53
	posNumRecords      = 57
)

// Attribute bits.
const (
	attrCodec         = 0x07
	attrLogAppendTime = 0x08
	attrTransactional = 0x10
	attrControl       = 0x20
)

// Batch is exactly one encoded batch. Its header reads need HeaderSize bytes: make one with Split, which checks.
type Batch []byte

// Split cuts the first batch off b by its length field. Nothing but length and magic is checked: see Validate.
// Errors: ErrTruncated, *MagicError, ErrLength.
func Split(b []byte) (first Batch, rest []byte, err error) {
	if len(b) <= posMagic {
		return nil, nil, fmt.Errorf("%w: %d bytes", ErrTruncated, len(b))
	}
	if magic := int8(b[posMagic]); magic != 2 {
		return nil, nil, &MagicError{Magic: magic}
	}
	length := int(int32(binary.BigEndian.Uint32(b[posLength:])))
	if length < HeaderSize-lengthOverhead {
		return nil, nil, fmt.Errorf("%w: %d", ErrLength, length)
	}
	if size := length + lengthOverhead; size <= len(b) {
		return Batch(b[:size:size]), b[size:], nil
	}
	return nil, nil, fmt.Errorf("%w: %d bytes of %d", ErrTruncated, len(b), length+lengthOverhead)
}

func (b Batch) int16(at int) int16 { return int16(binary.BigEndian.Uint16(b[at:])) }
func (b Batch) int32(at int) int32 { return int32(binary.BigEndian.Uint32(b[at:])) }
func (b Batch) int64(at int) int64 { return int64(binary.BigEndian.Uint64(b[at:])) }

// BaseOffset is the offset of the first record.
func (b Batch) BaseOffset() int64 { return b.int64(posBaseOffset) }

// LastOffset is the offset of the last record, inclusive.
func (b Batch) LastOffset() int64 { return b.BaseOffset() + int64(b.LastOffsetDelta()) }

// NextOffset is the offset after the last record.
func (b Batch) NextOffset() int64 { return b.LastOffset() + 1 }

func (b Batch) LastOffsetDelta() int32 { return b.int32(posLastOffsetDelta) }
func (b Batch) LeaderEpoch() int32     { return b.int32(posLeaderEpoch) }
func (b Batch) CRC() uint32            { return binary.BigEndian.Uint32(b[posCRC:]) }
func (b Batch) Attributes() int16      { return b.int16(posAttributes) }

// BaseTimestamp and MaxTimestamp are Unix milliseconds.
func (b Batch) BaseTimestamp() int64 { return b.int64(posBaseTimestamp) }
func (b Batch) MaxTimestamp() int64  { return b.int64(posMaxTimestamp) }

// ProducerID is -1 for a producer that is not idempotent.
func (b Batch) ProducerID() int64    { return b.int64(posProducerID) }
func (b Batch) ProducerEpoch() int16 { return b.int16(posProducerEpoch) }
func (b Batch) BaseSequence() int32  { return b.int32(posBaseSequence) }
func (b Batch) NumRecords() int32    { return b.int32(posNumRecords) }

// LastSequence is the sequence number of the last record; sequences wrap from 2^31-1 to 0. -1 if the batch has none.
func (b Batch) LastSequence() int32 {
	if b.BaseSequence() < 0 {
		return -1
	}
	return int32((int64(b.BaseSequence()) + int64(b.LastOffsetDelta())) & math.MaxInt32)
}

func (b Batch) Codec() Codec          { return Codec(b.Attributes() & attrCodec) }
func (b Batch) IsLogAppendTime() bool { return b.Attributes()&attrLogAppendTime != 0 }
func (b Batch) IsTransactional() bool { return b.Attributes()&attrTransactional != 0 }
func (b Batch) IsControl() bool       { return b.Attributes()&attrControl != 0 }

// Stamp writes what the log assigns, in place. Both fields lie outside the checksum.
func (b Batch) Stamp(baseOffset int64, leaderEpoch int32) {
	binary.BigEndian.PutUint64(b[posBaseOffset:], uint64(baseOffset))
	binary.BigEndian.PutUint32(b[posLeaderEpoch:], uint32(leaderEpoch))
}

// StampCreateTime makes the batch one of message.timestamp.type=CreateTime with the maximum timestamp, Unix milliseconds: some
// clients write another number than their records', and looking up a time trusts the header. It rewrites attributes, maximum
// timestamp and checksum, in place.
func (b Batch) StampCreateTime(maxMs int64) {
	binary.BigEndian.PutUint16(b[posAttributes:], uint16(b.Attributes()&^attrLogAppendTime))
	binary.BigEndian.PutUint64(b[posMaxTimestamp:], uint64(maxMs))
	b.seal()
}

// StampAppendTime makes the batch one of message.timestamp.type=LogAppendTime: every record gets the time, Unix milliseconds. It
// rewrites attributes, maximum timestamp and checksum, in place, and leaves the records as they are (KIP-32).
func (b Batch) StampAppendTime(ms int64) {
	binary.BigEndian.PutUint16(b[posAttributes:], uint16(b.Attributes()|attrLogAppendTime))
	binary.BigEndian.PutUint64(b[posMaxTimestamp:], uint64(ms))
	b.seal()
}

// seal writes the checksum.
func (b Batch) seal() {
	binary.BigEndian.PutUint32(b[posCRC:], crc32.Checksum(b[posAttributes:], castagnoli))
}

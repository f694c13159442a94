package batch

import (
	"fmt"
	"hash/crc32"
)

// castagnoli is CRC-32C; the standard library builds the table once and computes with the processor's instruction.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// VerifyCRC checks the checksum, which covers everything from the attributes on.
func (b Batch) VerifyCRC() error {
	if got := crc32.Checksum(b[posAttributes:], castagnoli); got != b.CRC() {
		return fmt.Errorf("%w: stored %08x, computed %08x", ErrCRC, b.CRC(), got)
	}
	return nil
}

// Validate checks what a client's batch must satisfy without looking into the records: length, magic, checksum, codec, and one
// record for each offset. It is for batches that are produced; stored ones may have offset gaps.
// Errors: ErrTruncated, ErrLength, ErrMagic, ErrCRC, ErrCodec, ErrCount, ErrHeader.
func (b Batch) Validate() error {
	if len(b) < HeaderSize {
		return fmt.Errorf("%w: %d bytes", ErrTruncated, len(b))
	}
	if b[posMagic] != 2 {
		return &MagicError{Magic: int8(b[posMagic])}
	}
	if length := int(b.int32(posLength)); length+lengthOverhead != len(b) {
		return fmt.Errorf("%w: %d, the batch has %d bytes", ErrLength, length, len(b))
	}
	if err := b.VerifyCRC(); err != nil {
		return err
	}
	if !b.Codec().known() {
		return fmt.Errorf("%w: %d", ErrCodec, b.Codec())
	}
	if n, last := b.NumRecords(), b.LastOffsetDelta(); n <= 0 || last != n-1 {
		return fmt.Errorf("%w: %d records, last offset delta %d", ErrCount, n, last)
	}
	if b.ProducerID() >= 0 && b.ProducerEpoch() < 0 {
		return fmt.Errorf("%w: producer %d has epoch %d", ErrHeader, b.ProducerID(), b.ProducerEpoch())
	}
	return nil
}

package table

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/frame"
)

const (
	rowVersion    = 1
	rowTombstone  = 1 // flag
	rowHeaders    = 2 // flag: a header section follows the key
	rowFlags      = rowTombstone | rowHeaders
	rowOverheadLn = 1 + 10 + 5 + 5 + 4 // bytes at most beyond key, headers and value
)

// rowSum is the row's CRC-32C. It starts from the offset, so that a row at another row's place is found too.
func rowSum(offset int64, b []byte) uint32 {
	return crc32.Update(uint32(offset)^uint32(offset>>32), castagnoli, b)
}

func appendRow(dst []byte, r *frame.Row) []byte {
	begin := len(dst)
	head := byte(rowVersion << 4)
	if r.Tombstone {
		head |= rowTombstone
	}
	if r.Headers != nil {
		head |= rowHeaders
	}
	dst = binary.AppendVarint(append(dst, head), r.Timestamp)
	dst = append(binary.AppendUvarint(dst, uint64(len(r.Key))), r.Key...)
	if r.Headers != nil {
		dst = append(binary.AppendUvarint(dst, uint64(len(r.Headers))), r.Headers...)
	}
	if !r.Tombstone {
		dst = append(dst, r.Value...)
	}
	return binary.BigEndian.AppendUint32(dst, rowSum(r.Offset, dst[begin:]))
}

// decodeRow checks and decodes a stored row; its slices alias b.
func decodeRow(ordinal uint32, offset int64, b []byte) (r frame.Row, err error) {
	corrupt := func(why string) (frame.Row, error) {
		return frame.Row{}, &CorruptError{Ordinal: ordinal, What: "row", Offset: offset, Why: why}
	}
	if len(b) < 1+sealLen {
		return corrupt("too short")
	}
	n := len(b) - sealLen
	if rowSum(offset, b[:n]) != binary.BigEndian.Uint32(b[n:]) {
		return corrupt("checksum differs")
	}
	head := b[0]
	if head>>4 != rowVersion {
		return r, &VersionError{What: "row", Version: head >> 4}
	}
	if head&0xf&^rowFlags != 0 {
		return corrupt("unknown flag")
	}
	d := reader{b: b[1:n:n]}
	r.Offset, r.Timestamp = offset, d.varint()
	r.Key = d.bytes(d.uvarint())
	if head&rowHeaders != 0 {
		r.Headers = batch.Headers(d.bytes(d.uvarint()))
	}
	if d.bad {
		return corrupt("malformed")
	}
	if head&rowTombstone != 0 {
		if len(d.b) != 0 {
			return corrupt("tombstone with a value")
		}
		r.Tombstone = true
		return r, nil
	}
	r.Value = d.b
	return r, nil
}

// decodeRowOf decodes the row that the index of key points at.
func decodeRowOf(ordinal uint32, offset int64, key, b []byte) (frame.Row, error) {
	r, err := decodeRow(ordinal, offset, b)
	if err == nil && !bytes.Equal(r.Key, key) {
		err = &CorruptError{Ordinal: ordinal, What: "row", Offset: offset, Why: "belongs to another key"}
	}
	return r, err
}

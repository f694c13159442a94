package table

import (
	"encoding/binary"

	"github.com/keyframelog/keyframe/proto/digest"
)

// entry is what the index knows of a key: where its row is, and what the digest needs to take the row back out, so that a fold
// reads no row that it replaces.
type entry struct {
	offset    int64
	valueLen  uint32 // 0 for a tombstone
	tombstone bool
	hash      digest.Entry // zero for a tombstone
}

const (
	entryVersion   = 1
	entryTombstone = 1 // flag
	entryLen       = 1 + 8 + 4 + 32
)

func appendEntry(dst []byte, e *entry) []byte {
	head := byte(entryVersion << 4)
	if e.tombstone {
		head |= entryTombstone
	}
	dst = binary.BigEndian.AppendUint64(append(dst, head), uint64(e.offset))
	dst = binary.BigEndian.AppendUint32(dst, e.valueLen)
	return append(dst, e.hash[:]...)
}

func decodeEntry(ordinal uint32, b []byte) (e entry, err error) {
	if len(b) == 0 {
		return e, &CorruptError{Ordinal: ordinal, What: "index entry", Offset: -1, Why: "empty"}
	}
	if b[0]>>4 != entryVersion {
		return e, &VersionError{What: "index entry", Version: b[0] >> 4}
	}
	if len(b) != entryLen || b[0]&0xf > entryTombstone || b[1]&0x80 != 0 {
		return e, &CorruptError{Ordinal: ordinal, What: "index entry", Offset: -1, Why: "malformed"}
	}
	e.tombstone = b[0]&entryTombstone != 0
	e.offset = int64(binary.BigEndian.Uint64(b[1:]))
	e.valueLen = binary.BigEndian.Uint32(b[9:])
	copy(e.hash[:], b[13:])
	return e, nil
}

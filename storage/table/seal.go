package table

import (
	"encoding/binary"
	"hash/crc32"
)

// Small values (meta, segments, deletion vectors) start with a version byte and end with a CRC-32C, big-endian, of all before it.
const sealLen = 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func seal(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// unseal returns what lies between version and checksum.
func unseal(ordinal uint32, what string, offset int64, b []byte, version byte) ([]byte, error) {
	if len(b) < 1+sealLen {
		return nil, &CorruptError{Ordinal: ordinal, What: what, Offset: offset, Why: "too short"}
	}
	body := b[:len(b)-sealLen]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(b[len(b)-sealLen:]) {
		return nil, &CorruptError{Ordinal: ordinal, What: what, Offset: offset, Why: "checksum differs"}
	}
	if body[0] != version {
		return nil, &VersionError{What: what, Version: body[0]}
	}
	return body[1:], nil
}

// reader decodes varints; the first that does not fit makes it bad, and everything after reads as zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// offset reads a uvarint that is an offset, a count or a size: never above 2^63-1.
func (r *reader) offset() int64 {
	v := r.uvarint()
	if v > 1<<63-1 {
		r.bad = true
		return 0
	}
	return int64(v)
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// bytes returns the next n bytes, aliased.
func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.b, r.bad = nil, true
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

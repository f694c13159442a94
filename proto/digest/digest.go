package digest

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"
)

// Entry is the hash of one live row.
type Entry [32]byte

// Tag is the first 8 bytes of an entry: what identifies a row where 32 bytes are too many.
func (e Entry) Tag() [8]byte { return [8]byte(e[:8]) }

const (
	rowDomain   = "keyframe/row/1\x00"
	frameDomain = "keyframe/frame/1\x00"
)

// Hasher makes entries. Its buffers are reused, so it belongs to one goroutine; the zero value is ready.
type Hasher struct{ one, other message }

// Entry hashes one live row. For many, Entries and Adder are faster.
func (h *Hasher) Entry(key, value []byte) Entry {
	h.one.row(key, value)
	return h.one.alone()
}

// Sum is a number mod 2^256; limb 0 is the most significant, so that Bytes is big-endian throughout.
type Sum [4]uint64

// SumFromBytes reads 32 big-endian bytes.
func SumFromBytes(b [32]byte) (s Sum) {
	for i := range s {
		s[i] = binary.BigEndian.Uint64(b[i*8:])
	}
	return s
}

// Bytes is the sum as 32 big-endian bytes.
func (s Sum) Bytes() (b [32]byte) {
	for i, limb := range s {
		binary.BigEndian.PutUint64(b[i*8:], limb)
	}
	return b
}

// Add adds an entry.
func (s *Sum) Add(e Entry) { s.Merge(SumFromBytes(e)) }

// Sub takes an entry away.
func (s *Sum) Sub(e Entry) {
	o := SumFromBytes(e)
	var borrow uint64
	for i := 3; i >= 0; i-- {
		s[i], borrow = bits.Sub64(s[i], o[i], borrow)
	}
}

// Merge adds another sum.
func (s *Sum) Merge(o Sum) {
	var carry uint64
	for i := 3; i >= 0; i-- {
		s[i], carry = bits.Add64(s[i], o[i], carry)
	}
}

// Digest is the digest of a table: the sum of its live rows' entries and their number. Comparable with ==.
type Digest struct {
	Sum   Sum
	Count int64
}

// Add counts a row in.
func (d *Digest) Add(e Entry) {
	d.Sum.Add(e)
	d.Count++
}

// Sub takes a row out.
func (d *Digest) Sub(e Entry) {
	d.Sum.Sub(e)
	d.Count--
}

// Merge adds the digest of another table, such as another partition of the topic.
func (d *Digest) Merge(o Digest) {
	d.Sum.Merge(o.Sum)
	d.Count += o.Count
}

// FrameID is the identity of a key frame, bound into its pub.
type FrameID struct {
	TopicID     [16]byte
	Partition   int32
	Incarnation [16]byte
	Cut         int64 // N: everything below is folded
	Start       int64 // S: rows below are excluded
}

// Pub is what a frame publishes: the hash over its digest and identity.
func (d Digest) Pub(id FrameID) [32]byte {
	b := append(make([]byte, 0, 160), frameDomain...)
	b = append(b, id.TopicID[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(id.Partition))
	b = append(b, id.Incarnation[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(id.Cut))
	b = binary.BigEndian.AppendUint64(b, uint64(id.Start))
	b = binary.BigEndian.AppendUint64(b, uint64(d.Count))
	sum := d.Sum.Bytes()
	return sha256.Sum256(append(b, sum[:]...))
}

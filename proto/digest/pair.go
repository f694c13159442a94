package digest

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
)

// message is what is hashed, padded already (FIPS 180-4, 5.1.1): whole blocks.
type message struct {
	b []byte
	n int // bytes in front of the padding
}

// row makes m the message of a live row.
func (m *message) row(key, value []byte) {
	b := append(m.b[:0], rowDomain...)
	b = binary.AppendUvarint(b, uint64(len(key)))
	b = append(b, key...)
	b = binary.AppendUvarint(b, uint64(len(value)))
	b = append(b, value...)
	m.pad(b)
}

// pad takes b, behind which it writes.
func (m *message) pad(b []byte) {
	n := len(b)
	size := (n + 1 + 8 + sha256.BlockSize - 1) &^ (sha256.BlockSize - 1)
	b = slices.Grow(b, size-n)[:size]
	clear(b[n:])
	b[n] = 0x80
	binary.BigEndian.PutUint64(b[size-8:], 8*uint64(n))
	m.b, m.n = b, n
}

func (m *message) blocks() int { return len(m.b) / sha256.BlockSize }

// alone hashes m by itself: through blocks2 too, which spares crypto/sha256's accounting. What goes along in the other place is of no use, and costs no
// time: the processor would wait.
func (m *message) alone() Entry {
	if !paired {
		return m.sum256()
	}
	state, unused := initial, initial
	blocks2(&state, &unused, &m.b[0], &m.b[0], m.blocks())
	return entryOf(&state)
}

func (m *message) sum256() Entry { return sha256.Sum256(m.b[:m.n]) }

// hashPair is SHA-256 of two messages.
func hashPair(a, b *message) (x, y Entry) {
	if !paired {
		return a.sum256(), b.sum256()
	}
	s, t := initial, initial
	both := min(a.blocks(), b.blocks())
	blocks2(&s, &t, &a.b[0], &b.b[0], both)
	at, unused := both*sha256.BlockSize, initial
	if at < len(a.b) {
		blocks2(&s, &unused, &a.b[at], &a.b[at], a.blocks()-both)
	}
	if at < len(b.b) {
		blocks2(&t, &unused, &b.b[at], &b.b[at], b.blocks()-both)
	}
	return entryOf(&s), entryOf(&t)
}

// initial is the state that SHA-256 begins with (FIPS 180-4, 5.3.3).
var initial = [8]uint32{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}

func entryOf(state *[8]uint32) (e Entry) {
	for i, word := range state {
		binary.BigEndian.PutUint32(e[4*i:], word)
	}
	return e
}

package digest_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keyframelog/keyframe/proto/digest"
)

var vectorID = digest.FrameID{
	TopicID: [16]byte{0: 0xa0, 15: 0xaf}, Partition: 7, Incarnation: [16]byte{0: 0x10, 15: 0x1f}, Cut: 1 << 40, Start: 12,
}

func long(c string, n int) string { return string(bytes.Repeat([]byte(c), n)) }

// The rows of the ten test vectors; vectors_test.go has what they hash to.
func vectorRows() [][2]string {
	return [][2]string{
		{"", ""}, {"", "v"}, {"k", ""}, {"k", "v"}, {"kv", ""}, {"user-1", `{"name":"é"}`}, {"\x00\xff", "\x00"},
		{long("k", 127), long("v", 128)}, {long("K", 300), long("V", 16383)}, {"counter", "-9223372036854775808"},
	}
}

// naiveEntry follows the text of the definition, and shares nothing with the package.
func naiveEntry(key, value []byte) []byte {
	uvarint := func(n int) (b []byte) {
		for ; n >= 128; n /= 128 {
			b = append(b, byte(n%128+128))
		}
		return append(b, byte(n))
	}
	h := sha256.New()
	for _, part := range [][]byte{[]byte("keyframe/row/1"), {0}, uvarint(len(key)), key, uvarint(len(value)), value} {
		h.Write(part)
	}
	return h.Sum(nil)
}

// naiveTable is a table's digest in arithmetic that cannot go wrong.
type naiveTable struct {
	sum   big.Int
	count int64
}

func (n *naiveTable) add(entry []byte, sign int64) {
	e := new(big.Int).SetBytes(entry)
	n.sum.Add(&n.sum, e.Mul(e, big.NewInt(sign)))
	n.sum.Mod(&n.sum, new(big.Int).Lsh(big.NewInt(1), 256))
	n.count += sign
}

func (n *naiveTable) bytes() []byte { return n.sum.FillBytes(make([]byte, 32)) }

func (n *naiveTable) pub(id digest.FrameID) []byte {
	var b bytes.Buffer
	b.WriteString("keyframe/frame/1\x00")
	b.Write(id.TopicID[:])
	for _, field := range []any{id.Partition, id.Incarnation, id.Cut, id.Start, n.count} {
		_ = binary.Write(&b, binary.BigEndian, field)
	}
	b.Write(n.bytes())
	sum := sha256.Sum256(b.Bytes())
	return sum[:]
}

func TestVectors(t *testing.T) {
	rows := vectorRows()
	require.Len(t, vectors, len(rows))
	var h digest.Hasher
	var d digest.Digest
	var n naiveTable
	for i, row := range rows {
		key, value, want := []byte(row[0]), []byte(row[1]), vectors[i]
		entry := h.Entry(key, value)
		d.Add(entry)
		n.add(naiveEntry(key, value), 1)
		sum, pub := d.Sum.Bytes(), d.Pub(vectorID)

		require.Equal(t, naiveEntry(key, value), entry[:], "entry %d", i)
		require.Equal(t, n.bytes(), sum[:], "sum %d", i)
		require.Equal(t, n.pub(vectorID), pub[:], "pub %d", i)

		got := [3]string{hex.EncodeToString(entry[:]), hex.EncodeToString(sum[:]), hex.EncodeToString(pub[:])}
		require.Equal(t, want, got, "vector %d", i)
		require.Equal(t, want[0][:16], hex.EncodeToString(func() []byte { tag := entry.Tag(); return tag[:] }()))
		require.EqualValues(t, i+1, d.Count)
	}
}

// Any order of additions, removals and merges gives what big integers give.
func TestSumIsAnInteger(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var d, other digest.Digest
		var n naiveTable
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			var e digest.Entry
			copy(e[:], rapid.SliceOfN(rapid.SampledFrom([]byte{0, 1, 0x7f, 0x80, 0xfe, 0xff}), 32, 32).Draw(t, "entry"))
			switch rapid.IntRange(0, 2).Draw(t, "op") {
			case 0:
				d.Add(e)
				n.add(e[:], 1)
			case 1:
				d.Sub(e)
				n.add(e[:], -1)
			case 2:
				other.Add(e)
				n.add(e[:], 1)
			}
		}
		d.Merge(other)
		sum := d.Sum.Bytes()
		require.Equal(t, n.bytes(), sum[:])
		require.Equal(t, n.count, d.Count)
		require.Equal(t, d.Sum, digest.SumFromBytes(sum))
	})
}

func TestAnEmptiedTableIsEmpty(t *testing.T) {
	var h digest.Hasher
	var d digest.Digest
	var entries []digest.Entry
	for i := range 100 {
		entries = append(entries, h.Entry([]byte{byte(i)}, []byte("v")))
		d.Add(entries[i])
	}
	rand.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	for _, e := range entries {
		d.Sub(e)
	}
	require.Equal(t, digest.Digest{}, d)
}

// Every field of the identity, and the count, is in the pub.
func TestPubBindsTheIdentity(t *testing.T) {
	base := digest.Digest{Count: 3}
	seen := map[[32]byte]bool{base.Pub(vectorID): true}
	for _, change := range []func(*digest.FrameID){
		func(id *digest.FrameID) { id.TopicID[15]++ }, func(id *digest.FrameID) { id.Partition++ },
		func(id *digest.FrameID) { id.Incarnation[0]++ }, func(id *digest.FrameID) { id.Cut++ }, func(id *digest.FrameID) { id.Start++ },
	} {
		id := vectorID
		change(&id)
		seen[base.Pub(id)] = true
	}
	base.Count++
	seen[base.Pub(vectorID)] = true
	base.Sum[3]++
	seen[base.Pub(vectorID)] = true
	require.Len(t, seen, 8)
}

func TestHashingAllocatesNothing(t *testing.T) {
	var h digest.Hasher
	var d digest.Digest
	var a digest.Adder
	key, value := make([]byte, 15), make([]byte, 100)
	require.Zero(t, testing.AllocsPerRun(100, func() { d.Add(h.Entry(key, value)) }))
	require.Zero(t, testing.AllocsPerRun(100, func() { a.Add(key, value) }))
	require.Zero(t, testing.AllocsPerRun(100, func() {
		for _, e := range h.Entries(3, func(int) ([]byte, []byte, bool) { return key, value, true }) {
			d.Add(e)
		}
	}))
	require.Zero(t, testing.AllocsPerRun(100, func() { d.Pub(vectorID) }))
}

func BenchmarkEntry(b *testing.B) {
	var h digest.Hasher
	var d digest.Digest
	key, value := make([]byte, 15), make([]byte, 100)
	b.SetBytes(115)
	b.ReportAllocs()
	for b.Loop() {
		d.Add(h.Entry(key, value))
	}
}

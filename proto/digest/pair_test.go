package digest

import (
	"crypto/sha256"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// edges are lengths beside which padding takes another block, or a block is full.
var edges = []int{0, 1, 54, 55, 56, 57, 62, 63, 64, 65, 118, 119, 120, 121, 127, 128, 129, 183, 184, 191, 192, 1000}

// requirePair hashes a and b in both ways that there are, each by itself too, and in buffers that held something else.
func requirePair(t require.TestingT, a, b []byte) {
	wantA, wantB := Entry(sha256.Sum256(a)), Entry(sha256.Sum256(b))
	var x, y message
	x.pad([]byte("before")) // what padding has to overwrite
	y.b = append(y.b, make([]byte, 1<<10)...)
	for i := range y.b {
		y.b[i] = 0xff
	}
	x.pad(append(x.b[:0], a...))
	y.pad(append(y.b[:0], b...))
	for range 2 { // hashing leaves messages as they are
		gotA, gotB := hashPair(&x, &y)
		require.Equal(t, wantA, gotA, "lengths %d and %d", len(a), len(b))
		require.Equal(t, wantB, gotB, "lengths %d and %d", len(a), len(b))
	}
	require.Equal(t, wantA, x.alone(), "length %d", len(a))
	require.Equal(t, wantB, y.alone(), "length %d", len(b))
	require.Equal(t, wantA, x.sum256(), "length %d", len(a)) // what other processors do
	require.Equal(t, wantB, y.sum256(), "length %d", len(b))
}

func TestPairsAtTheEdges(t *testing.T) {
	noise := make([]byte, 2000)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(noise)
	for _, n := range edges {
		for _, m := range edges {
			requirePair(t, noise[:n], noise[1000:][:m])
		}
	}
}

func TestPairs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		length := rapid.OneOf(rapid.IntRange(0, 1000), rapid.SampledFrom(edges))
		draw := func(name string) []byte {
			b := make([]byte, length.Draw(t, "length of "+name))
			_, _ = rand.NewChaCha8([32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, name))).Read(b)
			return b
		}
		requirePair(t, draw("a"), draw("b"))
	})
}

func FuzzPair(f *testing.F) {
	for i, n := range edges {
		f.Add(make([]byte, n), make([]byte, edges[len(edges)-1-i]))
	}
	f.Fuzz(func(t *testing.T, a, b []byte) { requirePair(t, a, b) })
}

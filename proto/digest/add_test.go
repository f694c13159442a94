package digest_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keyframelog/keyframe/proto/digest"
)

type row struct {
	key, value []byte
	ok         bool
}

func drawRows(t *rapid.T) []row {
	part := rapid.SliceOfN(rapid.Byte(), 0, 150)
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) row {
		return row{part.Draw(t, "key"), part.Draw(t, "value"), rapid.Float64().Draw(t, "ok") < 0.8}
	}), 0, 9).Draw(t, "rows")
}

// Entries are those that each row has by itself, whatever lies beside it, and in order; wherever one stops to listen; and they alias nothing.
func TestEntries(t *testing.T) {
	var h digest.Hasher
	rapid.Check(t, func(t *rapid.T) {
		rows := drawRows(t)
		stop := rapid.IntRange(0, len(rows)).Draw(t, "stop")
		var k, v []byte // as an iterator's
		asked, next := 0, 0
		for i, e := range h.Entries(len(rows), func(i int) ([]byte, []byte, bool) {
			require.Equal(t, asked, i)
			asked++
			k, v = append(k[:0], rows[i].key...), append(v[:0], rows[i].value...)
			return k, v, rows[i].ok
		}) {
			require.Equal(t, next, i)
			next++
			want := make([]byte, 32)
			if rows[i].ok {
				want = naiveEntry(rows[i].key, rows[i].value)
			}
			require.Equal(t, want, e[:])
			if next == stop {
				break
			}
		}
		if stop == 0 {
			stop = len(rows)
		}
		require.Equal(t, stop, next)
	})
}

// An Adder's digest is right at any moment, and what it was asked at has no effect on what follows.
func TestAdder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a digest.Adder
		var n naiveTable
		var k, v []byte
		for _, r := range drawRows(t) {
			k, v = append(k[:0], r.key...), append(v[:0], r.value...)
			a.Add(k, v)
			n.add(naiveEntry(r.key, r.value), 1)
			if !r.ok {
				requireDigest(t, &n, a.Digest())
			}
		}
		requireDigest(t, &n, a.Digest())
		requireDigest(t, &n, a.Digest())
	})
}

func requireDigest(t *rapid.T, want *naiveTable, got digest.Digest) {
	sum := got.Sum.Bytes()
	require.Equal(t, want.bytes(), sum[:])
	require.Equal(t, want.count, got.Count)
}

func BenchmarkAdder(b *testing.B) {
	var a digest.Adder
	key, value := make([]byte, 15), make([]byte, 100)
	b.SetBytes(115)
	b.ReportAllocs()
	for b.Loop() {
		a.Add(key, value)
	}
}

func BenchmarkEntries(b *testing.B) {
	var h digest.Hasher
	var d digest.Digest
	key, value := make([]byte, 15), make([]byte, 100)
	b.SetBytes(115)
	b.ReportAllocs()
	for _, e := range h.Entries(b.N, func(int) ([]byte, []byte, bool) { return key, value, true }) {
		d.Add(e)
	}
}

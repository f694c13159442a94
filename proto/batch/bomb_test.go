package batch

import (
	"bytes"
	"encoding/binary"
	"io"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/stretchr/testify/require"
)

// zeros writes n MiB of zero bytes.
func zeros(t testing.TB, w io.WriteCloser, n int) {
	chunk := make([]byte, 1<<20)
	for range n {
		_, err := w.Write(chunk)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
}

// bombs are bodies of about 1 MiB that would become a gibibyte, or as much as the format allows: honest ones, and such that hide it.
func bombs(t testing.TB) map[string]struct {
	codec Codec
	body  []byte
} {
	type bomb = struct {
		codec Codec
		body  []byte
	}
	list := map[string]bomb{}

	var gz bytes.Buffer
	zeros(t, gzip.NewWriter(&gz), 1)
	// The last four bytes speak of the last member only.
	members := bytes.Repeat(gz.Bytes(), 1<<10)
	list["gzip of many members"] = bomb{Gzip, members}
	honest := bytes.Clone(members)
	binary.LittleEndian.PutUint32(honest[len(honest)-4:], 1<<30)
	list["gzip"] = bomb{Gzip, honest}

	var lz bytes.Buffer
	l := lz4.NewWriter(&lz)
	require.NoError(t, l.Apply(lz4.BlockSizeOption(lz4.Block4Mb), lz4.ChecksumOption(false)))
	zeros(t, l, 4)
	head, block := lz.Bytes()[:7], lz.Bytes()[7:lz.Len()-4]
	list["lz4"] = bomb{LZ4, append(append(bytes.Clone(head), bytes.Repeat(block, 64)...), 0, 0, 0, 0)}
	lz.Reset()
	l.Reset(&lz)
	require.NoError(t, l.Apply(lz4.SizeOption(64<<20)))
	zeros(t, l, 64)
	list["lz4 that declares its size"] = bomb{LZ4, lz.Bytes()}

	var zs bytes.Buffer
	z, err := zstd.NewWriter(&zs, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
	require.NoError(t, err)
	zeros(t, z, 1<<10)
	list["zstd"] = bomb{Zstd, bytes.Clone(zs.Bytes())}
	zs.Reset()
	z.ResetContentSize(&zs, 64<<20)
	zeros(t, z, 64)
	list["zstd that declares its size"] = bomb{Zstd, zs.Bytes()}
	// A window larger than the limit, as Java's level 22 declares it.
	wide := bytes.Clone(list["zstd"].body)
	wide[5] = (27 - 10) << 3
	list["zstd with a large window"] = bomb{Zstd, wide}
	// Frames that are small each.
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	require.NoError(t, err)
	list["zstd of many frames"] = bomb{Zstd, bytes.Repeat(e.EncodeAll(make([]byte, 1<<20), nil), 1<<10)}

	// Snappy copies 64 bytes at most at a time, so that 1 MiB becomes 21; what becomes more lies about its size.
	list["snappy that lies"] = bomb{Snappy, append(binary.AppendUvarint(nil, 1<<30), make([]byte, 1<<20)...)}
	densest := s2.EncodeSnappy(nil, make([]byte, 1<<20))
	framed := append(binary.BigEndian.AppendUint32(nil, uint32(len(densest))), densest...)
	list["snappy of many blocks"] = bomb{Snappy, append([]byte(xerialHeader), bytes.Repeat(framed, 64)...)}
	return list
}

// cpu is the processor time of this process so far.
func cpu(t testing.TB) time.Duration {
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A bomb is refused, and all memory ever allocated for it is less than twice the limit.
func TestBomb(t *testing.T) {
	const limit = 32 << 20
	empty := build(t, None, 0)
	for name, bomb := range bombs(t) {
		t.Run(name, func(t *testing.T) {
			b := edit(empty, func(b Batch) Batch {
				b[posAttributes+1] = byte(bomb.codec)
				return append(b, bomb.body...)
			})
			r := NewReader(limit)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			start := cpu(t)
			require.ErrorIs(t, r.Reset(b), ErrTooLarge)
			used := cpu(t) - start
			runtime.ReadMemStats(&after)
			allocated := after.TotalAlloc - before.TotalAlloc
			t.Logf("%d KiB refused after %v of processor time and %d KiB allocated", len(bomb.body)>>10, used, allocated>>10)
			require.Less(t, allocated, uint64(2*limit))
			require.Less(t, used, 500*time.Millisecond, "the guard is ten times what it should be")
		})
	}
}

// What decompresses to the limit exactly is taken, one byte more is not.
func TestLimitIsExact(t *testing.T) {
	for codec := Gzip; codec <= Zstd; codec++ {
		for _, size := range []int{0, 1, 100, 64 << 10, 1<<20 + 1, 3<<20 + 17} {
			body, err := compress(codec, 0, nil, bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size])
			require.NoError(t, err)
			out, err := decompress(codec, nil, body, size)
			require.NoError(t, err, "%s of %d bytes", codec, size)
			require.Len(t, out, size)
			if size > 0 {
				_, err = decompress(codec, nil, body, size-1)
				require.ErrorIs(t, err, ErrTooLarge, "%s of %d bytes", codec, size)
			}
		}
	}
}

func TestZstdWindow(t *testing.T) {
	for _, limit := range []int{0, 1 << 10, 1<<10 + 127, 1<<10 + 128, 1<<20 - 1, 1 << 20, 32 << 20, 48 << 20, 64<<20 + 1, 100 << 20} {
		b := zstdWindow(limit)
		base := 1 << (10 + b>>3)
		window := base + base/8*int(b&7)
		require.LessOrEqual(t, window, max(limit, zstdWindowMin))
		require.Greater(t, window+base/8, limit)
	}
}

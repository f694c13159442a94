package frame_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/frame"
)

func smallFrame(t require.TestingT) []byte { return encode(t, header(100, 50), goldenRows()) }

// A stream that ends early is truncated wherever it ends, and what was complete of it was returned.
func TestTruncated(t *testing.T) {
	whole := smallFrame(t)
	for n := range whole {
		_, r, err := decode(bytes.NewReader(whole[:n]), 0)
		require.ErrorIs(t, err, frame.ErrTruncated, "%d bytes of %d", n, len(whole))
		require.ErrorIs(t, err, io.ErrUnexpectedEOF)
		require.NotErrorIs(t, err, io.EOF, "nobody may take it for the end")
		if r != nil {
			_, ok := r.Footer()
			require.False(t, ok)
			_, again := r.Next(nil)
			require.Equal(t, err, again, "errors are final")
		}
	}
}

// No damaged bit goes unnoticed.
func TestEveryDamagedBit(t *testing.T) {
	whole := smallFrame(t)
	for bit := range 8 * len(whole) {
		damaged := slices.Clone(whole)
		damaged[bit/8] ^= 1 << (bit % 8)
		_, _, err := decode(bytes.NewReader(damaged), 1<<20)
		require.Error(t, err, "bit %d of byte %d", bit%8, bit/8)
		require.True(t, isFrameError(err), "%v", err)
		require.Equal(t, bit/8 == 4, errors.Is(err, frame.ErrVersion), "only the version byte makes another version: byte %d: %v", bit/8, err)
	}
}

func isFrameError(err error) bool {
	return errors.Is(err, frame.ErrCorrupt) || errors.Is(err, frame.ErrVersion) || errors.Is(err, frame.ErrTruncated) || errors.Is(err, frame.ErrTooLarge)
}

// A future version is recognised by its first 8 bytes, however its header goes on.
func TestUnknownVersion(t *testing.T) {
	_, err := frame.NewReader(bytes.NewReader([]byte("KFRM\x02\x01\x00\x00")), 0)
	require.ErrorIs(t, err, frame.ErrVersion)
	require.NotErrorIs(t, err, frame.ErrCorrupt)
	_, err = frame.NewReader(bytes.NewReader([]byte("GIF89a\x00\x00")), 0)
	require.ErrorIs(t, err, frame.ErrCorrupt)
}

func TestTheStreamsErrorComesThrough(t *testing.T) {
	whole := smallFrame(t)
	for _, n := range []int{0, 40, 90, 200, len(whole) - 1} {
		in := io.MultiReader(bytes.NewReader(whole[:n]), iotest.ErrReader(io.ErrClosedPipe))
		_, _, err := decode(in, 0)
		require.ErrorIs(t, err, io.ErrClosedPipe)
		require.False(t, isFrameError(err))
	}
}

// What follows the footer is not read: frames may follow each other in a stream.
func TestNothingBehindTheFooterIsRead(t *testing.T) {
	two := bytes.NewReader(append(smallFrame(t), smallFrame(t)...))
	for range 2 {
		rows, _, err := decode(two, 0)
		require.NoError(t, err)
		require.Len(t, rows, len(goldenRows()))
	}
	require.Zero(t, two.Len())
}

// A length that nothing stands behind costs no memory to speak of.
func TestLengthsAreNotBelieved(t *testing.T) {
	in := append(smallFrame(t)[:80], 0x03, 0xff, 0xff, 0xff, 0, 0, 0, 0)
	allocated := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _, err := decode(bytes.NewReader(in), 0)
			require.ErrorIs(b, err, frame.ErrTruncated)
		}
	}).AllocedBytesPerOp()
	require.Less(t, allocated, int64(1<<20))
}

// sealed makes a frame of one block with a payload whose checksum is right, whatever it is.
func sealed(t require.TestingT, payload []byte, rows uint64) []byte {
	h := header(100, 50)
	whole := encode(t, h, nil)
	b := slices.Clone(whole[:80])
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(payload, crc32.MakeTable(crc32.Castagnoli)))
	b = append(b, payload...)
	footer := slices.Clone(whole[80:])
	binary.BigEndian.PutUint64(footer[84:], rows)
	binary.BigEndian.PutUint32(footer[92:], crc32.Checksum(footer[:92], crc32.MakeTable(crc32.Castagnoli)))
	return append(b, footer...)
}

// payloadOf is the payload of the only block of a frame.
func payloadOf(whole []byte) []byte { return whole[88 : 88+binary.BigEndian.Uint32(whole[80:])] }

// A wrong payload under a right checksum: a broken writer, not a broken disk.
func TestWrongStructure(t *testing.T) {
	good := payloadOf(smallFrame(t))
	rows := uint64(len(goldenRows()))
	_, _, err := decode(bytes.NewReader(sealed(t, good, rows)), 0)
	require.NoError(t, err)

	edit := func(at int, with ...byte) []byte {
		b := slices.Clone(good)
		copy(b[at:], with)
		return b
	}
	for name, in := range map[string][]byte{
		"negative base":           sealed(t, edit(0, 0x80), rows),
		"base at the cut":         sealed(t, edit(0, 0, 0, 0, 0, 0, 0, 0, 100), rows),
		"no rows":                 sealed(t, edit(16, 0, 0, 0, 0), 0),
		"fewer rows":              sealed(t, edit(16, 0, 0, 0, byte(rows-1)), rows-1),
		"more rows":               sealed(t, edit(16, 0, 0, 0, byte(rows+1)), rows+1),
		"more rows than bytes":    sealed(t, edit(16, 0xff, 0xff, 0xff, 0xff), 0xffffffff),
		"unknown flag":            sealed(t, edit(20, 4), rows),
		"footer counts otherwise": sealed(t, good, rows+1),
		"shorter than its head":   sealed(t, good[:19], 1),
		"cut short":               sealed(t, good[:len(good)-1], rows),
		"offset overflows":        sealed(t, append(edit(16, 0, 0, 0, 1)[:20], 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0), 1),
	} {
		_, _, err := decode(bytes.NewReader(in), 0)
		require.ErrorIs(t, err, frame.ErrCorrupt, name)
	}
}

// Who asks for the number of rows before decoding them is not led to allocate for rows that cannot be there.
func TestRowCountIsBoundedBySize(t *testing.T) {
	payload := slices.Clone(payloadOf(smallFrame(t)))
	copy(payload[16:], []byte{0, 1, 0, 0})
	r, err := frame.NewReader(bytes.NewReader(sealed(t, payload, 1<<16)), 0)
	require.NoError(t, err)
	_, err = r.Next(nil)
	require.ErrorIs(t, err, frame.ErrCorrupt)
}

// A stream that was resumed at the wrong place repeats a block.
func TestBlockTwice(t *testing.T) {
	payload := payloadOf(smallFrame(t))
	n := uint64(len(goldenRows()))
	whole := sealed(t, payload, 2*n)
	block := whole[80 : 88+len(payload)]
	_, _, err := decode(bytes.NewReader(slices.Insert(slices.Clone(whole), 80, block...)), 0)
	require.ErrorIs(t, err, frame.ErrCorrupt)
	require.ErrorContains(t, err, "behind 50")
}

func TestNoPositionPanics(t *testing.T) {
	r, err := frame.NewReader(bytes.NewReader(smallFrame(t)), 0)
	require.NoError(t, err)
	block, err := r.Next(nil)
	require.NoError(t, err)
	for _, pos := range []int{-1 << 62, -1, 0, block.Begin() - 1, block.End(), block.End() + 1, 1 << 62} {
		_, _, err := block.Row(pos)
		require.ErrorIs(t, err, frame.ErrCorrupt, "position %d", pos)
	}
	for pos := block.Begin(); pos < block.End(); pos++ {
		_, next, err := block.Row(pos)
		require.True(t, err != nil || next > pos && next <= block.End())
	}
	_, _, err = frame.Block{}.Row(0)
	require.ErrorIs(t, err, frame.ErrCorrupt)
}

func FuzzReader(f *testing.F) {
	f.Add(smallFrame(f))
	f.Add(encode(f, header(100, -1), nil))
	f.Fuzz(func(t *testing.T, in []byte) {
		_, _, err := decode(bytes.NewReader(in), 1<<20)
		require.True(t, err == nil || isFrameError(err), "%v", err)
	})
}

// FuzzBlock gets past the checksum. What decodes is what a writer could have meant: it survives another round trip.
func FuzzBlock(f *testing.F) {
	f.Add(payloadOf(smallFrame(f)), uint64(len(goldenRows())))
	f.Fuzz(func(t *testing.T, payload []byte, n uint64) {
		if len(payload) == 0 {
			return
		}
		rows, r, err := decode(bytes.NewReader(sealed(t, payload, n)), 1<<20)
		if err != nil {
			require.True(t, isFrameError(err), "%v", err)
			return
		}
		var out bytes.Buffer
		w := frame.NewWriter(&out, r.Header())
		for i := range rows {
			if len(rows[i].Headers) == 0 {
				rows[i].Headers = nil
			}
			if w.Append(&rows[i]) != nil {
				return // offsets that the loader refuses, too
			}
		}
		require.NoError(t, w.Close(footerOf(r.Header(), rows)))
		again, _, err := decode(&out, 0)
		require.NoError(t, err)
		require.Equal(t, rows, again)
	})
}

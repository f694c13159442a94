package frame_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
)

func header(cut, since int64) frame.Header {
	return frame.Header{
		TopicID: [16]byte{0: 0xa0, 15: 0xaf}, Partition: 7, Incarnation: [16]byte{0: 0x10, 15: 0x1f},
		Cut: cut, Start: 2, Since: since, Fold: fold.JSONMergePatch, CutTimeMs: 1_700_000_000_000,
	}
}

func footerOf(h frame.Header, rows []frame.Row) frame.Footer {
	var hasher digest.Hasher
	f := frame.Footer{Rejected: 3, Rows: uint64(len(rows))}
	for _, r := range rows {
		if !r.Tombstone {
			f.Digest.Add(hasher.Entry(r.Key, r.Value))
		}
	}
	f.Pub = f.Digest.Pub(digest.FrameID{TopicID: h.TopicID, Partition: h.Partition, Incarnation: h.Incarnation, Cut: h.Cut, Start: h.Start})
	return f
}

func encode(t require.TestingT, h frame.Header, rows []frame.Row) []byte {
	var b bytes.Buffer
	w := frame.NewWriter(&b, h)
	for i := range rows {
		require.NoError(t, w.Append(&rows[i]))
	}
	require.NoError(t, w.Close(footerOf(h, rows)))
	return b.Bytes()
}

// decode reads a frame to its end. The rows are those before the error.
func decode(in io.Reader, maxBlockBytes int) (rows []frame.Row, r *frame.Reader, err error) {
	if r, err = frame.NewReader(in, maxBlockBytes); err != nil {
		return nil, nil, err
	}
	for {
		block, err := r.Next(nil)
		if errors.Is(err, io.EOF) && !errors.Is(err, frame.ErrTruncated) {
			return rows, r, nil
		}
		if err != nil {
			return rows, r, err
		}
		for row, err := range block.Rows() {
			if err != nil {
				return rows, r, err
			}
			rows = append(rows, row)
		}
	}
}

func genRows(t *rapid.T, cut, since int64) []frame.Row {
	offset := max(since, 0) - 1
	var rows []frame.Row
	for range rapid.IntRange(0, 40).Draw(t, "rows") {
		offset += rapid.Int64Range(1, 1<<rapid.IntRange(0, 40).Draw(t, "bits")).Draw(t, "gap")
		if offset >= cut {
			break
		}
		r := frame.Row{
			Key: rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "key"), Value: rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "value"),
			Offset: offset, Timestamp: rapid.Int64().Draw(t, "timestamp"),
		}
		if rapid.IntRange(0, 3).Draw(t, "long") == 0 {
			r.Value = bytes.Repeat([]byte{'x'}, rapid.IntRange(0, 2*frame.BlockBytes).Draw(t, "length"))
		}
		if rapid.Bool().Draw(t, "headers") {
			r.Headers = batch.AppendHeaders(nil, batch.Header{Key: "h", Value: []byte("v")})
		}
		if since >= 0 && rapid.Bool().Draw(t, "tombstone") {
			r.Tombstone, r.Value = true, nil
		}
		rows = append(rows, r)
	}
	return rows
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := header(1<<50, rapid.SampledFrom([]int64{-1, 0, 1000}).Draw(t, "since"))
		rows := genRows(t, h.Cut, h.Since)
		encoded := encode(t, h, rows)
		require.True(t, bytes.Equal(encoded, encode(t, h, rows)), "equal rows make equal bytes")

		got, r, err := decode(iotest.HalfReader(bytes.NewReader(encoded)), 0)
		require.NoError(t, err)
		require.Equal(t, rows, got)
		require.Equal(t, h, r.Header())
		footer, ok := r.Footer()
		require.True(t, ok)
		require.Equal(t, footerOf(h, rows), footer)
		_, err = r.Next(nil)
		require.Equal(t, io.EOF, err, "the end stays the end")
	})
}

func someRows(n, valueBytes int) []frame.Row {
	var rows []frame.Row
	for i := range n {
		rows = append(rows, frame.Row{
			Key: fmt.Appendf(nil, "key-%010d", i), Value: bytes.Repeat([]byte{'v'}, valueBytes), Offset: int64(i) + 5, Timestamp: 1_700_000_000_000 + int64(i),
		})
	}
	return rows
}

// Every row can be decoded at its position, without those before it.
func TestPositions(t *testing.T) {
	rows := someRows(10_000, 100)
	r, err := frame.NewReader(bytes.NewReader(encode(t, header(1<<20, -1), rows)), 0)
	require.NoError(t, err)
	var blocks []frame.Block
	for block, err := r.Next(nil); err != io.EOF; block, err = r.Next(nil) {
		require.NoError(t, err)
		blocks = append(blocks, block)
	}
	require.Greater(t, len(blocks), 3)
	slices.Reverse(blocks)
	for _, block := range blocks {
		var positions []int
		for pos := block.Begin(); pos < block.End(); {
			positions = append(positions, pos)
			_, next, err := block.Row(pos)
			require.NoError(t, err)
			pos = next
		}
		require.Len(t, positions, block.Len())
		require.Less(t, len(block.Bytes()), frame.BlockBytes+200)
		require.Equal(t, len(block.Bytes()), block.End())
		for i, pos := range slices.Backward(positions) {
			row, _, err := block.Row(pos)
			require.NoError(t, err)
			require.Equal(t, rows[len(rows)-len(positions)+i], row)
		}
		rows = rows[:len(rows)-len(positions)]
	}
}

// A row beyond the block size is alone in its block, so that only the row's size decides what a reader must admit.
func TestHugeRow(t *testing.T) {
	rows := someRows(3, 100)
	rows[1].Value = make([]byte, 3*frame.BlockBytes)
	encoded := encode(t, header(100, -1), rows)
	got, _, err := decode(bytes.NewReader(encoded), 3*frame.BlockBytes+100)
	require.NoError(t, err)
	require.Equal(t, rows, got)

	got, _, err = decode(bytes.NewReader(encoded), 3*frame.BlockBytes)
	require.ErrorIs(t, err, frame.ErrTooLarge)
	require.Equal(t, rows[:1], got)
}

// The largest row that a fold makes is read where no limit is given, whatever its bytes are: key, value or headers.
func TestLargestRow(t *testing.T) {
	large := func(n int) []byte { return bytes.Repeat([]byte("x"), n) }
	headers := batch.AppendHeaders(nil, batch.Header{Key: "h", Value: large(fold.RowBytesMax - 9)})
	require.Equal(t, fold.RowBytesMax-2, len(headers))
	for _, r := range []frame.Row{
		{Key: large(fold.RowBytesMax - 1), Value: []byte("v")},
		{Key: []byte("k"), Value: large(fold.RowBytesMax - 1)},
		{Key: []byte("k"), Value: []byte("v"), Headers: headers},
	} {
		rows := someRows(3, 100)
		r.Offset, r.Timestamp = rows[1].Offset, rows[1].Timestamp
		rows[1] = r
		got, _, err := decode(bytes.NewReader(encode(t, header(100, -1), rows)), 0)
		require.NoError(t, err)
		require.True(t, reflect.DeepEqual(rows, got)) // printed, the difference would be too large
	}
	rows := someRows(3, 100)
	rows[1].Value = large(fold.RowBytesMax + 1000)
	_, _, err := decode(bytes.NewReader(encode(t, header(100, -1), rows)), 0)
	require.ErrorIs(t, err, frame.ErrTooLarge)
}

// The blocks belong to the caller: reused memory is used, and without it each block has its own.
func TestBlockMemory(t *testing.T) {
	encoded := encode(t, header(1<<20, -1), someRows(20_000, 100))
	r, err := frame.NewReader(bytes.NewReader(encoded), 0)
	require.NoError(t, err)
	buffer := make([]byte, 0, 2*frame.BlockBytes)
	block, err := r.Next(buffer)
	require.NoError(t, err)
	require.Same(t, &buffer[:1][0], &block.Bytes()[0])
	own, err := r.Next(nil)
	require.NoError(t, err)
	require.LessOrEqual(t, cap(own.Bytes()), len(own.Bytes())+len(own.Bytes())/8, "a block that is kept wastes little")
	before := slices.Clone(own.Bytes())
	_, err = r.Next(nil)
	require.NoError(t, err)
	require.Equal(t, before, own.Bytes())
}

func TestWriterRefuses(t *testing.T) {
	row := func(offset int64) *frame.Row { return &frame.Row{Key: []byte("k"), Value: []byte("v"), Offset: offset} }
	for name, rows := range map[string][]*frame.Row{
		"offset twice":               {row(60), row(60)},
		"offset back":                {row(60), row(59)},
		"at the cut":                 {row(100)},
		"below since":                {row(49)},
		"negative":                   {row(-1)},
		"tombstone in a whole frame": {{Key: []byte("k"), Tombstone: true, Offset: 60}},
	} {
		since := int64(50)
		if name == "tombstone in a whole frame" || name == "negative" {
			since = -1
		}
		w := frame.NewWriter(io.Discard, header(100, since))
		var err error
		for _, r := range rows {
			err = w.Append(r)
		}
		require.Error(t, err, name)
		require.Equal(t, err, w.Append(row(70)), "the first error stays")
		require.Equal(t, err, w.Close(frame.Footer{}))
	}
}

func TestWriterEnds(t *testing.T) {
	w := frame.NewWriter(io.Discard, header(100, -1))
	require.NoError(t, w.Append(&frame.Row{Key: []byte("k"), Offset: 1}))
	require.Error(t, w.Close(frame.Footer{Rows: 2}), "the footer is held against the rows")

	w = frame.NewWriter(io.Discard, header(100, -1))
	require.NoError(t, w.Close(frame.Footer{}))
	require.Error(t, w.Append(&frame.Row{Key: []byte("k"), Offset: 1}))
	require.Error(t, w.Close(frame.Footer{}))
}

type failingWriter struct{ left int }

func (f *failingWriter) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(b), nil
}

func TestWriterReportsTheStream(t *testing.T) {
	rows := someRows(5000, 100)
	whole := len(encode(t, header(1<<20, -1), rows))
	for _, room := range []int{0, 79, 80, 300_000, whole - 1} {
		w := frame.NewWriter(&failingWriter{room}, header(1<<20, -1))
		var err error
		for i := range rows {
			if err = w.Append(&rows[i]); err != nil {
				break
			}
		}
		if err == nil {
			err = w.Close(footerOf(header(1<<20, -1), rows))
		}
		require.ErrorIs(t, err, io.ErrClosedPipe, "room for %d bytes", room)
	}
}

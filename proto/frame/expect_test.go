package frame_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/frame"
)

// readExpecting reads a stream to its end and returns how many bytes of it were read.
func readExpecting(t *testing.T, stream io.Reader, rows, bytes int64) (read int64, err error) {
	c := &counted{Reader: stream}
	r, err := frame.NewReader(c, 0)
	require.NoError(t, err)
	r.Expect(rows, bytes)
	for err == nil {
		var b frame.Block
		if b, err = r.Next(nil); err != nil {
			require.Zero(t, b.Len())
		}
	}
	_, again := r.Next(nil)
	require.Equal(t, err, again, "errors are final")
	return c.n, err
}

type counted struct {
	io.Reader
	n int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n += int64(n)
	return n, err
}

// A frame has no more live rows and no more bytes of them than was said of it; headers and tombstones are not among these.
func TestExpected(t *testing.T) {
	rows := []frame.Row{
		{Key: []byte("a"), Value: []byte("123"), Offset: 50}, {Key: []byte("gone"), Tombstone: true, Offset: 51},
		{Key: []byte("bb"), Value: []byte{}, Offset: 52}, {Key: []byte("c"), Value: bytes.Repeat([]byte("x"), frame.BlockBytes), Offset: 53},
	}
	all := int64(1 + 3 + 2 + 1 + frame.BlockBytes)
	encoded := encode(t, header(100, 50), rows)
	_, err := readExpecting(t, bytes.NewReader(encoded), 3, all)
	require.ErrorIs(t, err, io.EOF)
	_, err = readExpecting(t, bytes.NewReader(encoded), 2, all)
	require.ErrorIs(t, err, frame.ErrBeyond)
	_, err = readExpecting(t, bytes.NewReader(encoded), 3, all-1)
	require.ErrorIs(t, err, frame.ErrBeyond)
}

// A stream without an end is read as far as the first block beyond what was expected, whether it has too many rows or too large ones.
func TestEndlessFrame(t *testing.T) {
	for _, value := range []int{0, 1 << 20} {
		in, out := io.Pipe()
		ended := make(chan error)
		go func() {
			w := frame.NewWriter(out, frame.Header{Cut: 1 << 60, Since: -1, Fold: 1})
			var err error
			for i := int64(0); err == nil; i++ {
				err = w.Append(&frame.Row{Key: fmt.Append(nil, i), Value: make([]byte, value), Offset: i})
			}
			ended <- err
		}()
		read, err := readExpecting(t, in, 1000, 4<<20)
		require.ErrorIs(t, err, frame.ErrBeyond)
		require.LessOrEqual(t, read, int64(5<<20+frame.BlockBytes))
		require.NoError(t, in.Close())
		require.ErrorIs(t, <-ended, io.ErrClosedPipe)
	}
}

// No block of more than one row is larger than a writer makes it.
func TestBlockOfManyRowsIsBounded(t *testing.T) {
	head := encode(t, header(100, -1), nil)[:80]
	block := func(value int) []byte {
		payload := make([]byte, 20)
		binary.BigEndian.PutUint32(payload[16:], 2)
		for i := range 2 {
			payload = append(payload, 0, byte(i), 0, 1, byte('a'+i))
			payload = append(binary.AppendUvarint(payload, uint64(value)), make([]byte, value)...)
		}
		b := binary.BigEndian.AppendUint32(bytes.Clone(head), uint32(len(payload)))
		b = binary.BigEndian.AppendUint32(b, crc32.Checksum(payload, crc32.MakeTable(crc32.Castagnoli)))
		return append(b, payload...)
	}
	for value, want := range map[int]error{frame.BlockBytes - 50: frame.ErrTruncated, 2 * frame.BlockBytes: frame.ErrCorrupt} {
		r, err := frame.NewReader(bytes.NewReader(block(value)), 0)
		require.NoError(t, err)
		_, err = r.Next(nil)
		if want == frame.ErrTruncated { // behind the block
			require.NoError(t, err)
			_, err = r.Next(nil)
		}
		require.ErrorIs(t, err, want)
	}
}

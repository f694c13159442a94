package batch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/stretchr/testify/require"
)

// build makes a batch of n records, keys and values of about a hundred bytes.
func build(t testing.TB, codec Codec, n int) Batch {
	opts := NewOptions()
	opts.Codec = codec
	b := NewBuilder(opts)
	for i := range n {
		value := fmt.Appendf(nil, "value %d of a record that is not all too short, so that there is something to compress", i*7919)
		require.NoError(t, b.Append(Record{Offset: int64(i), Timestamp: 1000 + int64(i), Key: fmt.Appendf(nil, "key-%d", i), Value: value}))
	}
	out, err := b.Finish()
	require.NoError(t, err)
	return out
}

// edit returns a copy with something changed, length and checksum right again.
func edit(b Batch, change func(b Batch) Batch) Batch {
	c := change(bytes.Clone(b))
	binary.BigEndian.PutUint32(c[posLength:], uint32(len(c)-lengthOverhead))
	c.seal()
	return c
}

func TestSplitErrors(t *testing.T) {
	b := build(t, None, 2)
	for n := range b {
		_, _, err := Split(b[:n])
		require.ErrorIs(t, err, ErrTruncated, "cut to %d", n)
	}
	for _, magic := range []int8{0, 1, 3, -1} {
		old := bytes.Clone(b)
		old[posMagic] = byte(magic)
		_, _, err := Split(old[:20])
		var e *MagicError
		require.ErrorAs(t, err, &e)
		require.ErrorIs(t, err, ErrMagic)
		require.Equal(t, magic, e.Magic)
		require.ErrorIs(t, Batch(old).Validate(), ErrMagic)
	}
	for _, length := range []uint32{0, HeaderSize - lengthOverhead - 1, 1 << 31, 1<<32 - 1} {
		short := bytes.Clone(b)
		binary.BigEndian.PutUint32(short[posLength:], length)
		_, _, err := Split(short)
		require.ErrorIs(t, err, ErrLength, "%d", length)
	}
	two := append(bytes.Clone(b), b...)
	first, rest, err := Split(two)
	require.NoError(t, err)
	require.Equal(t, b, first)
	require.Equal(t, b, Batch(rest))
	require.Equal(t, len(first), cap(first), "an append to the first must not reach the second")
}

func TestValidateErrors(t *testing.T) {
	b := build(t, None, 3)
	require.NoError(t, b.Validate())
	require.ErrorIs(t, b[:HeaderSize-1].Validate(), ErrTruncated)
	require.ErrorIs(t, b[:len(b)-1].Validate(), ErrLength)
	for at := range b {
		if at >= posLength && at < posLeaderEpoch || at >= posMagic {
			flipped := bytes.Clone(b)
			flipped[at] ^= 4
			require.Error(t, Batch(flipped).Validate(), "byte %d", at)
		}
	}
	flipped := bytes.Clone(b)
	flipped[len(b)-1] ^= 1
	require.ErrorIs(t, Batch(flipped).Validate(), ErrCRC)

	be := binary.BigEndian
	for codec := uint16(5); codec <= 7; codec++ {
		bad := edit(b, func(b Batch) Batch { be.PutUint16(b[posAttributes:], codec); return b })
		require.ErrorIs(t, bad.Validate(), ErrCodec)
		require.ErrorIs(t, NewReader(1<<20).Reset(bad), ErrCodec)
	}
	for _, x := range []struct{ records, lastDelta uint32 }{{3, 3}, {2, 2}, {4, 2}, {0, 1<<32 - 1}, {0, 0}, {1<<32 - 1, 1<<32 - 2}, {1 << 31, 1<<31 - 1}} {
		bad := edit(b, func(b Batch) Batch {
			be.PutUint32(b[posNumRecords:], x.records)
			be.PutUint32(b[posLastOffsetDelta:], x.lastDelta)
			return b
		})
		require.ErrorIs(t, bad.Validate(), ErrCount, "%+v", x)
	}
	bad := edit(b, func(b Batch) Batch { be.PutUint64(b[posProducerID:], 7); return b })
	require.ErrorIs(t, bad.Validate(), ErrHeader, "producer without an epoch")
}

// drain reads a batch until its first error.
func drain(b Batch, limit int) error {
	r := NewReader(limit)
	if err := r.Reset(b); err != nil {
		return err
	}
	for _, err := range r.All() {
		if err != nil {
			return err
		}
	}
	return nil
}

func TestMalformedRecords(t *testing.T) {
	good := build(t, None, 0)
	record := func(parts ...[]byte) []byte {
		return append([]byte{byte(2 * len(bytes.Join(parts, nil)))}, bytes.Join(parts, nil)...)
	}
	first := record([]byte{0, 0, 0, 1, 1, 0})
	for name, x := range map[string]struct {
		index  int
		record []byte
	}{
		"length beyond the bytes":          {1, []byte{100, 0, 0, 2, 1, 1, 0}},
		"negative length":                  {1, []byte{1, 0, 0, 2, 1, 1, 0}},
		"length that never ends":           {1, bytes.Repeat([]byte{0xff}, 12)},
		"too short to be one":              {1, []byte{2, 0, 0, 0, 0, 0, 0}},
		"offset of the record before":      {1, record([]byte{0, 0, 0, 1, 1, 0})},
		"offset beyond the last":           {1, record([]byte{0, 0, 4, 1, 1, 0})},
		"negative offset":                  {1, record([]byte{0, 0, 1, 1, 1, 0})},
		"key longer than the record":       {1, record([]byte{0, 0, 2, 20, 1, 0})},
		"key length of -2":                 {1, record([]byte{0, 0, 2, 3, 1, 0})},
		"value longer than the record":     {1, record([]byte{0, 0, 2, 1, 4, 0})},
		"header count without headers":     {1, record([]byte{0, 0, 2, 1, 1, 2})},
		"header count of a billion":        {1, record([]byte{0, 0, 2, 1, 1}, binary.AppendVarint(nil, 1<<30))},
		"negative header count":            {1, record([]byte{0, 0, 2, 1, 1, 1})},
		"header with a null key":           {1, record([]byte{0, 0, 2, 1, 1, 2, 1, 0})},
		"bytes behind the last header":     {1, record([]byte{0, 0, 2, 1, 1, 0, 0})},
		"no header count":                  {1, record([]byte{0, 0, 2, 1, 2, 'v'})},
		"bytes behind the last record":     {2, append(record([]byte{0, 0, 2, 1, 1, 0}), 0)},
		"timestamp delta that never ends":  {1, record([]byte{0}, bytes.Repeat([]byte{0x80}, 11))},
		"another record behind the last":   {2, append(record([]byte{0, 0, 2, 1, 1, 0}), first...)},
		"value whose length is cut off":    {1, record([]byte{0, 0, 2, 1, 0x80, 0x80})},
		"header value beyond the record":   {1, record([]byte{0, 0, 2, 1, 1, 2, 2, 'k', 9})},
		"header key whose length is a lie": {1, record([]byte{0, 0, 2, 1, 1, 2, 0x80, 0x80, 0x80, 0x80, 8})},
	} {
		t.Run(name, func(t *testing.T) {
			for _, codec := range []Codec{None, Zstd} {
				records := append(bytes.Clone(first), x.record...)
				bad := edit(good, func(b Batch) Batch {
					binary.BigEndian.PutUint32(b[posNumRecords:], 2)
					binary.BigEndian.PutUint32(b[posLastOffsetDelta:], 1)
					b[posAttributes+1] = byte(codec)
					if codec == None {
						return append(b, records...)
					}
					out, err := compress(codec, 0, b, records)
					require.NoError(t, err)
					return out
				})
				require.NoError(t, bad.Validate(), "only the records are wrong")
				err := drain(bad, 1<<20)
				var e *RecordError
				require.ErrorAs(t, err, &e)
				require.ErrorIs(t, err, ErrRecord)
				require.Equal(t, x.index, e.Index)
			}
		})
	}
}

// A count that the bytes cannot hold is refused before any record is read.
func TestCountBeyondTheBytes(t *testing.T) {
	bad := edit(build(t, None, 1), func(b Batch) Batch {
		binary.BigEndian.PutUint32(b[posNumRecords:], 1<<30)
		binary.BigEndian.PutUint32(b[posLastOffsetDelta:], 1<<30-1)
		return b
	})
	require.NoError(t, bad.Validate())
	require.ErrorIs(t, drain(bad, 1<<20), ErrCount)
}

// Compressed records that are cut off or changed are refused or, where the codec has no checksum, read as something else: never a
// panic, never more than the limit.
func TestDamagedCompression(t *testing.T) {
	for codec := Gzip; codec <= Zstd; codec++ {
		b := build(t, codec, 50)
		for n := HeaderSize; n < len(b); n++ {
			cut := edit(b, func(b Batch) Batch { return b[:n] })
			require.Error(t, drain(cut, 1<<20), "%s cut to %d of %d", codec, n, len(b))
		}
		for at := HeaderSize; at < len(b); at++ {
			for bit := range 8 {
				flipped := edit(b, func(b Batch) Batch { b[at] ^= 1 << bit; return b })
				_ = drain(flipped, 1<<20)
			}
		}
		require.NoError(t, drain(b, 1<<20), "the shared decoders still work")
	}
}

// What only our own library can read must not get into the log, where others have to read it.
func TestSnappyIsStrict(t *testing.T) {
	records := build(t, None, 50)[HeaderSize:]
	extended := edit(build(t, Snappy, 50), func(b Batch) Batch { return append(b[:HeaderSize], s2.EncodeBetter(nil, records)...) })
	raw := edit(extended, func(b Batch) Batch { return append(b[:HeaderSize], s2.EncodeSnappy(nil, records)...) })
	require.NoError(t, drain(raw, 1<<20))
	err := drain(extended, 1<<20)
	require.ErrorIs(t, err, ErrCompressed)
	require.False(t, errors.Is(err, ErrTooLarge))
}

func TestReaderAfterAnError(t *testing.T) {
	r := NewReader(1 << 20)
	bad := edit(build(t, LZ4, 5), func(b Batch) Batch { return b[:len(b)-5] })
	require.ErrorIs(t, r.Reset(bad), ErrCompressed)
	_, ok, err := r.Next()
	require.NoError(t, err)
	require.False(t, ok, "nothing is left of the batch before")
	require.ErrorIs(t, r.Reset(bad[:10]), ErrTruncated)
	require.NoError(t, r.Reset(build(t, LZ4, 5)))
	r.Release()
	_, ok, err = r.Next()
	require.NoError(t, err)
	require.False(t, ok)
	require.NoError(t, r.Reset(build(t, LZ4, 5)))
	_, ok, _ = r.Next()
	require.True(t, ok)
}

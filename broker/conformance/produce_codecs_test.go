package conformance_test

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/raw"
)

// compressions are the codecs by their number in a batch's attributes. Java frames its snappy blocks, other clients send one block.
var compressions = []struct {
	name     string
	number   int16
	compress func(t *testing.T, records []byte) []byte
}{
	{"gzip", 1, func(t *testing.T, r []byte) []byte {
		return through(t, r, func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil })
	}},
	{"snappy", 2, func(_ *testing.T, r []byte) []byte { return snappy.Encode(nil, r) }},
	{"snappy of Java", 2, func(_ *testing.T, r []byte) []byte { return xerial(r) }},
	{"lz4", 3, func(t *testing.T, r []byte) []byte {
		return through(t, r, func(w io.Writer) (io.WriteCloser, error) { return lz4.NewWriter(w), nil })
	}},
	{"zstd", 4, func(t *testing.T, r []byte) []byte {
		return through(t, r, func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) })
	}},
}

func through(t *testing.T, records []byte, open func(io.Writer) (io.WriteCloser, error)) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := open(&out)
	require.NoError(t, err)
	_, err = w.Write(records)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

// xerial is the framing of the snappy library that Java uses: a header, then blocks with their lengths.
func xerial(records []byte) []byte {
	out := append([]byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}, 0, 0, 0, 1, 0, 0, 0, 1)
	for half := len(records)/2 + 1; len(records) > 0; records = records[min(half, len(records)):] {
		block := snappy.Encode(nil, records[:min(half, len(records))])
		out = append(binary.BigEndian.AppendUint32(out, uint32(len(block))), block...)
	}
	return out
}

// A batch is kept as it was compressed, byte for byte.
func TestProduceKeepsEveryCodec(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	for _, codec := range compressions {
		t.Run(codec.name, func(t *testing.T) {
			c := c.In(t)
			b := raw.NewBatch(raw.KV("a", "1"), raw.KV("b", string(bytes.Repeat([]byte("value"), 1000))), raw.Record{Key: []byte("c")})
			b.Attributes, b.Records = codec.number, codec.compress(t, b.Records)
			p := raw.Produce(c, tp, raw.Seal(b))
			raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
			stored := raw.BatchesOf(c, raw.FetchAt(c, tp, p.BaseOffset).RecordBatches)
			require.Len(t, stored, 1)
			require.Equal(t, codec.number, stored[0].Attributes)
			require.Equal(t, b.Records, stored[0].Records)
			require.Equal(t, p.BaseOffset, stored[0].FirstOffset)
			require.EqualValues(t, 3, stored[0].NumRecords)
		})
	}
}

// What is compressed is checked as what is not.
func TestProduceRefusesBadRecordsInEveryCodec(t *testing.T) {
	c := start(t).Dial(t)
	keyed := raw.CreateTopic(c, 1, "cleanup.policy", "compact")
	for _, codec := range compressions {
		t.Run(codec.name, func(t *testing.T) {
			c := c.In(t)
			b := raw.NewBatch(raw.KV("a", "1"), raw.Record{Value: []byte("no key")})
			b.Attributes, b.Records = codec.number, codec.compress(t, b.Records)
			p := raw.Produce(c, keyed, raw.Seal(b))
			raw.RequireCode(t, 87, p.ErrorCode, p.ErrorMessage)
			require.Len(t, p.ErrorRecords, 1)
			require.EqualValues(t, 1, p.ErrorRecords[0].RelativeOffset)

			b = raw.NewBatch(raw.KV("a", "1"), raw.KV("b", "2"))
			b.Attributes, b.NumRecords, b.LastOffsetDelta, b.Records = codec.number, 3, 2, codec.compress(t, b.Records)
			require.NotZero(t, raw.Produce(c, keyed, raw.Seal(b)).ErrorCode, "one record less than the batch says")
			require.Zero(t, raw.ListOffset(c, keyed, 0, -1).Offset)
		})
	}
}

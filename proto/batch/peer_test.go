package batch

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// readAll decodes every record, copied.
func readAll(t testing.TB, b Batch) []Record {
	t.Helper()
	r := NewReader(64 << 20)
	require.NoError(t, r.Reset(b))
	var records []Record
	for record, err := range r.All() {
		require.NoError(t, err)
		record.Key, record.Value, record.Headers = bytes.Clone(record.Key), bytes.Clone(record.Value), bytes.Clone(record.Headers)
		records = append(records, record)
	}
	return records
}

// javaRecords are what the batches in testdata/java-*.batch hold, written by Kafka 4.3.1's own MemoryRecords, one file a codec; zstd22 is
// zstd at level 22. The last value spans two blocks of the snappy framing.
func javaRecords() []Record {
	const t = 1700000000000
	return []Record{
		{0, t, []byte("key"), []byte("value"), nil},
		{1, t + 5, nil, []byte("no key"), nil},
		{2, t - 10, []byte("tombstone"), nil, nil},
		{3, t + 7, []byte{}, []byte{}, nil},
		{4, t + 8, []byte("headers"), []byte("x"), AppendHeaders(nil, Header{"a", []byte("1")}, Header{"a", []byte{}}, Header{"n", nil})},
		{5, t + 9, []byte("long"), []byte(strings.Repeat("0123456789", 4000)), nil},
	}
}

func TestJavaBatches(t *testing.T) {
	for name, codec := range map[string]Codec{"none": None, "gzip": Gzip, "snappy": Snappy, "lz4": LZ4, "zstd": Zstd, "zstd22": Zstd} {
		t.Run(name, func(t *testing.T) {
			raw, err := os.ReadFile(filepath.Join("testdata", "java-"+name+".batch"))
			require.NoError(t, err)
			b, rest, err := Split(append(raw, "more"...))
			require.NoError(t, err)
			require.Equal(t, "more", string(rest))
			require.NoError(t, b.Validate())
			require.Equal(t, codec, b.Codec())
			require.Equal(t, []int64{0, 5, 6, 77, 1700000000000, 1700000000009},
				[]int64{b.BaseOffset(), b.LastOffset(), b.NextOffset(), b.ProducerID(), b.BaseTimestamp(), b.MaxTimestamp()})
			require.Equal(t, []int32{-1, 40, 45, 6}, []int32{b.LeaderEpoch(), b.BaseSequence(), b.LastSequence(), b.NumRecords()})
			require.Equal(t, int16(3), b.ProducerEpoch())
			require.False(t, b.IsTransactional() || b.IsControl() || b.IsLogAppendTime())
			require.Equal(t, javaRecords(), readAll(t, b))
		})
	}
}

// What the builder makes of the same records is, uncompressed, what Java makes of them.
func TestBuilderEqualsJava(t *testing.T) {
	want, err := os.ReadFile(filepath.Join("testdata", "java-none.batch"))
	require.NoError(t, err)
	opts := NewOptions()
	opts.ProducerID, opts.ProducerEpoch, opts.BaseSequence = 77, 3, 40
	b := NewBuilder(opts)
	for _, r := range javaRecords() {
		require.NoError(t, b.Append(r))
	}
	got, err := b.Finish()
	require.NoError(t, err)
	require.Equal(t, Batch(want), got)
}

// franzBatch encodes records as franz-go's producer does.
func franzBatch(t testing.TB, codec kgo.CompressionCodec, records []Record) Batch {
	raw := kmsg.RecordBatch{
		Magic: 2, PartitionLeaderEpoch: -1, FirstTimestamp: records[0].Timestamp, MaxTimestamp: records[0].Timestamp,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, LastOffsetDelta: int32(len(records) - 1), NumRecords: int32(len(records)),
	}
	for i, r := range records {
		raw.MaxTimestamp = max(raw.MaxTimestamp, r.Timestamp)
		rec := kmsg.Record{OffsetDelta: int32(i), TimestampDelta64: r.Timestamp - raw.FirstTimestamp, Key: r.Key, Value: r.Value}
		for k, v := range r.Headers.All() {
			rec.Headers = append(rec.Headers, kmsg.Header{Key: k, Value: v})
		}
		rec.Length = int32(len(rec.AppendTo(nil)) - 1)
		for n := -1; n != int(rec.Length); { // the length is a varint itself
			n = int(rec.Length)
			rec.Length = int32(len(rec.AppendTo(nil)) - len(binary.AppendVarint(nil, int64(rec.Length))))
		}
		raw.Records = rec.AppendTo(raw.Records)
	}
	compressor, err := kgo.DefaultCompressor(codec)
	require.NoError(t, err)
	if compressor != nil {
		out, kind := compressor.Compress(new(bytes.Buffer), raw.Records)
		raw.Records, raw.Attributes = out, int16(kind)
	}
	raw.Length = int32(len(raw.Records) + HeaderSize - lengthOverhead)
	b := Batch(raw.AppendTo(nil))
	b.seal()
	return b
}

// franzRecords decodes with franz-go's consumer.
func franzRecords(t testing.TB, b Batch, from int64) (records []Record) {
	p := kmsg.NewFetchResponseTopicPartition()
	p.RecordBatches = b
	opts := kgo.ProcessFetchPartitionOpts{Offset: from, KeepControlRecords: true}
	fetched, next := kgo.ProcessFetchPartition(opts, &p, kgo.DefaultDecompressor(), nil)
	require.NoError(t, fetched.Err)
	require.Equal(t, b.NextOffset(), next)
	for _, r := range fetched.Records {
		record := Record{Offset: r.Offset, Timestamp: r.Timestamp.UnixMilli(), Key: r.Key, Value: r.Value}
		if len(r.Headers) > 0 {
			var hs []Header
			for _, h := range r.Headers {
				hs = append(hs, Header(h))
			}
			record.Headers = AppendHeaders(nil, hs...)
		}
		records = append(records, record)
	}
	return records
}

func TestFranzGo(t *testing.T) {
	for codec, franz := range map[Codec]kgo.CompressionCodec{
		None: kgo.NoCompression(), Gzip: kgo.GzipCompression(), Snappy: kgo.SnappyCompression(), LZ4: kgo.Lz4Compression(), Zstd: kgo.ZstdCompression(),
	} {
		t.Run(codec.String(), func(t *testing.T) {
			b := franzBatch(t, franz, javaRecords())
			require.NoError(t, b.Validate())
			require.Equal(t, codec, b.Codec())
			require.Equal(t, javaRecords(), readAll(t, b))

			opts := NewOptions()
			opts.Codec = codec
			builder := NewBuilder(opts)
			for _, r := range javaRecords() {
				require.NoError(t, builder.Append(r))
			}
			ours, err := builder.Finish()
			require.NoError(t, err)
			require.Equal(t, codec, ours.Codec())
			require.Equal(t, javaRecords(), franzRecords(t, ours, 0))
		})
	}
}

// A batch of rows: offsets with gaps, and an end behind the last row.
func TestFranzGoReadsGaps(t *testing.T) {
	opts := NewOptions()
	opts.BaseOffset, opts.LeaderEpoch = 1000, 7
	builder := NewBuilder(opts)
	records := []Record{{1000, 5, []byte("a"), []byte("1"), nil}, {1003, 4, []byte("b"), nil, nil}, {900_000, 9, []byte("c"), []byte{}, nil}}
	for _, r := range records {
		require.NoError(t, builder.Append(r))
	}
	require.Error(t, builder.Append(Record{Offset: 900_000}), "offsets ascend")
	require.Error(t, builder.Append(Record{Offset: 999}))
	require.Error(t, builder.Append(Record{Offset: 1000 + 1<<31}), "deltas end at 2^31-1")
	require.False(t, builder.Fits(1000+1<<31))
	require.True(t, builder.Fits(1000+1<<31-1))
	require.Error(t, builder.SetLastOffset(899_999))
	require.NoError(t, builder.SetLastOffset(2_000_000))
	b, err := builder.Finish()
	require.NoError(t, err)
	require.Equal(t, int64(2_000_000), b.LastOffset())
	require.Equal(t, int32(7), b.LeaderEpoch())
	require.ErrorIs(t, b.Validate(), ErrCount, "no client may produce it")
	require.NoError(t, b.VerifyCRC())
	require.Equal(t, records, readAll(t, b))
	require.Equal(t, records, franzRecords(t, b, 1000))
}

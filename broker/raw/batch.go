package raw

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Record is a record of a batch that a test builds: by kmsg and by hand, so that it can be wrong and owes nothing to
// proto/batch.
type Record struct {
	Key, Value []byte
	Timestamp  int64 // relative to the batch's
	Headers    []kmsg.Header
}

// KV is a record of texts.
func KV(key, value string) Record { return Record{Key: []byte(key), Value: []byte(value)} }

// NewBatch returns an uncompressed batch of now.
func NewBatch(records ...Record) kmsg.RecordBatch {
	now := time.Now().UnixMilli()
	b := kmsg.RecordBatch{
		Magic: 2, PartitionLeaderEpoch: -1, FirstTimestamp: now, MaxTimestamp: now,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
		LastOffsetDelta: int32(len(records) - 1), NumRecords: int32(len(records)),
	}
	for i, r := range records {
		rec := kmsg.Record{OffsetDelta: int32(i), Key: r.Key, Value: r.Value, Headers: r.Headers, TimestampDelta64: r.Timestamp}
		b.MaxTimestamp = max(b.MaxTimestamp, now+r.Timestamp)
		rec.Length = int32(len(rec.AppendTo(nil)) - 1)
		b.Records = rec.AppendTo(b.Records)
	}
	return b
}

// Seal encodes a batch with the right length and checksum.
func Seal(b kmsg.RecordBatch) []byte {
	b.Length = int32(len(b.Records) + 49)
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

// BatchesOf decodes the batches of a fetch.
func BatchesOf(c *Conn, raw []byte) []kmsg.RecordBatch {
	c.T.Helper()
	var list []kmsg.RecordBatch
	for len(raw) > 0 {
		size := int(binary.BigEndian.Uint32(raw[8:])) + 12
		require.LessOrEqual(c.T, size, len(raw), "whole batches only")
		var b kmsg.RecordBatch
		require.NoError(c.T, b.ReadFrom(raw[:size]))
		require.Equal(c.T, int32(crc32.Checksum(raw[21:size], crc32.MakeTable(crc32.Castagnoli))), b.CRC)
		list, raw = append(list, b), raw[size:]
	}
	return list
}

// Codecs are the compressions by their number in a batch's attributes.
var Codecs = []string{"uncompressed", "gzip", "snappy", "lz4", "zstd"}

// Compressed returns a batch in a codec, by what is not our own code.
func Compressed(t testing.TB, b kmsg.RecordBatch, codec int) kmsg.RecordBatch {
	t.Helper()
	if codec == 0 {
		return b
	}
	c, err := kgo.DefaultCompressor([]kgo.CompressionCodec{{}, kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()}[codec])
	require.NoError(t, err)
	out, got := c.Compress(bytes.NewBuffer(nil), b.Records)
	require.EqualValues(t, codec, got)
	b.Records = bytes.Clone(out)
	b.Attributes |= int16(codec)
	return b
}

// Sequenced is a batch of an idempotent producer.
func Sequenced(id int64, epoch int16, sequence int32, records ...Record) []byte {
	b := NewBatch(records...)
	b.ProducerID, b.ProducerEpoch, b.FirstSequence = id, epoch, sequence
	return Seal(b)
}

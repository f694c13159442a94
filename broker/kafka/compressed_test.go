package kafka_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// TestMaxDecompressedBytes: what decompresses to more is refused, in every codec, and nothing is stored of it. Without compression
// max.message.bytes bounds the batch.
func TestMaxDecompressedBytes(t *testing.T) {
	c := startOwn(t, options{}).Dial(t)
	bomb := raw.NewBatch(raw.Record{Key: []byte("k"), Value: make([]byte, 1<<20-1000)})
	honest := raw.NewBatch(raw.KV("k", "v"))
	for codec := 1; codec < len(raw.Codecs); codec++ {
		tp, other := raw.CreateTopic(c, 1, "keyframe.max.decompressed.bytes", "100000"), raw.CreateTopic(c, 1)
		p := raw.Produce(c, tp, raw.Seal(raw.Compressed(t, bomb, codec)))
		raw.RequireCode(t, 10, p.ErrorCode, p.ErrorMessage)
		require.Contains(t, *p.ErrorMessage, "100000 bytes")
		require.Zero(t, raw.ListOffset(c, tp, 0, -1).Offset)
		p = raw.Produce(c, other, raw.Seal(raw.Compressed(t, bomb, codec)))
		raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
		p = raw.Produce(c, tp, raw.Seal(raw.Compressed(t, honest, codec)))
		raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
	}
	plain := raw.CreateTopic(c, 1, "keyframe.max.decompressed.bytes", "100000")
	p := raw.Produce(c, plain, raw.Seal(bomb))
	raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
}

// TestMaxDecompressedBytesOfWhatIsWrittenAnew: a batch that comes uncompressed has the limit as well where compression.type compresses it. Who
// folds it later reads no more than the limit.
func TestMaxDecompressedBytesOfWhatIsWrittenAnew(t *testing.T) {
	k := startKeyed(t, 1, "compression.type", "zstd", "max.message.bytes", "200000000")
	var records []raw.Record
	for i := range 90 {
		records = append(records, raw.Record{Key: []byte{byte(i)}, Value: make([]byte, 800_000)})
	}
	p := raw.Produce(k.Conn, k.Topic, raw.Seal(raw.NewBatch(records...)))
	raw.RequireCode(t, 10, p.ErrorCode, p.ErrorMessage)
	require.Contains(t, *p.ErrorMessage, "67108864 bytes")
	p = raw.Produce(k.Conn, k.Topic, raw.Seal(raw.NewBatch(records[:80]...)))
	raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
	cut, err := k.b.keyframe.Cut(t.Context(), k.Name)
	require.NoError(t, err)
	require.EqualValues(t, 80, cut.Frames[0].Digest.Count)

	k.set("keyframe.max.decompressed.bytes", "1000000")
	p = raw.Produce(k.Conn, k.Topic, raw.Seal(raw.NewBatch(records[:2]...)))
	raw.RequireCode(t, 10, p.ErrorCode, p.ErrorMessage)
	k.set("compression.type", "uncompressed")
	p = raw.Produce(k.Conn, k.Topic, raw.Seal(raw.NewBatch(records[:2]...)))
	raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
}

// TestMaxDecompressedBytesChanges: the next batch has the limit of the moment, also the broker's.
func TestMaxDecompressedBytesChanges(t *testing.T) {
	c := startOwn(t, options{}).Dial(t)
	batch := raw.Seal(raw.Compressed(t, raw.NewBatch(raw.Record{Key: []byte("k"), Value: make([]byte, 10_000)}), 4))
	tp := raw.CreateTopic(c, 1)
	limit := func(kind kmsg.ConfigResourceType, name string, op kmsg.IncrementalAlterConfigOp, value string) {
		resp := raw.Do[*kmsg.IncrementalAlterConfigsResponse](c, &kmsg.IncrementalAlterConfigsRequest{Version: 1, Resources: []kmsg.IncrementalAlterConfigsRequestResource{
			{ResourceType: kind, ResourceName: name, Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{
				{Name: "keyframe.max.decompressed.bytes", Op: op, Value: &value}}}}})
		raw.RequireCode(t, 0, resp.Resources[0].ErrorCode, resp.Resources[0].ErrorMessage)
	}
	require.Zero(t, raw.Produce(c, tp, batch).ErrorCode)
	limit(kmsg.ConfigResourceTypeBroker, "", 0, "1000")
	require.Equal(t, int16(10), raw.Produce(c, tp, batch).ErrorCode)
	limit(kmsg.ConfigResourceTypeTopic, tp.Name, 0, "20000")
	require.Zero(t, raw.Produce(c, tp, batch).ErrorCode)
	limit(kmsg.ConfigResourceTypeTopic, tp.Name, 1, "")
	require.Equal(t, int16(10), raw.Produce(c, tp, batch).ErrorCode)
	limit(kmsg.ConfigResourceTypeBroker, "", 1, "")
	require.Zero(t, raw.Produce(c, tp, batch).ErrorCode)
}

// TestRecordErrorsOfEveryVersionAndCodec: the culprits are named from version 8 on; before it there is only the code.
func TestRecordErrorsOfEveryVersionAndCodec(t *testing.T) {
	c := startOwn(t, options{}).Dial(t)
	for codec, name := range raw.Codecs {
		tp := raw.CreateTopic(c, 1, "cleanup.policy", "compact", "keyframe.fold", "counter", "compression.type", name)
		for version := int16(3); version <= 13; version++ {
			if codec == 4 && version < 7 {
				continue // zstd needs version 7
			}
			for came := range raw.Codecs {
				if came == 4 && version < 7 {
					continue
				}
				bad := raw.Seal(raw.Compressed(t, raw.NewBatch(raw.KV("a", "1"), raw.KV("b", "x"), raw.KV("c", "2"), raw.Record{Value: []byte("1")}), came))
				p := raw.ProduceAs(c, raw.ProduceTo(tp, 0, version, bad))
				what := fmt.Sprintf("v%d %s to %s", version, raw.Codecs[came], name)
				require.Equal(t, int16(87), p.ErrorCode, what)
				require.Equal(t, int64(-1), p.BaseOffset, what)
				if version < 8 {
					require.Empty(t, p.ErrorRecords, what)
					continue
				}
				require.Len(t, p.ErrorRecords, 2, what)
				require.Equal(t, []int32{1, 3}, []int32{p.ErrorRecords[0].RelativeOffset, p.ErrorRecords[1].RelativeOffset}, what)
				require.Contains(t, *p.ErrorRecords[0].ErrorMessage, `"x" is no counter value`)
				require.Contains(t, *p.ErrorRecords[1].ErrorMessage, "without key")
				require.Contains(t, *p.ErrorMessage, "2 record errors")
			}
		}
		require.Zero(t, raw.ListOffset(c, tp, 0, -1).Offset)
		p := raw.Produce(c, tp, raw.Seal(raw.Compressed(t, raw.NewBatch(raw.KV("a", "1"), raw.KV("b", "2")), codec)))
		raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
	}
}

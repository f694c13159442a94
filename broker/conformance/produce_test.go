package conformance_test

import (
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

func TestProduceAllVersions(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	next := int64(0)
	for version := int16(3); version <= 13; version++ {
		for _, acks := range []int16{1, -1} {
			req := raw.ProduceTo(tp, 0, version, raw.Seal(raw.NewBatch(raw.KV("a", "1"), raw.KV("b", "2"))))
			req.Acks = acks
			p := raw.ProduceAs(c, req)
			raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
			require.Equal(t, next, p.BaseOffset, "v%d", version)
			require.Equal(t, int64(-1), p.LogAppendTime)
			if version >= 5 {
				require.Equal(t, int64(0), p.LogStartOffset)
			}
			next += 2
		}
	}
}

func TestProduceAcks0HasNoAnswer(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	req := raw.ProduceTo(tp, 0, 9, raw.Seal(raw.NewBatch(raw.KV("a", "1"))))
	req.Acks = 0
	c.Send(req)
	raw.Do[*kmsg.ApiVersionsResponse](c, apiVersionsRequest(3)) // do checks that this answer is the next
	require.Eventually(t, func() bool { return raw.ListOffset(c, tp, 0, -1).Offset == 1 }, time.Minute, time.Millisecond)
}

func TestProduceAcks0ErrorCloses(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	req := raw.ProduceTo(tp, 7, 9, raw.Seal(raw.NewBatch(raw.KV("a", "1"))))
	req.Acks = 0
	c.Send(req)
	c.RequireClosed()
}

func TestProduceInvalidAcks(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	for _, acks := range []int16{2, -2, 100} {
		req := raw.ProduceTo(tp, 0, 9, raw.Seal(raw.NewBatch(raw.KV("a", "1"))))
		req.Acks = acks
		require.Equal(t, int16(21), raw.ProduceAs(c, req).ErrorCode)
	}
}

func TestProduceUnknownTopic(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	good := raw.Seal(raw.NewBatch(raw.KV("a", "1")))
	require.Equal(t, int16(3), raw.ProduceAs(c, raw.ProduceTo(raw.Topic{Name: raw.TopicName(t)}, 0, 9, good)).ErrorCode)
	require.Equal(t, int16(3), raw.ProduceAs(c, raw.ProduceTo(tp, 1, 9, good)).ErrorCode)
	require.Equal(t, int16(3), raw.ProduceAs(c, raw.ProduceTo(tp, -1, 9, good)).ErrorCode)
	require.Equal(t, int16(100), raw.ProduceAs(c, raw.ProduceTo(raw.Topic{ID: [16]byte{1}}, 0, 13, good)).ErrorCode)
}

func TestProduceRefusedBatches(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	one := func(change func(*kmsg.RecordBatch)) []byte {
		b := raw.NewBatch(raw.KV("a", "1"), raw.KV("b", "2"))
		change(&b)
		return raw.Seal(b)
	}
	good := one(func(*kmsg.RecordBatch) {})
	flipped := append([]byte{}, good...)
	flipped[len(flipped)-1] ^= 1
	magic := func(m byte) []byte {
		b := append([]byte{}, good...)
		b[16] = m
		return b
	}
	for name, test := range map[string]struct {
		records []byte
		code    int16
	}{
		"crc":                       {flipped, 2},
		"two batches":               {append(append([]byte{}, good...), good...), 87},
		"no batch":                  {[]byte{}, 87},
		"magic 0":                   {magic(0), 87},
		"magic 1":                   {magic(1), 87},
		"control batch":             {one(func(b *kmsg.RecordBatch) { b.Attributes = 0x20 }), 87},
		"count above delta":         {one(func(b *kmsg.RecordBatch) { b.NumRecords = 3 }), 87},
		"delta above count":         {one(func(b *kmsg.RecordBatch) { b.LastOffsetDelta = 5 }), 87},
		"no records":                {one(func(b *kmsg.RecordBatch) { b.NumRecords, b.LastOffsetDelta, b.Records = 0, -1, nil }), 87},
		"producer without sequence": {one(func(b *kmsg.RecordBatch) { b.ProducerID, b.ProducerEpoch, b.FirstSequence = 4242, 0, -1 }), 87},
		"base offset":               {one(func(b *kmsg.RecordBatch) { b.FirstOffset = 7 }), 87},
		"truncated record":          {one(func(b *kmsg.RecordBatch) { b.Records = b.Records[:len(b.Records)-1] }), 87},
		"bytes after the records":   {one(func(b *kmsg.RecordBatch) { b.Records = append(b.Records, 0) }), 87},
		"transactional without id": {one(func(b *kmsg.RecordBatch) {
			b.Attributes, b.ProducerID, b.ProducerEpoch, b.FirstSequence = 0x10, 1, 0, 0
		}), 53},
		"too large":  {raw.Seal(raw.NewBatch(raw.KV("a", string(make([]byte, 1<<20))))), 10},
		"far future": {raw.Seal(raw.NewBatch(raw.Record{Value: []byte("x"), Timestamp: 2 * 3600_000})), 32},
	} {
		t.Run(name, func(t *testing.T) {
			c := c.In(t)
			p := raw.Produce(c, tp, test.records)
			raw.RequireCode(t, test.code, p.ErrorCode, p.ErrorMessage)
			require.Equal(t, int64(-1), p.BaseOffset)
		})
	}
	require.Equal(t, int64(0), raw.ListOffset(c, tp, 0, -1).Offset, "nothing was written")
	p := raw.Produce(c, tp, raw.Seal(raw.NewBatch(raw.Record{Value: []byte("x"), Timestamp: 3500_000})))
	raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage) // less than an hour ahead is fine
}

func TestProduceTruncatedBatch(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	good := raw.Seal(raw.NewBatch(raw.KV("a", "1")))
	for _, n := range []int{1, 11, 16, 17, 60, len(good) - 1} {
		require.NotZero(t, raw.Produce(c, tp, good[:n]).ErrorCode, "%d bytes", n)
	}
	wrong := append([]byte{}, good...)
	binary.BigEndian.PutUint32(wrong[8:], math.MaxInt32)
	require.NotZero(t, raw.Produce(c, tp, wrong).ErrorCode)
	binary.BigEndian.PutUint32(wrong[8:], 1)
	require.NotZero(t, raw.Produce(c, tp, wrong).ErrorCode)
	require.Equal(t, int64(0), raw.ListOffset(c, tp, 0, -1).Offset)
}

func TestProducePartitionsFailIndependently(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 2)
	req := raw.ProduceTo(tp, 0, 9, raw.Seal(raw.NewBatch(raw.KV("a", "1"))))
	bad := raw.Seal(raw.NewBatch(raw.KV("a", "1")))
	bad[len(bad)-1] ^= 1
	req.Topics[0].Partitions = append(req.Topics[0].Partitions,
		kmsg.ProduceRequestTopicPartition{Partition: 1, Records: bad}, kmsg.ProduceRequestTopicPartition{Partition: 9, Records: bad})
	resp := raw.Do[*kmsg.ProduceResponse](c, req)
	codes := map[int32]int16{}
	for _, p := range resp.Topics[0].Partitions {
		codes[p.Partition] = p.ErrorCode
	}
	require.Equal(t, map[int32]int16{0: 0, 1: 2, 9: 3}, codes)
}

func TestProduceCompactedTopicNeedsKeys(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1, "cleanup.policy", "compact")
	p := raw.Produce(c, tp, raw.Seal(raw.NewBatch(raw.KV("a", "1"), raw.Record{Value: []byte("2")}, raw.KV("c", "3"), raw.Record{Value: []byte("4")})))
	raw.RequireCode(t, 87, p.ErrorCode, p.ErrorMessage)
	var culprits []int32
	for _, r := range p.ErrorRecords {
		culprits = append(culprits, r.RelativeOffset)
	}
	require.Equal(t, []int32{1, 3}, culprits)
	require.NotEmpty(t, *p.ErrorMessage)
	require.Equal(t, int64(0), raw.MustProduce(c, tp, raw.KV("", "an empty key is a key"), raw.Record{Key: []byte("gone")}))
}

func TestProduceLogAppendTime(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1, "message.timestamp.type", "LogAppendTime")
	before := time.Now().UnixMilli()
	b := raw.NewBatch(raw.KV("a", "1"), raw.KV("b", "2"))
	b.FirstTimestamp, b.MaxTimestamp = 1000, 1000
	p := raw.Produce(c, tp, raw.Seal(b))
	raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
	require.InDelta(t, before, p.LogAppendTime, 60_000)
	stored := raw.BatchesOf(c, raw.FetchAt(c, tp, 0).RecordBatches)
	require.Len(t, stored, 1)
	require.Equal(t, int16(0x08), stored[0].Attributes)
	require.Equal(t, p.LogAppendTime, stored[0].MaxTimestamp)
}

func TestProduceStampsAndKeepsBatches(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	b := raw.NewBatch(raw.KV("a", "1"), raw.KV("b", "2"))
	raw.MustProduce(c, tp, raw.KV("first", "1"))
	p := raw.Produce(c, tp, raw.Seal(b))
	require.Equal(t, int64(1), p.BaseOffset)
	stored := raw.BatchesOf(c, raw.FetchAt(c, tp, 1).RecordBatches)
	require.Len(t, stored, 1)
	require.Equal(t, int64(1), stored[0].FirstOffset)
	require.Equal(t, raw.DescribeTopic(c, tp.Name).Partitions[0].LeaderEpoch, stored[0].PartitionLeaderEpoch)
	require.Equal(t, b.Records, stored[0].Records)
	require.Equal(t, b.FirstTimestamp, stored[0].FirstTimestamp)
}

func TestProduceCorrectsTheMaxTimestamp(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	b := raw.NewBatch(raw.KV("a", "1"), raw.Record{Value: []byte("2"), Timestamp: 5})
	want := b.MaxTimestamp
	b.MaxTimestamp = 77
	p := raw.Produce(c, tp, raw.Seal(b))
	raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
	require.Equal(t, want, raw.BatchesOf(c, raw.FetchAt(c, tp, 0).RecordBatches)[0].MaxTimestamp)
}

func TestProduceTimestampLimits(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1, "message.timestamp.before.max.ms", "600000", "message.timestamp.after.max.ms", "600000")
	old := raw.Record{Value: []byte("x"), Timestamp: -1_200_000}
	p := raw.Produce(c, tp, raw.Seal(raw.NewBatch(raw.KV("a", "1"), old)))
	raw.RequireCode(t, 32, p.ErrorCode, p.ErrorMessage)
	require.Len(t, p.ErrorRecords, 1)
	require.Equal(t, int32(1), p.ErrorRecords[0].RelativeOffset)
	require.Equal(t, int16(32), raw.Produce(c, tp, raw.Seal(raw.NewBatch(raw.Record{Value: []byte("x"), Timestamp: 1_200_000}))).ErrorCode)
	raw.MustProduce(c, tp, raw.KV("a", "1"))
}

// Of several reasons to refuse a batch its time is the one that the code tells; all culprits are named.
func TestProduceTimestampComesFirst(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1, "cleanup.policy", "compact", "message.timestamp.after.max.ms", "1000")
	p := raw.Produce(c, tp, raw.Seal(raw.NewBatch(raw.Record{Value: []byte("no key")}, raw.Record{Key: []byte("a"), Value: []byte("late"), Timestamp: 60_000})))
	raw.RequireCode(t, 32, p.ErrorCode, p.ErrorMessage)
	require.Len(t, p.ErrorRecords, 2)
}

func TestProduceMaxMessageBytesOfTheTopic(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1, "max.message.bytes", "200")
	small := raw.Seal(raw.NewBatch(raw.KV("a", string(make([]byte, 100)))))
	require.LessOrEqual(t, len(small), 200)
	require.Zero(t, raw.Produce(c, tp, small).ErrorCode)
	require.Equal(t, int16(10), raw.Produce(c, tp, raw.Seal(raw.NewBatch(raw.KV("a", string(make([]byte, 200)))))).ErrorCode)
}

func TestProduceZstdNeedsVersion7(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	b := raw.NewBatch(raw.KV("a", "1"))
	b.Attributes = 4
	require.Equal(t, int16(76), raw.ProduceAs(c, raw.ProduceTo(tp, 0, 6, raw.Seal(b))).ErrorCode)
}

func TestProduceDamagedCompression(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	for codec := int16(1); codec <= 4; codec++ {
		b := raw.NewBatch(raw.KV("a", "1"))
		b.Attributes = codec // but the records are plain
		require.NotZero(t, raw.Produce(c, tp, raw.Seal(b)).ErrorCode, "codec %d", codec)
	}
	b := raw.NewBatch(raw.KV("a", "1"))
	b.Attributes = 6
	require.NotZero(t, raw.Produce(c, tp, raw.Seal(b)).ErrorCode)
	require.Equal(t, int64(0), raw.ListOffset(c, tp, 0, -1).Offset)
}

func TestProduceTimestampTypeIsTheTopics(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	b := raw.NewBatch(raw.KV("a", "1"))
	b.Attributes = 0x08
	p := raw.Produce(c, tp, raw.Seal(b))
	raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
	stored := raw.BatchesOf(c, raw.FetchAt(c, tp, 0).RecordBatches)
	require.Zero(t, stored[0].Attributes)
	require.Equal(t, b.MaxTimestamp, stored[0].MaxTimestamp)
}

// A producer that says LogAppendTime says that all records have the batch's largest time. A topic of CreateTime has the records' own times
// where it keeps the batch as it came, and that one where it writes them anew; a topic of LogAppendTime refuses it.
func TestProduceSaysLogAppendTime(t *testing.T) {
	c := start(t).Dial(t)
	records := []raw.Record{{Key: []byte("a"), Timestamp: -9}, {Key: []byte("b"), Timestamp: -5}, {Key: []byte("c"), Timestamp: -7}}
	oneTime := []raw.Record{{Key: []byte("a")}, {Key: []byte("b")}, {Key: []byte("c")}}
	says := func(codec int) kmsg.RecordBatch {
		b := raw.Compressed(t, raw.NewBatch(records...), codec)
		b.MaxTimestamp = b.FirstTimestamp - 5
		b.Attributes |= 0x08
		return b
	}
	for target, name := range append(raw.Codecs, "producer") {
		tp := raw.CreateTopic(c, 1, "compression.type", name)
		for codec := range raw.Codecs {
			came := says(codec)
			p := raw.Produce(c, tp, raw.Seal(came))
			raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
			require.EqualValues(t, -1, p.LogAppendTime)
			stored := raw.BatchesOf(c, raw.FetchAt(c, tp, p.BaseOffset).RecordBatches)[0]
			require.Equal(t, came.MaxTimestamp, stored.MaxTimestamp)
			if name == "producer" || target == codec {
				require.EqualValues(t, codec, stored.Attributes)
				require.Equal(t, came.FirstTimestamp, stored.FirstTimestamp)
				require.Equal(t, came.Records, stored.Records)
				continue
			}
			require.EqualValues(t, target, stored.Attributes)
			require.Equal(t, came.MaxTimestamp, stored.FirstTimestamp)
			require.Equal(t, raw.NewBatch(oneTime...).Records, plainRecords(t, stored), "%s from %s", name, raw.Codecs[codec])
		}
	}
	for _, name := range []string{"producer", "gzip"} {
		tp := raw.CreateTopic(c, 1, "compression.type", name, "message.timestamp.type", "LogAppendTime")
		p := raw.Produce(c, tp, raw.Seal(says(0)))
		raw.RequireCode(t, 32, p.ErrorCode, p.ErrorMessage)
		require.Len(t, p.ErrorRecords, len(records))
		require.Zero(t, raw.ListOffset(c, tp, 0, -1).Offset)
	}
	anew, id := raw.CreateTopic(c, 1, "compression.type", "zstd"), raw.NewProducerID(c)
	for range 2 { // the second time it is a duplicate: the producer is still in it
		b := says(1)
		b.ProducerID, b.ProducerEpoch, b.FirstSequence = id, 0, 0
		p := raw.Produce(c, anew, raw.Seal(b))
		raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
		require.Zero(t, p.BaseOffset)
		require.EqualValues(t, 3, raw.ListOffset(c, anew, 0, -1).Offset)
	}
	// The time that is told is held against the topic's limits, and has to be one.
	tp := raw.CreateTopic(c, 1)
	for _, told := range []int64{time.Now().Add(2 * time.Hour).UnixMilli(), -1} {
		b := says(0)
		b.MaxTimestamp = told
		p := raw.Produce(c, tp, raw.Seal(b))
		raw.RequireCode(t, 32, p.ErrorCode, p.ErrorMessage)
	}
}

func TestProduceIdempotence(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	id := raw.NewProducerID(c)
	send := func(epoch int16, sequence int32, n int) kmsg.ProduceResponseTopicPartition {
		records := make([]raw.Record, n)
		for i := range records {
			records[i] = raw.KV("k", "v")
		}
		return raw.Produce(c, tp, raw.Sequenced(id, epoch, sequence, records...))
	}
	for i := range int32(7) {
		p := send(0, 2*i, 2)
		raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
		require.Equal(t, int64(2*i), p.BaseOffset)
	}
	for i := int32(2); i < 7; i++ { // the last five
		p := send(0, 2*i, 2)
		raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
		require.Equal(t, int64(2*i), p.BaseOffset, "a duplicate has its first offset")
	}
	require.Contains(t, []int16{45, 46}, send(0, 0, 2).ErrorCode, "older than the last five")
	require.Equal(t, int16(45), send(0, 20, 1).ErrorCode, "a gap")
	require.Equal(t, int64(14), send(0, 14, 1).BaseOffset, "the in-order retry works")
	require.Equal(t, int16(45), send(1, 5, 1).ErrorCode, "a new epoch starts at 0")
	require.Equal(t, int64(15), send(1, 0, 1).BaseOffset)
	require.Equal(t, int16(47), send(0, 15, 1).ErrorCode, "an old epoch")
	require.Equal(t, int64(16), raw.ListOffset(c, tp, 0, -1).Offset)
}

// A producer that the partition does not know, or not any more, goes on with the sequence that it has (KIP-360).
func TestProduceUnknownProducerStartsAnywhere(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	id := raw.NewProducerID(c)
	p := raw.Produce(c, tp, raw.Sequenced(id, 3, 1000, raw.KV("a", "1"), raw.KV("b", "2")))
	raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
	p = raw.Produce(c, tp, raw.Sequenced(id, 3, 1002, raw.KV("c", "3")))
	raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
	require.EqualValues(t, 2, p.BaseOffset)
	require.Equal(t, int16(45), raw.Produce(c, tp, raw.Sequenced(id, 3, 1005, raw.KV("d", "4"))).ErrorCode)
}

func TestProduceSequenceWraps(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	id := raw.NewProducerID(c)
	two := []raw.Record{raw.KV("a", "1"), raw.KV("b", "2")}
	p := raw.Produce(c, tp, raw.Sequenced(id, 0, math.MaxInt32, two...)) // an unknown producer may start anywhere (KIP-360)
	raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
	p = raw.Produce(c, tp, raw.Sequenced(id, 0, 1, two...))
	raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
	require.Equal(t, int64(2), p.BaseOffset)
}

package conformance_test

import (
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// testRecord is a record of a batch that a test builds: by kmsg and by hand, so that it can be wrong and owes nothing to
// proto/batch.
type testRecord struct {
	key, value []byte
	timestamp  int64 // relative to the batch's
	headers    []kmsg.Header
}

func kv(key, value string) testRecord { return testRecord{key: []byte(key), value: []byte(value)} }

// newBatch returns an uncompressed batch of now.
func newBatch(records ...testRecord) kmsg.RecordBatch {
	now := time.Now().UnixMilli()
	b := kmsg.RecordBatch{
		Magic: 2, PartitionLeaderEpoch: -1, FirstTimestamp: now, MaxTimestamp: now,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1,
		LastOffsetDelta: int32(len(records) - 1), NumRecords: int32(len(records)),
	}
	for i, r := range records {
		rec := kmsg.Record{OffsetDelta: int32(i), Key: r.key, Value: r.value, Headers: r.headers, TimestampDelta64: r.timestamp}
		b.MaxTimestamp = max(b.MaxTimestamp, now+r.timestamp)
		rec.Length = int32(len(rec.AppendTo(nil)) - 1)
		b.Records = rec.AppendTo(b.Records)
	}
	return b
}

// seal encodes a batch with the right length and checksum.
func seal(b kmsg.RecordBatch) []byte {
	b.Length = int32(len(b.Records) + 49)
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

// produceTo makes a request for one partition.
func produceTo(t topic, partition int32, version int16, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = version, -1, 10_000
	req.Topics = []kmsg.ProduceRequestTopic{{Topic: t.name, TopicID: t.id, Partitions: []kmsg.ProduceRequestTopicPartition{
		{Partition: partition, Records: records}}}}
	return req
}

// produce sends one partition's records and returns its answer.
func produce(c *conn, t topic, records []byte) kmsg.ProduceResponseTopicPartition {
	c.t.Helper()
	return produceAs(c, produceTo(t, 0, 9, records))
}

func produceAs(c *conn, req *kmsg.ProduceRequest) kmsg.ProduceResponseTopicPartition {
	c.t.Helper()
	resp := do[*kmsg.ProduceResponse](c, req)
	require.Len(c.t, resp.Topics, 1)
	require.Len(c.t, resp.Topics[0].Partitions, 1)
	return resp.Topics[0].Partitions[0]
}

// mustProduce appends one batch and returns its base offset.
func mustProduce(c *conn, t topic, records ...testRecord) int64 {
	c.t.Helper()
	p := produce(c, t, seal(newBatch(records...)))
	requireCode(c.t, 0, p.ErrorCode, p.ErrorMessage)
	return p.BaseOffset
}

// fetchFrom makes a request for one partition.
func fetchFrom(t topic, offset int64, version int16) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxWaitMillis, req.MinBytes, req.MaxBytes, req.SessionEpoch = version, 0, 1, 50<<20, -1
	req.Topics = []kmsg.FetchRequestTopic{{Topic: t.name, TopicID: t.id, Partitions: []kmsg.FetchRequestTopicPartition{fetchPartition(0, offset)}}}
	return req
}

func fetchPartition(partition int32, offset int64) kmsg.FetchRequestTopicPartition {
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = partition, offset, 1<<20, -1
	return p
}

func fetchAs(c *conn, req *kmsg.FetchRequest) kmsg.FetchResponseTopicPartition {
	c.t.Helper()
	resp := do[*kmsg.FetchResponse](c, req)
	require.Zero(c.t, resp.ErrorCode)
	require.Len(c.t, resp.Topics, 1)
	require.Len(c.t, resp.Topics[0].Partitions, 1)
	return resp.Topics[0].Partitions[0]
}

// fetchAt reads one partition from an offset on.
func fetchAt(c *conn, t topic, offset int64) kmsg.FetchResponseTopicPartition {
	c.t.Helper()
	return fetchAs(c, fetchFrom(t, offset, 12))
}

// batchesOf decodes the batches of a fetch.
func batchesOf(c *conn, raw []byte) []kmsg.RecordBatch {
	c.t.Helper()
	var list []kmsg.RecordBatch
	for len(raw) > 0 {
		size := int(binary.BigEndian.Uint32(raw[8:])) + 12
		require.LessOrEqual(c.t, size, len(raw), "whole batches only")
		var b kmsg.RecordBatch
		require.NoError(c.t, b.ReadFrom(raw[:size]))
		require.Equal(c.t, int32(crc32.Checksum(raw[21:size], crc32.MakeTable(crc32.Castagnoli))), b.CRC)
		list, raw = append(list, b), raw[size:]
	}
	return list
}

func listOffset(c *conn, t topic, partition int32, timestamp int64) kmsg.ListOffsetsResponseTopicPartition {
	c.t.Helper()
	version := int16(10)
	return listOffsetAs(c, t, partition, timestamp, version)
}

func listOffsetAs(c *conn, t topic, partition int32, timestamp int64, version int16) kmsg.ListOffsetsResponseTopicPartition {
	c.t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.ReplicaID, req.TimeoutMillis = version, -1, 5000
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Partition, p.Timestamp = partition, timestamp
	req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: t.name, Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
	resp := do[*kmsg.ListOffsetsResponse](c, req)
	require.Len(c.t, resp.Topics, 1)
	require.Len(c.t, resp.Topics[0].Partitions, 1)
	return resp.Topics[0].Partitions[0]
}

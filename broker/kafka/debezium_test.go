package kafka_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestDebeziumRows: above the delta start a consumer sees the events as they were produced, below it the rows: after-images that say
// keyframe.op=put, and tombstones.
func TestDebeziumRows(t *testing.T) {
	k := startKeyed(t, 1, "keyframe.fold", "debezium")
	created := `{"before":null,"after":{"name":"a","id":1.0},"op":"c"}`
	k.put(0, kv("1", created), kv("2", `{"op":"r","after":{"id":2}}`), kv("3", `{"op":"c","after":{"id":3}}`))
	k.put(0, kv("1", `{"schema":{"type":"struct"},"payload":{"before":{"id":1},"after":{"id":1,"name":"b"},"op":"u"}}`),
		kv("2", `{"op":"d","before":{"id":2},"after":null}`), tombstone("3"))
	require.Equal(t, created, string(recordsOf(k.conn, batchesOf(k.conn, fetchAt(k.conn, k.topic, 0).RecordBatches)[0])[0].Value))

	cut, err := k.b.keyframe.Cut(t.Context(), k.name)
	require.NoError(t, err)
	k.put(0, kv("last", `{"op":"c","after":0}`))
	k.eventually(func() bool { return k.partition(0).Bounds().DeltaStart == cut.Frames[0].Cut })
	type seen struct{ key, value, op string }
	var rows []seen
	for offset := int64(0); offset < cut.Frames[0].Cut; {
		for _, b := range batchesOf(k.conn, fetchAt(k.conn, k.topic, offset).RecordBatches) {
			for _, r := range recordsOf(k.conn, b) {
				s := seen{string(r.Key), string(r.Value), ""}
				if r.Value == nil {
					s.value = "null"
				}
				for _, h := range r.Headers {
					require.Equal(t, "keyframe.op", h.Key)
					s.op = string(h.Value)
				}
				rows = append(rows, s)
			}
			offset = b.FirstOffset + int64(b.LastOffsetDelta) + 1
		}
	}
	require.Contains(t, rows, seen{"1", `{"id":1,"name":"b"}`, "put"})
	require.Contains(t, rows, seen{"2", "null", "delete"})
	require.Contains(t, rows, seen{"3", "null", "delete"})
}

// TestDebeziumRefusals: what is no change of one row refuses its batch, and is named.
func TestDebeziumRefusals(t *testing.T) {
	c := startOwn(t, options{}).dial(t)
	tp := createTopic(c, 1, "cleanup.policy", "compact", "keyframe.fold", "debezium")
	p := produce(c, tp, seal(newBatch(kv("a", `{"op":"c","after":{}}`), kv("a", `{"op":"t"}`), kv("a", `{"op":"m"}`), kv("a", `{"id":1}`), kv("a", `{"op":"c","after":{"n":1e999}}`))))
	requireCode(t, 87, p.ErrorCode, p.ErrorMessage)
	var culprits []int32
	for _, r := range p.ErrorRecords {
		culprits = append(culprits, r.RelativeOffset)
	}
	require.Equal(t, []int32{1, 2, 3, 4}, culprits)
	require.Contains(t, *p.ErrorRecords[0].ErrorMessage, "skipped.operations=t")
	require.Zero(t, listOffset(c, tp, 0, -1).Offset)
	require.Equal(t, "debezium", *configNamed(t, describeConfigs(c, 4, kmsg.ConfigResourceTypeTopic, tp.name), "keyframe.fold").Value)
}

package kafka_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// TestDebeziumRows: above the delta start a consumer sees the events as they were produced, below it the rows: after-images that say
// keyframe.op=put, and tombstones.
func TestDebeziumRows(t *testing.T) {
	k := startKeyed(t, 1, "keyframe.fold", "debezium")
	created := `{"before":null,"after":{"name":"a","id":1.0},"op":"c"}`
	k.put(0, raw.KV("1", created), raw.KV("2", `{"op":"r","after":{"id":2}}`), raw.KV("3", `{"op":"c","after":{"id":3}}`))
	k.put(0, raw.KV("1", `{"schema":{"type":"struct"},"payload":{"before":{"id":1},"after":{"id":1,"name":"b"},"op":"u"}}`),
		raw.KV("2", `{"op":"d","before":{"id":2},"after":null}`), tombstone("3"))
	require.Equal(t, created, string(recordsOf(k.Conn, raw.BatchesOf(k.Conn, raw.FetchAt(k.Conn, k.Topic, 0).RecordBatches)[0])[0].Value))

	cut, err := k.b.keyframe.Cut(t.Context(), k.Name)
	require.NoError(t, err)
	k.put(0, raw.KV("last", `{"op":"c","after":0}`))
	k.eventually(func() bool { return k.partition(0).Bounds().DeltaStart == cut.Frames[0].Cut })
	type seen struct{ key, value, op string }
	var rows []seen
	for offset := int64(0); offset < cut.Frames[0].Cut; {
		for _, b := range raw.BatchesOf(k.Conn, raw.FetchAt(k.Conn, k.Topic, offset).RecordBatches) {
			for _, r := range recordsOf(k.Conn, b) {
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
	c := startOwn(t, options{}).Dial(t)
	tp := raw.CreateTopic(c, 1, "cleanup.policy", "compact", "keyframe.fold", "debezium")
	p := raw.Produce(c, tp, raw.Seal(raw.NewBatch(raw.KV("a", `{"op":"c","after":{}}`), raw.KV("a", `{"op":"t"}`), raw.KV("a", `{"op":"m"}`), raw.KV("a", `{"id":1}`), raw.KV("a", `{"op":"c","after":{"n":1e999}}`))))
	raw.RequireCode(t, 87, p.ErrorCode, p.ErrorMessage)
	var culprits []int32
	for _, r := range p.ErrorRecords {
		culprits = append(culprits, r.RelativeOffset)
	}
	require.Equal(t, []int32{1, 2, 3, 4}, culprits)
	require.Contains(t, *p.ErrorRecords[0].ErrorMessage, "skipped.operations=t")
	require.Zero(t, raw.ListOffset(c, tp, 0, -1).Offset)
	require.Equal(t, "debezium", *raw.ConfigNamed(t, raw.DescribeConfigs(c, 4, kmsg.ConfigResourceTypeTopic, tp.Name), "keyframe.fold").Value)
}

package kafka_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/proto/fold"
)

func withOp(r raw.Record, op string) raw.Record {
	r.Headers = []kmsg.Header{{Key: "keyframe.op", Value: []byte(op)}}
	return r
}

// TestProduceRefusesBadDeltas: one bad delta refuses its whole batch, every culprit is named, nothing gets an offset.
func TestProduceRefusesBadDeltas(t *testing.T) {
	c := startOwn(t, options{}).Dial(t)
	for name, test := range map[string]struct {
		fold     string
		records  []raw.Record
		culprits []int32
	}{
		"last-value":              {"last-value", []raw.Record{raw.KV("a", "anything"), {Key: []byte("a")}, withOp(raw.KV("a", "x"), "put")}, nil},
		"last-value, foreign op":  {"last-value", []raw.Record{raw.KV("a", "1"), withOp(raw.KV("a", "1"), "add")}, []int32{1}},
		"unknown op":              {"last-value", []raw.Record{withOp(raw.KV("a", "1"), "explode")}, []int32{0}},
		"null key":                {"counter", []raw.Record{{Value: []byte("1")}, raw.KV("a", "1")}, []int32{0}},
		"merge":                   {"json-merge-patch", []raw.Record{raw.KV("a", `{"b":1}`), raw.KV("a", `null`), {Key: []byte("a")}}, nil},
		"bad JSON":                {"json-merge-patch", []raw.Record{raw.KV("a", `{"b":1}`), raw.KV("a", `{"b":`), raw.KV("a", ``), raw.KV("a", `{"b":1,"b":2}`)}, []int32{1, 2, 3}},
		"counter":                 {"counter", []raw.Record{raw.KV("a", "1"), raw.KV("a", "-9223372036854775808"), withOp(raw.KV("a", "5"), "put")}, nil},
		"bad counter":             {"counter", []raw.Record{raw.KV("a", "+1"), raw.KV("a", "01"), raw.KV("a", "x"), raw.KV("a", "9223372036854775808"), raw.KV("a", "7")}, []int32{0, 1, 2, 3}},
		"delete that has a value": {"last-value", []raw.Record{withOp(raw.KV("a", "1"), "delete")}, []int32{0}},
		"put that has no value":   {"last-value", []raw.Record{withOp(raw.Record{Key: []byte("a")}, "put")}, []int32{0}},
	} {
		t.Run(name, func(t *testing.T) {
			c := c.In(t)
			tp := raw.CreateTopic(c, 1, "cleanup.policy", "compact", "keyframe.fold", test.fold)
			p := raw.Produce(c, tp, raw.Seal(raw.NewBatch(test.records...)))
			var culprits []int32
			for _, r := range p.ErrorRecords {
				culprits = append(culprits, r.RelativeOffset)
				require.NotEmpty(t, *r.ErrorMessage)
			}
			require.Equal(t, test.culprits, culprits)
			if test.culprits == nil {
				raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
				return
			}
			raw.RequireCode(t, 87, p.ErrorCode, p.ErrorMessage)
			require.Zero(t, raw.ListOffset(c, tp, 0, -1).Offset)
		})
	}
}

// TestProduceRefusesTooLargeDeltas: what alone exceeds the limit of a row, in value or headers, would be acknowledged and then skipped.
func TestProduceRefusesTooLargeDeltas(t *testing.T) {
	c := startOwn(t, options{}).Dial(t)
	tp := raw.CreateTopic(c, 1, "cleanup.policy", "compact")
	large := bytes.Repeat([]byte("a"), fold.RowBytesMax)
	p := raw.Produce(c, tp, raw.Seal(raw.Compressed(t, raw.NewBatch(
		raw.KV("a", "1"),
		raw.Record{Key: []byte("b"), Value: large},
		raw.Record{Key: []byte("c"), Value: []byte("1"), Headers: []kmsg.Header{{Key: "h", Value: large}}},
		raw.Record{Key: []byte("d"), Headers: []kmsg.Header{{Key: "h", Value: large}}},
	), 4)))
	raw.RequireCode(t, 87, p.ErrorCode, p.ErrorMessage)
	var culprits []int32
	for _, r := range p.ErrorRecords {
		culprits = append(culprits, r.RelativeOffset)
		require.Contains(t, *r.ErrorMessage, "16777216")
	}
	require.Equal(t, []int32{1, 2, 3}, culprits)
	require.Zero(t, raw.ListOffset(c, tp, 0, -1).Offset)
	require.Zero(t, raw.MustProduce(c, tp, raw.KV("a", "1")))

	plain := raw.CreateTopic(c, 1) // nobody folds it
	p = raw.Produce(c, plain, raw.Seal(raw.Compressed(t, raw.NewBatch(raw.Record{Key: []byte("b"), Value: large}), 4)))
	raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
}

// TestProduceRefusalUsesNoSequence: the producer mends its batch and sends it again, with the sequence that it had.
func TestProduceRefusalUsesNoSequence(t *testing.T) {
	c := startOwn(t, options{}).Dial(t)
	tp := raw.CreateTopic(c, 1, "cleanup.policy", "compact", "keyframe.fold", "counter")
	id := raw.NewProducerID(c)
	send := func(sequence int32, records ...raw.Record) kmsg.ProduceResponseTopicPartition {
		return raw.Produce(c, tp, raw.Sequenced(id, 0, sequence, records...))
	}
	for i, sequence := range []int32{0, 2} { // the first batch of a producer, and one that continues
		p := send(sequence, raw.KV("a", "1"), raw.KV("b", "no number"))
		raw.RequireCode(t, 87, p.ErrorCode, p.ErrorMessage)
		require.Equal(t, int64(-1), p.BaseOffset)
		require.Equal(t, int64(2*i), raw.ListOffset(c, tp, 0, -1).Offset)
		p = send(sequence, raw.KV("a", "1"), raw.KV("b", "2"))
		raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
		require.Equal(t, int64(2*i), p.BaseOffset)
	}
	p := send(4, raw.KV("a", "1"))
	raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
	require.Equal(t, int64(4), p.BaseOffset)
}

// TestFoldPatterns: kafka-topics refuses configs that it does not know, so the broker gives the fold by name.
func TestFoldPatterns(t *testing.T) {
	c := startOwn(t, options{topics: func(o *topics.Options) {
		o.Folds = []topics.FoldPattern{{Pattern: "count.*", Fold: fold.Counter}}
	}}).Dial(t)
	counters := raw.CreateNamed(c, "count.hits", 1, "cleanup.policy", "compact")
	require.Equal(t, int16(87), raw.Produce(c, counters, raw.Seal(raw.NewBatch(raw.KV("a", "x")))).ErrorCode)
	require.Equal(t, "counter", *raw.ConfigNamed(t, raw.DescribeConfigs(c, 4, 2, counters.Name), "keyframe.fold").Value)
	raw.CreateNamed(c, "count.log", 1) // not key-framed: the pattern does not apply
	other := raw.CreateNamed(c, "other", 1, "cleanup.policy", "compact")
	raw.MustProduce(c, other, raw.KV("a", "x"))
}

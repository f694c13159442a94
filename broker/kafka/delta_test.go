package kafka_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/proto/fold"
)

func withOp(r testRecord, op string) testRecord {
	r.headers = []kmsg.Header{{Key: "keyframe.op", Value: []byte(op)}}
	return r
}

// TestProduceRefusesBadDeltas: one bad delta refuses its whole batch, every culprit is named, nothing gets an offset.
func TestProduceRefusesBadDeltas(t *testing.T) {
	c := startOwn(t, options{}).dial(t)
	for name, test := range map[string]struct {
		fold     string
		records  []testRecord
		culprits []int32
	}{
		"last-value":              {"last-value", []testRecord{kv("a", "anything"), {key: []byte("a")}, withOp(kv("a", "x"), "put")}, nil},
		"last-value, foreign op":  {"last-value", []testRecord{kv("a", "1"), withOp(kv("a", "1"), "add")}, []int32{1}},
		"unknown op":              {"last-value", []testRecord{withOp(kv("a", "1"), "explode")}, []int32{0}},
		"null key":                {"counter", []testRecord{{value: []byte("1")}, kv("a", "1")}, []int32{0}},
		"merge":                   {"json-merge-patch", []testRecord{kv("a", `{"b":1}`), kv("a", `null`), {key: []byte("a")}}, nil},
		"bad JSON":                {"json-merge-patch", []testRecord{kv("a", `{"b":1}`), kv("a", `{"b":`), kv("a", ``), kv("a", `{"b":1,"b":2}`)}, []int32{1, 2, 3}},
		"counter":                 {"counter", []testRecord{kv("a", "1"), kv("a", "-9223372036854775808"), withOp(kv("a", "5"), "put")}, nil},
		"bad counter":             {"counter", []testRecord{kv("a", "+1"), kv("a", "01"), kv("a", "x"), kv("a", "9223372036854775808"), kv("a", "7")}, []int32{0, 1, 2, 3}},
		"delete that has a value": {"last-value", []testRecord{withOp(kv("a", "1"), "delete")}, []int32{0}},
		"put that has no value":   {"last-value", []testRecord{withOp(testRecord{key: []byte("a")}, "put")}, []int32{0}},
	} {
		t.Run(name, func(t *testing.T) {
			c := &conn{t: t, Conn: c.Conn, correlation: c.correlation + 1000}
			tp := createTopic(c, 1, "cleanup.policy", "compact", "keyframe.fold", test.fold)
			p := produce(c, tp, seal(newBatch(test.records...)))
			var culprits []int32
			for _, r := range p.ErrorRecords {
				culprits = append(culprits, r.RelativeOffset)
				require.NotEmpty(t, *r.ErrorMessage)
			}
			require.Equal(t, test.culprits, culprits)
			if test.culprits == nil {
				requireCode(t, 0, p.ErrorCode, p.ErrorMessage)
				return
			}
			requireCode(t, 87, p.ErrorCode, p.ErrorMessage)
			require.Zero(t, listOffset(c, tp, 0, -1).Offset)
		})
	}
}

// TestProduceRefusesTooLargeDeltas: what alone exceeds the limit of a row, in value or headers, would be acknowledged and then skipped.
func TestProduceRefusesTooLargeDeltas(t *testing.T) {
	c := startOwn(t, options{}).dial(t)
	tp := createTopic(c, 1, "cleanup.policy", "compact")
	large := bytes.Repeat([]byte("a"), fold.RowBytesMax)
	p := produce(c, tp, sealZstd(newBatch(
		kv("a", "1"),
		testRecord{key: []byte("b"), value: large},
		testRecord{key: []byte("c"), value: []byte("1"), headers: []kmsg.Header{{Key: "h", Value: large}}},
		testRecord{key: []byte("d"), headers: []kmsg.Header{{Key: "h", Value: large}}},
	)))
	requireCode(t, 87, p.ErrorCode, p.ErrorMessage)
	var culprits []int32
	for _, r := range p.ErrorRecords {
		culprits = append(culprits, r.RelativeOffset)
		require.Contains(t, *r.ErrorMessage, "16777216")
	}
	require.Equal(t, []int32{1, 2, 3}, culprits)
	require.Zero(t, listOffset(c, tp, 0, -1).Offset)
	require.Zero(t, mustProduce(c, tp, kv("a", "1")))

	plain := createTopic(c, 1) // nobody folds it
	p = produce(c, plain, sealZstd(newBatch(testRecord{key: []byte("b"), value: large})))
	requireCode(t, 0, p.ErrorCode, p.ErrorMessage)
}

// TestProduceRefusalUsesNoSequence: the producer mends its batch and sends it again, with the sequence that it had.
func TestProduceRefusalUsesNoSequence(t *testing.T) {
	c := startOwn(t, options{}).dial(t)
	tp := createTopic(c, 1, "cleanup.policy", "compact", "keyframe.fold", "counter")
	id := newProducerID(c)
	send := func(sequence int32, records ...testRecord) kmsg.ProduceResponseTopicPartition {
		return produce(c, tp, sequenced(id, 0, sequence, records...))
	}
	for i, sequence := range []int32{0, 2} { // the first batch of a producer, and one that continues
		p := send(sequence, kv("a", "1"), kv("b", "no number"))
		requireCode(t, 87, p.ErrorCode, p.ErrorMessage)
		require.Equal(t, int64(-1), p.BaseOffset)
		require.Equal(t, int64(2*i), listOffset(c, tp, 0, -1).Offset)
		p = send(sequence, kv("a", "1"), kv("b", "2"))
		requireCode(t, 0, p.ErrorCode, p.ErrorMessage)
		require.Equal(t, int64(2*i), p.BaseOffset)
	}
	p := send(4, kv("a", "1"))
	requireCode(t, 0, p.ErrorCode, p.ErrorMessage)
	require.Equal(t, int64(4), p.BaseOffset)
}

// TestFoldPatterns: kafka-topics refuses configs that it does not know, so the broker gives the fold by name.
func TestFoldPatterns(t *testing.T) {
	c := startOwn(t, options{topics: func(o *topics.Options) {
		o.Folds = []topics.FoldPattern{{Pattern: "count.*", Fold: fold.Counter}}
	}}).dial(t)
	counters := createNamed(c, "count.hits", 1, "cleanup.policy", "compact")
	require.Equal(t, int16(87), produce(c, counters, seal(newBatch(kv("a", "x")))).ErrorCode)
	require.Equal(t, "counter", *configNamed(t, describeConfigs(c, 4, 2, counters.name), "keyframe.fold").Value)
	createNamed(c, "count.log", 1) // not key-framed: the pattern does not apply
	other := createNamed(c, "other", 1, "cleanup.policy", "compact")
	mustProduce(c, other, kv("a", "x"))
}

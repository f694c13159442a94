package client

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/proto/delta"
	"github.com/keyframelog/keyframe/proto/fold"
)

// The op header is there only where the op is not what the fold makes of a bare record.
func TestProducerRecords(t *testing.T) {
	for _, c := range []struct {
		kind   fold.Kind
		record func(*Producer) *kgo.Record
		value  string
		null   bool
		op     string
	}{
		{fold.LastValue, func(p *Producer) *kgo.Record { return p.Put([]byte("k"), []byte("v")) }, "v", false, ""},
		{fold.LastValue, func(p *Producer) *kgo.Record { return p.Put([]byte("k"), nil) }, "", false, ""},
		{fold.LastValue, func(p *Producer) *kgo.Record { return p.Delete([]byte("k")) }, "", true, ""},
		{fold.JSONMergePatch, func(p *Producer) *kgo.Record { return p.Put([]byte("k"), []byte("{}")) }, "{}", false, "put"},
		{fold.JSONMergePatch, func(p *Producer) *kgo.Record { return p.Merge([]byte("k"), []byte("{}")) }, "{}", false, ""},
		{fold.Counter, func(p *Producer) *kgo.Record { return p.Add([]byte("k"), -3) }, "-3", false, ""},
		{fold.Counter, func(p *Producer) *kgo.Record { return p.Put([]byte("k"), []byte("7")) }, "7", false, "put"},
		{fold.Counter, func(p *Producer) *kgo.Record { return p.Delete([]byte("k")) }, "", true, ""},
		{fold.Debezium, func(p *Producer) *kgo.Record { return p.Put([]byte("k"), []byte("7")) }, "7", false, "put"},
		{fold.Debezium, func(p *Producer) *kgo.Record { return p.Delete([]byte("k")) }, "", true, ""},
	} {
		p := &Producer{topic: "t", kind: c.kind}
		r := c.record(p)
		require.NoError(t, p.Check(r), "%+v", r)
		require.Equal(t, c.value, string(r.Value))
		require.Equal(t, c.null, r.Value == nil)
		if c.op == "" {
			require.Empty(t, r.Headers)
		} else {
			require.Equal(t, []kgo.RecordHeader{{Key: delta.HeaderOp, Value: []byte(c.op)}}, r.Headers)
		}
	}
}

// What the broker would refuse, with the rest of its batch, does not get into one.
func TestProducerChecksBeforeBatching(t *testing.T) {
	cl, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:1"))
	require.NoError(t, err)
	defer cl.Close()
	p := &Producer{cl: cl, topic: "t", kind: fold.JSONMergePatch}
	for _, r := range []*kgo.Record{
		p.Put(nil, []byte("{}")),
		p.Merge([]byte("k"), []byte("{")),
		p.Merge([]byte("k"), []byte(`{"a":1,"a":2}`)),
		p.Add([]byte("k"), 1),
		{Key: []byte("k"), Value: []byte("{}"), Headers: []kgo.RecordHeader{{Key: delta.HeaderOp, Value: []byte("upsert")}}},
		{Key: []byte("k"), Value: []byte("{}"), Headers: []kgo.RecordHeader{{Key: "h", Value: make([]byte, fold.RowBytesMax)}}},
		{Key: make([]byte, fold.RowBytesMax), Value: []byte("{}")},
	} {
		var refusal *delta.Refusal
		require.ErrorAs(t, p.ProduceSync(context.Background(), p.Merge([]byte("good"), []byte("{}")), r).FirstErr(), &refusal)
		called := false
		p.Produce(context.Background(), r, func(_ *kgo.Record, err error) {
			called = true
			require.ErrorAs(t, err, &refusal)
		})
		require.True(t, called)
	}
	require.ErrorIs(t, p.Check(&kgo.Record{Topic: "other", Key: []byte("k"), Value: []byte("{}")}), ErrConfig)
	require.Zero(t, cl.BufferedProduceRecords())
}

func TestTailErrors(t *testing.T) {
	require.ErrorIs(t, fatalTail(kerr.OffsetOutOfRange), errOutOfRange)
	require.ErrorIs(t, fatalTail(&kgo.ErrDataLoss{}), errOutOfRange)
	require.ErrorIs(t, fatalTail(kerr.UnknownTopicID), errTopicReplace)
	require.NoError(t, fatalTail(kerr.NotLeaderForPartition))
}

func TestSegment(t *testing.T) {
	s := toSegment(3, []*kgo.Record{
		{Offset: 7, Key: []byte("a"), Value: []byte("1"), Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("x")}}},
		{Offset: 9, Key: []byte("b")},
	})
	require.Equal(t, int32(3), s.partition)
	require.Equal(t, int64(10), s.next)
	require.Len(t, s.records, 2)
	v, ok := s.records[0].Headers.Get("h")
	require.True(t, ok)
	require.Equal(t, "x", string(v))
	require.Nil(t, s.records[1].Value)
	require.Nil(t, s.records[1].Headers)
}

package proxy

import (
	"encoding/binary"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/keyframelog/keyframe/broker"
	"github.com/keyframelog/keyframe/broker/raw"
	"github.com/keyframelog/keyframe/proto/batch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// between starts a broker and a proxy in front of it.
func between(t *testing.T) (direct raw.Broker, p *Proxy) {
	t.Helper()
	cfg := broker.DefaultConfig()
	cfg.DataDir, cfg.KafkaAddr, cfg.StateAddr = filepath.Join(t.TempDir(), "data"), "127.0.0.1:0", "127.0.0.1:0"
	b, err := broker.Start(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	p, err = Start(b.KafkaAddr().String())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return raw.Broker{Addr: b.KafkaAddr().String()}, p
}

// learn has the proxy see the topic's name, as every client does before it fetches.
func learn(c *raw.Conn, t raw.Topic) *kmsg.MetadataResponse {
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 12
	topic := kmsg.NewMetadataRequestTopic()
	topic.Topic = &t.Name
	req.Topics = append(req.Topics, topic)
	return raw.Do[*kmsg.MetadataResponse](c, req)
}

// fetched are the bytes of the batches from an offset on.
func fetched(c *raw.Conn, t raw.Topic, offset int64, version int16) []byte {
	return raw.FetchAs(c, raw.FetchFrom(t, offset, version)).RecordBatches
}

// Without a fault every byte of a batch and of an answer is the broker's, in every version of the protocol, but for the addresses.
func TestNothingChangesWithoutAFault(t *testing.T) {
	direct, p := between(t)
	broker, through := direct.Dial(t), raw.Broker{Addr: p.Addr()}.Dial(t)
	topic := raw.CreateTopic(broker, 1)
	raw.MustProduce(through, topic, raw.KV("a", "1"), raw.KV("b", "2"), raw.KV("c", "3"))
	p.Inject(Lose("another", 0, 0, 100)) // is looked for, and not found
	meta := learn(through, topic)
	require.Len(t, meta.Brokers, 1)
	require.Equal(t, p.host, meta.Brokers[0].Host)
	require.Equal(t, p.port, meta.Brokers[0].Port)
	for version := int16(4); version <= 17; version++ {
		req := raw.FetchFrom(topic, 1, version)
		frames := [2][]byte{}
		for i, c := range []*raw.Conn{broker, through} {
			c.Send(req)
			frames[i] = c.ReceiveFrame()[4:] // behind the correlation id
		}
		require.Equal(t, frames[0], frames[1], version)
	}
	require.Positive(t, p.Bytes())
}

func recordsOf(t *testing.T, fetched []byte) (out []string, offsets []int64) {
	t.Helper()
	r := batch.NewReader(1 << 20)
	for len(fetched) > 0 {
		b, rest, err := batch.Split(fetched)
		require.NoError(t, err)
		require.NoError(t, r.Reset(b))
		for record, err := range r.All() {
			require.NoError(t, err)
			out = append(out, string(record.Key)+"="+string(record.Value))
			offsets = append(offsets, record.Offset)
		}
		fetched = rest
	}
	return out, offsets
}

// A record is lost or changed in each codec, and the batch is a right one in everything else.
func TestRecordsAreLostAndChanged(t *testing.T) {
	direct, p := between(t)
	broker, through := direct.Dial(t), raw.Broker{Addr: p.Addr()}.Dial(t)
	for codec, name := range raw.Codecs {
		topic := raw.CreateTopic(broker, 1)
		learn(through, topic)
		for range 3 {
			b := raw.NewBatch(raw.KV("a", "1"), raw.KV("b", strings.Repeat("2", 100)), raw.KV("c", "3"), raw.KV("d", "4"))
			raw.RequireCode(t, 0, raw.Produce(broker, topic, raw.Seal(raw.Compressed(t, b, codec))).ErrorCode, nil)
		}
		lost, changed := Lose(topic.Name, 0, 5, 6), Change(topic.Name, 0, 7, 9, func(v []byte) []byte { return append(v, '!') })
		p.Inject(lost)
		p.Inject(changed)
		before := time.Now()
		was, is := fetched(broker, topic, 0, 12), fetched(through, topic, 0, 12)
		for _, f := range []*Fault{lost, changed} {
			<-f.Done()
			require.False(t, f.Time().Before(before))
		}
		records, offsets := recordsOf(t, is)
		all, _ := recordsOf(t, was)
		want := slices.Delete(slices.Clone(all), 5, 6)
		want[6], want[7] = "d=4!", "a=1!" // of two batches
		require.Equal(t, want, records, name)
		require.Equal(t, []int64{0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11}, offsets, name)
		olds, news := raw.BatchesOf(broker, was), raw.BatchesOf(through, is) // which looks at the checksums
		require.Len(t, news, 3)
		require.Equal(t, olds[0], news[0], name)
		for i := range news {
			old := olds[i]
			old.Length, old.CRC, old.Records, old.NumRecords = news[i].Length, news[i].CRC, news[i].Records, news[i].NumRecords
			require.Equal(t, old, news[i], name)
		}
		require.EqualValues(t, 3, news[1].NumRecords)
		again, offsets := recordsOf(t, fetched(through, topic, 5, 12)) // the lie holds
		require.Equal(t, want[4:], again, name)
		require.NotContains(t, offsets, int64(5), name)
	}
}

// A batch whose offsets are all lost is not there at all; what is lost of others is a hole in them.
func TestABatchIsLost(t *testing.T) {
	direct, p := between(t)
	broker, through := direct.Dial(t), raw.Broker{Addr: p.Addr()}.Dial(t)
	topic := raw.CreateTopic(broker, 1)
	learn(through, topic)
	for range 3 {
		raw.MustProduce(broker, topic, raw.KV("a", "1"), raw.KV("b", "2"))
	}
	p.Inject(Lose(topic.Name, 0, 1, 4))
	batches := raw.BatchesOf(through, fetched(through, topic, 0, 12))
	require.Len(t, batches, 2)
	require.EqualValues(t, 0, batches[0].FirstOffset)
	require.EqualValues(t, 1, batches[0].LastOffsetDelta)
	require.EqualValues(t, 1, batches[0].NumRecords)
	require.EqualValues(t, 4, batches[1].FirstOffset)
}

// A consumer of committed records that is not told of an abort has what was aborted.
func TestAnAbortIsHidden(t *testing.T) {
	direct, p := between(t)
	broker, through := direct.Dial(t), raw.Broker{Addr: p.Addr()}.Dial(t)
	topic := raw.CreateTopic(broker, 1)
	learn(through, topic)
	cl, err := kgo.NewClient(kgo.SeedBrokers(direct.Addr), kgo.TransactionalID(topic.Name), kgo.DefaultProduceTopic(topic.Name))
	require.NoError(t, err)
	defer cl.Close()
	for range 2 {
		require.NoError(t, cl.BeginTransaction())
		require.NoError(t, cl.ProduceSync(t.Context(), kgo.StringRecord("once")).FirstErr())
		require.NoError(t, cl.EndTransaction(t.Context(), kgo.TryAbort))
	}
	hidden := HideAbort(topic.Name, 0, 2)
	p.Inject(hidden)
	req := raw.FetchFrom(topic, 0, 12)
	req.IsolationLevel = 1
	was, is := raw.FetchAs(broker, req), raw.FetchAs(through, req)
	<-hidden.Done()
	require.Equal(t, was.RecordBatches, is.RecordBatches)
	require.Len(t, was.AbortedTransactions, 2)
	require.Equal(t, was.AbortedTransactions[:1], is.AbortedTransactions)
}

// A produce request is acknowledged, once, in its turn, and the broker never sees it; others reach it.
func TestAProduceRequestIsSwallowed(t *testing.T) {
	direct, p := between(t)
	broker, through := direct.Dial(t), raw.Broker{Addr: p.Addr()}.Dial(t)
	topic := raw.CreateTopic(broker, 1)
	learn(through, topic)
	raw.MustProduce(through, topic, raw.KV("a", "1"))
	swallowed := Swallow(topic.Name, 0, 1)
	p.Inject(swallowed)
	answer := raw.Produce(through, topic, raw.Seal(raw.NewBatch(raw.KV("b", "2"))))
	raw.RequireCode(t, 0, answer.ErrorCode, answer.ErrorMessage)
	require.EqualValues(t, 1, answer.BaseOffset)
	<-swallowed.Done()
	raw.MustProduce(through, topic, raw.KV("c", "3"))
	records, _ := recordsOf(t, fetched(broker, topic, 0, 12))
	require.Equal(t, []string{"a=1", "c=3"}, records)
}

// A real client that is pointed at the proxy stays with it, and consumes what it is given.
func TestAClientStays(t *testing.T) {
	direct, p := between(t)
	broker := direct.Dial(t)
	topic := raw.CreateTopic(broker, 1)
	raw.MustProduce(broker, topic, raw.KV("a", "1"), raw.KV("b", "2"), raw.KV("c", "3"))
	p.Inject(Lose(topic.Name, 0, 1, 2))
	cl, err := kgo.NewClient(kgo.SeedBrokers(p.Addr()), kgo.ConsumeTopics(topic.Name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(t, err)
	defer cl.Close()
	var got []string
	for len(got) < 2 {
		fetches := cl.PollFetches(t.Context())
		require.NoError(t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Key)) })
	}
	require.Equal(t, []string{"a", "c"}, got)
}

// What is no frame ends its own connection, and Close says so.
func TestWhatIsNotUnderstood(t *testing.T) {
	cfg := broker.DefaultConfig()
	cfg.DataDir, cfg.KafkaAddr, cfg.StateAddr = filepath.Join(t.TempDir(), "data"), "127.0.0.1:0", "127.0.0.1:0"
	b, err := broker.Start(t.Context(), cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, b.Close()) }()
	p, err := Start(b.KafkaAddr().String())
	require.NoError(t, err)
	through := raw.Broker{Addr: p.Addr()}.Dial(t)
	_, err = through.Write(binary.BigEndian.AppendUint32(nil, frameBytesMax+1))
	require.NoError(t, err)
	through.RequireClosed()
	raw.CreateTopic(raw.Broker{Addr: p.Addr()}.Dial(t), 1)
	require.ErrorIs(t, p.Close(), errFrame)
}

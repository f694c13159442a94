package kafka_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// syncGate holds back the syncs of the write-ahead log while it is shut.
type syncGate struct{ mu sync.RWMutex }

func (g *syncGate) wrap(fs vfs.FS) vfs.FS {
	return errorfs.Wrap(fs, errorfs.InjectorFunc(func(op errorfs.Op) error {
		isSync := op.Kind == errorfs.OpFileSync || op.Kind == errorfs.OpFileSyncData || op.Kind == errorfs.OpFileSyncTo
		if isSync && strings.HasSuffix(op.Path, ".log") {
			g.mu.RLock()
			defer g.mu.RUnlock()
		}
		return nil
	}))
}

// shut closes the gate; open may be called more than once, and is when the test ends.
func (g *syncGate) shut(t testing.TB) (open func()) {
	g.mu.Lock()
	open = sync.OnceFunc(g.mu.Unlock)
	t.Cleanup(open)
	return open
}

// startUnsynced starts a broker with one synced record in a topic, and sends another whose sync the gate holds back: high watermark 1,
// log end 2. sent receives its answer.
func startUnsynced(t *testing.T, acks int16) (c *raw.Conn, tp raw.Topic, sent <-chan *kmsg.ProduceResponse, open func()) {
	gate := &syncGate{}
	b := startOwn(t, options{fs: gate.wrap(vfs.NewMem())})
	c = b.Dial(t)
	tp = raw.CreateTopic(c, 1)
	raw.MustProduce(c, tp, raw.KV("a", "1"))
	open = gate.shut(t)
	req := raw.ProduceTo(tp, 0, 9, raw.Seal(raw.NewBatch(raw.KV("b", "2"))))
	req.Acks = acks
	producer := b.Dial(t)
	producer.Send(req)
	answers := make(chan *kmsg.ProduceResponse, 1)
	go func() {
		defer close(answers)
		if resp, _, err := producer.TryReceive(req); err == nil {
			answers <- resp.(*kmsg.ProduceResponse)
		}
	}()
	made, ok := b.registry.Get(tp.Name)
	require.True(t, ok)
	require.Eventually(t, func() bool { return made.Partitions[0].Log.Bounds().LogEnd == 2 }, time.Minute, time.Millisecond)
	require.Equal(t, int64(1), made.Partitions[0].Log.Bounds().HighWatermark)
	return c, tp, answers, open
}

// TestProduceWaitsForTheSync: acks=1 is acknowledged after the sync, as acks=all is.
func TestProduceWaitsForTheSync(t *testing.T) {
	for _, acks := range []int16{1, -1} {
		c, tp, sent, open := startUnsynced(t, acks)
		for range 20 { // an answer that did not wait would have come long before the last of these
			require.Equal(t, int64(1), raw.ListOffset(c, tp, 0, -1).Offset)
		}
		require.Empty(t, sent, "acks=%d", acks)
		open()
		resp := <-sent
		require.NotNil(t, resp)
		p := resp.Topics[0].Partitions[0]
		raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
		require.Equal(t, int64(1), p.BaseOffset)
		require.Equal(t, int64(2), raw.ListOffset(c, tp, 0, -1).Offset)
	}
}

// TestFetchBetweenHighWatermarkAndLogEnd: what is written and not synced is not given out, and is no reason to think that the client
// read another log. Where an epoch ends is answered with the log end, as Kafka does.
func TestFetchBetweenHighWatermarkAndLogEnd(t *testing.T) {
	c, tp, sent, open := startUnsynced(t, -1)
	epoch := raw.DescribeTopic(c, tp.Name).Partitions[0].LeaderEpoch
	fetch := func(offset int64, lastFetched int32, isolation int8) kmsg.FetchResponseTopicPartition {
		req := raw.FetchFrom(tp, offset, 12)
		req.IsolationLevel = isolation
		req.Topics[0].Partitions[0].LastFetchedEpoch = lastFetched
		p := raw.FetchAs(c, req)
		require.Empty(t, p.RecordBatches)
		return p
	}
	for _, isolation := range []int8{0, 1} {
		for _, lastFetched := range []int32{-1, epoch} {
			for _, offset := range []int64{1, 2} {
				p := fetch(offset, lastFetched, isolation)
				require.Zero(t, p.ErrorCode, "offset %d, epoch %d", offset, lastFetched)
				require.Equal(t, int32(-1), p.DivergingEpoch.Epoch, "offset %d, epoch %d", offset, lastFetched)
				require.Equal(t, int64(1), p.HighWatermark)
			}
		}
		require.Equal(t, int16(1), fetch(3, -1, isolation).ErrorCode)
		p := fetch(3, epoch, isolation) // who names the epoch of its last record is told where that ended
		require.Zero(t, p.ErrorCode)
		require.Equal(t, []int64{int64(epoch), 2}, []int64{int64(p.DivergingEpoch.Epoch), p.DivergingEpoch.EndOffset})
	}
	require.Equal(t, int64(2), raw.EpochEnd(c, 4, tp, 0, -1, epoch).EndOffset)
	open()
	require.NotNil(t, <-sent)
	require.NotEmpty(t, raw.FetchAt(c, tp, 1).RecordBatches)
	require.Zero(t, fetch(2, epoch, 0).ErrorCode)
}

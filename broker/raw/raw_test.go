package raw_test

import (
	"context"
	"hash/crc32"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/keyframelog/keyframe/broker"
	"github.com/keyframelog/keyframe/broker/raw"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T) raw.Broker {
	t.Helper()
	cfg := broker.DefaultConfig()
	cfg.DataDir, cfg.KafkaAddr, cfg.StateAddr = t.TempDir()+"/data", "127.0.0.1:0", "127.0.0.1:0"
	cfg.Groups.InitialRebalanceDelay = 0
	b, err := broker.Start(context.Background(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return raw.Broker{Addr: b.KafkaAddr().String()}
}

// The example of the package's documentation, and a member and a session beside it.
func TestConversation(t *testing.T) {
	b := start(t)
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1, "retention.ms", "-1")
	require.Zero(t, raw.MustProduce(c, tp, raw.KV("key", "value"), raw.KV("other", "")))
	batches := raw.BatchesOf(c, raw.FetchAt(c, tp, 0).RecordBatches)
	require.Len(t, batches, 1)
	require.EqualValues(t, 2, batches[0].NumRecords)
	resp := raw.Do[*kmsg.MetadataResponse](c, &kmsg.MetadataRequest{Version: 9})
	require.Equal(t, tp.Name, *resp.Topics[0].Topic)

	m := b.Member(t, "g", "").Stable()
	require.Equal(t, []int16{0}, m.Commit(9, tp, raw.NewOffset(0, 1, -1, "")))
	require.EqualValues(t, 1, m.Fetch(9, tp, 0)[0].Offset)
	s, first := raw.BeginSession(c, 12, tp, 0, 0)
	require.Equal(t, []int32{0}, raw.PartitionsIn(first))
	require.Empty(t, raw.PartitionsIn(s.Fetch(raw.At(tp, 0, 2))))
}

// A subtest has the connection of the test around it.
func TestConnectionInASubtest(t *testing.T) {
	c := start(t).Dial(t)
	c.Client = "mine"
	t.Run("in", func(t *testing.T) {
		in := c.In(t)
		require.Equal(t, "mine", in.Client)
		require.Equal(t, c.LocalAddr(), in.LocalAddr())
		require.Equal(t, t, in.T)
		raw.Do[*kmsg.ApiVersionsResponse](in, kmsg.NewPtrApiVersionsRequest())
	})
	raw.Do[*kmsg.ApiVersionsResponse](c, kmsg.NewPtrApiVersionsRequest())
}

// What closes a connection closes it for good.
func TestRequireClosed(t *testing.T) {
	c := start(t).Dial(t)
	c.Send(&kmsg.MetadataRequest{Version: 99})
	c.RequireClosed()
	_, _, err := c.TryReceive(&kmsg.MetadataRequest{Version: 9})
	require.Error(t, err)
}

// A sealed batch has a length and a checksum, whatever else is wrong with it.
func TestSeal(t *testing.T) {
	b := raw.NewBatch(raw.KV("a", "1"))
	b.NumRecords = 7
	sealed := raw.Seal(b)
	var read kmsg.RecordBatch
	require.NoError(t, read.ReadFrom(sealed))
	require.EqualValues(t, 7, read.NumRecords)
	require.EqualValues(t, len(sealed)-12, read.Length)
	require.Equal(t, crc32.Checksum(sealed[21:], crc32.MakeTable(crc32.Castagnoli)), uint32(read.CRC))
}

func TestDecodeRefusesWhatIsNoAnswer(t *testing.T) {
	req := &kmsg.HeartbeatRequest{Version: 4}
	good := append([]byte{0, 0, 0, 9, 0}, (&kmsg.HeartbeatResponse{Version: 4, ErrorCode: 25}).AppendTo(nil)...)
	resp, id, err := raw.Decode(req, good)
	require.NoError(t, err)
	require.EqualValues(t, 9, id)
	require.EqualValues(t, 25, resp.(*kmsg.HeartbeatResponse).ErrorCode)
	for n := range good {
		_, _, err := raw.Decode(req, good[:n])
		require.Error(t, err, "%d bytes of %d", n, len(good))
	}
	good[4] = 1
	_, _, err = raw.Decode(req, good)
	require.ErrorContains(t, err, "tags in the header")
}

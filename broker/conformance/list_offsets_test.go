package conformance_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

func TestListOffsetsOfAnEmptyPartition(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	for ts, want := range map[int64]int64{-1: 0, -2: 0, -3: -1, -4: 0, -5: -1, time.Now().UnixMilli(): -1, 0: -1} {
		p := raw.ListOffset(c, tp, 0, ts)
		require.Zero(t, p.ErrorCode, ts)
		require.Equal(t, want, p.Offset, ts)
		require.Equal(t, int64(-1), p.Timestamp, ts)
	}
}

func TestListOffsetsAllVersions(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	raw.MustProduce(c, tp, raw.KV("a", "1"), raw.KV("b", "2"))
	for version := int16(1); version <= 11; version++ {
		require.Equal(t, int64(2), raw.ListOffsetAs(c, tp, 0, -1, version).Offset)
		require.Equal(t, int64(0), raw.ListOffsetAs(c, tp, 0, -2, version).Offset)
	}
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.ReplicaID, req.IsolationLevel = 5, -1, 1
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Timestamp = -1
	req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: tp.Name, Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
	require.Equal(t, int64(2), raw.Do[*kmsg.ListOffsetsResponse](c, req).Topics[0].Partitions[0].Offset)
}

func TestListOffsetsByTime(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	base := time.Now().UnixMilli() - 100_000
	at := func(first int64, deltas ...int64) {
		records := make([]raw.Record, len(deltas))
		for i, d := range deltas {
			records[i] = raw.Record{Value: []byte("x"), Timestamp: d}
		}
		b := raw.NewBatch(records...)
		b.FirstTimestamp = first
		b.MaxTimestamp = first
		for _, d := range deltas {
			b.MaxTimestamp = max(b.MaxTimestamp, first+d)
		}
		p := raw.Produce(c, tp, raw.Seal(b))
		raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
	}
	at(base, 0, 10, 20)        // offsets 0..2
	at(base+100, 0, 50, 10)    // 3..5, the largest in the middle
	at(base+60, 0)             // 6, older than the one before
	at(base+1000, 0, 100, 100) // 7..9, the largest twice
	for ts, want := range map[int64][2]int64{
		0:           {0, base},
		base:        {0, base},
		base + 1:    {1, base + 10},
		base + 20:   {2, base + 20},
		base + 21:   {3, base + 100},
		base + 101:  {4, base + 150},
		base + 151:  {7, base + 1000},
		base + 1001: {8, base + 1100},
	} {
		p := raw.ListOffset(c, tp, 0, ts)
		require.Zero(t, p.ErrorCode)
		require.Equal(t, want, [2]int64{p.Offset, p.Timestamp}, "base+%d", ts-base)
		require.GreaterOrEqual(t, p.LeaderEpoch, int32(0))
	}
	p := raw.ListOffset(c, tp, 0, base+1101)
	require.Zero(t, p.ErrorCode)
	require.Equal(t, int64(-1), p.Offset)
	p = raw.ListOffset(c, tp, 0, -3)
	require.Equal(t, [2]int64{8, base + 1100}, [2]int64{p.Offset, p.Timestamp})
}

func TestListOffsetsErrors(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	require.Equal(t, int16(3), raw.ListOffset(c, raw.Topic{Name: raw.TopicName(t)}, 0, -1).ErrorCode)
	require.Equal(t, int16(3), raw.ListOffset(c, tp, 5, -1).ErrorCode)
	for ts, version := range map[int64]int16{-3: 6, -4: 7, -5: 8, -6: 10, -7: 11} {
		require.Equal(t, int16(35), raw.ListOffsetAs(c, tp, 0, ts, version).ErrorCode, "timestamp %d, v%d", ts, version)
	}
	p := raw.ListOffsetAs(c, tp, 0, -6, 11)
	require.Zero(t, p.ErrorCode)
	require.Equal(t, int64(-1), p.Offset)
}

func TestListOffsetsLeaderEpoch(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	epoch := raw.DescribeTopic(c, tp.Name).Partitions[0].LeaderEpoch
	req := kmsg.NewPtrListOffsetsRequest()
	req.Version, req.ReplicaID = 5, -1
	p := kmsg.NewListOffsetsRequestTopicPartition()
	p.Timestamp, p.CurrentLeaderEpoch = -1, epoch+1
	req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: tp.Name, Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
	require.Equal(t, int16(75), raw.Do[*kmsg.ListOffsetsResponse](c, req).Topics[0].Partitions[0].ErrorCode)
	require.Equal(t, epoch, raw.ListOffset(c, tp, 0, -1).LeaderEpoch)
}

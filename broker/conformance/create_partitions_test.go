package conformance_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// grow asks for more partitions and returns the codes of the topics.
func grow(c *raw.Conn, version int16, validateOnly bool, list ...kmsg.CreatePartitionsRequestTopic) map[string]int16 {
	c.T.Helper()
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.Version, req.ValidateOnly, req.TimeoutMillis, req.Topics = version, validateOnly, 10_000, list
	codes := map[string]int16{}
	for _, rt := range raw.Do[*kmsg.CreatePartitionsResponse](c, req).Topics {
		codes[rt.Topic] = rt.ErrorCode
		if rt.ErrorCode == 0 {
			require.Nil(c.T, rt.ErrorMessage)
		}
	}
	require.LessOrEqual(c.T, len(codes), len(list))
	return codes
}

// growTo asks for a number of partitions, and for replicas of those that come.
func growTo(name string, count int32, assignment ...[]int32) kmsg.CreatePartitionsRequestTopic {
	rt := kmsg.NewCreatePartitionsRequestTopic()
	rt.Topic, rt.Count = name, count
	for _, replicas := range assignment {
		rt.Assignment = append(rt.Assignment, kmsg.CreatePartitionsRequestTopicAssignment{Replicas: replicas})
	}
	return rt
}

// requirePartitions waits until a topic has its partitions and all of them can be used.
func requirePartitions(c *raw.Conn, tp raw.Topic, n int) {
	c.T.Helper()
	require.Eventually(c.T, func() bool { return len(raw.DescribeTopic(c, tp.Name).Partitions) == n && raw.CanRead(c, tp) }, time.Minute, time.Millisecond)
	require.Equal(c.T, tp.ID, raw.DescribeTopic(c, tp.Name).TopicID, "it is the same topic")
}

func TestCreatePartitionsAllVersions(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 2)
	for i := range int32(2) {
		p := raw.ProduceAs(c, raw.ProduceTo(tp, i, 9, raw.Seal(raw.NewBatch(raw.KV("before", "1")))))
		raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
	}
	for version := range int16(4) {
		n := int32(3 + version)
		require.Equal(t, map[string]int16{tp.Name: 0}, grow(c, version, false, growTo(tp.Name, n)))
		requirePartitions(c, tp, int(n))
		p := raw.ProduceAs(c, raw.ProduceTo(tp, n-1, 9, raw.Seal(raw.NewBatch(raw.KV("after", "2")))))
		raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
		require.Zero(t, p.BaseOffset)
		req := raw.FetchFrom(tp, 0, 12)
		req.Topics[0].Partitions = []kmsg.FetchRequestTopicPartition{raw.FetchPartition(n-1, 0)}
		require.Len(t, raw.BatchesOf(c, raw.FetchAs(c, req).RecordBatches), 1)
	}
	require.Equal(t, int64(1), raw.ListOffset(c, tp, 0, -1).Offset, "what was there stays")
	require.Equal(t, int64(1), raw.ListOffset(c, tp, 1, -1).Offset)
}

func TestCreatePartitionsRefusals(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 2)
	for name, test := range map[string]struct {
		topic kmsg.CreatePartitionsRequestTopic
		code  int16
	}{
		"fewer":                    {growTo(tp.Name, 1), 37},
		"as many":                  {growTo(tp.Name, 2), 37},
		"none":                     {growTo(tp.Name, 0), 37},
		"negative":                 {growTo(tp.Name, -1), 37},
		"unknown topic":            {growTo(raw.TopicName(t), 2), 3},
		"invalid name":             {growTo("a/b", 2), 3},
		"too few assignments":      {growTo(tp.Name, 4, []int32{1}), 39},
		"too many assignments":     {growTo(tp.Name, 3, []int32{1}, []int32{1}), 39},
		"unknown broker":           {growTo(tp.Name, 3, []int32{7}), 39},
		"one broker and one not":   {growTo(tp.Name, 3, []int32{1, 2}), 39},
		"a broker twice":           {growTo(tp.Name, 3, []int32{1, 1}), 39},
		"no replica":               {growTo(tp.Name, 3, []int32{}), 39},
		"fewer, with an assigment": {growTo(tp.Name, 1, []int32{1}), 37},
	} {
		for _, validateOnly := range []bool{true, false} {
			require.Equal(t, map[string]int16{test.topic.Topic: test.code}, grow(c, 3, validateOnly, test.topic), name)
		}
	}
	require.Len(t, raw.DescribeTopic(c, tp.Name).Partitions, 2)
	require.Empty(t, grow(c, 3, false))
}

func TestCreatePartitionsTopicsAreIndependent(t *testing.T) {
	c := start(t).Dial(t)
	good, twice, none := raw.CreateTopic(c, 1), raw.CreateTopic(c, 1), raw.TopicName(t)
	require.Equal(t, map[string]int16{good.Name: 0, twice.Name: 42, none: 3},
		grow(c, 3, false, growTo(twice.Name, 2), growTo(good.Name, 2, []int32{1}), growTo(twice.Name, 3), growTo(none, 2)))
	requirePartitions(c, good, 2)
	require.Len(t, raw.DescribeTopic(c, twice.Name).Partitions, 1)
}

func TestCreatePartitionsValidateOnly(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	require.Equal(t, map[string]int16{tp.Name: 0}, grow(c, 3, true, growTo(tp.Name, 2, []int32{1})))
	require.Equal(t, map[string]int16{tp.Name: 0}, grow(c, 3, true, growTo(tp.Name, 2)))
	require.Len(t, raw.DescribeTopic(c, tp.Name).Partitions, 1)
}

// Groups go on: offsets of old partitions stay, of new ones can be committed.
func TestCreatePartitionsOfATopicWithCommits(t *testing.T) {
	b := startGroups(t)
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1)
	m := b.Simple(t, raw.TopicName(t))
	require.ElementsMatch(t, []int16{0, 3}, m.Commit(8, tp, raw.NewOffset(0, 5, -1, ""), raw.NewOffset(1, 6, -1, "")))
	require.Equal(t, map[string]int16{tp.Name: 0}, grow(c, 3, false, growTo(tp.Name, 2)))
	requirePartitions(c, tp, 2)
	require.Equal(t, []int16{0}, m.Commit(8, tp, raw.NewOffset(1, 7, -1, "")))
	require.Equal(t, []kmsg.OffsetFetchResponseGroupTopicPartition{raw.FetchedOffset(0, 5, -1, "", 0), raw.FetchedOffset(1, 7, -1, "", 0)}, m.Fetch(8, tp, 0, 1))
}

// Who waits in a fetch session for a partition that is not there yet gets it when it comes.
func TestCreatePartitionsWhileASessionWaits(t *testing.T) {
	eachSessionVersion(t, func(t *testing.T, c *raw.Conn, version int16) {
		tp := raw.CreateTopic(c, 1)
		s, full := raw.BeginSession(c, version, tp, 0, 0, 1)
		for _, rt := range full.Topics {
			for _, p := range rt.Partitions {
				require.Equal(t, map[int32]int16{0: 0, 1: 3}[p.Partition], p.ErrorCode)
			}
		}
		other := start(t).Dial(t)
		require.Equal(t, map[string]int16{tp.Name: 0}, grow(other, 3, false, growTo(tp.Name, 2)))
		requirePartitions(other, tp, 2)
		produceOn(other, tp, 1, raw.KV("a", "1"))
		require.Eventually(t, func() bool {
			for _, rt := range s.Fetch(nil).Topics {
				for _, p := range rt.Partitions {
					if p.Partition == 1 && p.ErrorCode == 0 && len(p.RecordBatches) > 0 {
						return true
					}
				}
			}
			return false
		}, time.Minute, time.Millisecond)
	})
}

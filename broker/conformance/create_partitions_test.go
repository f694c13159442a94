package conformance_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// grow asks for more partitions and returns the codes of the topics.
func grow(c *conn, version int16, validateOnly bool, list ...kmsg.CreatePartitionsRequestTopic) map[string]int16 {
	c.t.Helper()
	req := kmsg.NewPtrCreatePartitionsRequest()
	req.Version, req.ValidateOnly, req.TimeoutMillis, req.Topics = version, validateOnly, 10_000, list
	codes := map[string]int16{}
	for _, rt := range do[*kmsg.CreatePartitionsResponse](c, req).Topics {
		codes[rt.Topic] = rt.ErrorCode
		if rt.ErrorCode == 0 {
			require.Nil(c.t, rt.ErrorMessage)
		}
	}
	require.LessOrEqual(c.t, len(codes), len(list))
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
func requirePartitions(c *conn, tp topic, n int) {
	c.t.Helper()
	require.Eventually(c.t, func() bool { return len(describe(c, tp.name).Partitions) == n && canRead(c, tp) }, 10*time.Second, time.Millisecond)
	require.Equal(c.t, tp.id, describe(c, tp.name).TopicID, "it is the same topic")
}

func TestCreatePartitionsAllVersions(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 2)
	for i := range int32(2) {
		p := produceAs(c, produceTo(tp, i, 9, seal(newBatch(kv("before", "1")))))
		requireCode(t, 0, p.ErrorCode, p.ErrorMessage)
	}
	for version := range int16(4) {
		n := int32(3 + version)
		require.Equal(t, map[string]int16{tp.name: 0}, grow(c, version, false, growTo(tp.name, n)))
		requirePartitions(c, tp, int(n))
		p := produceAs(c, produceTo(tp, n-1, 9, seal(newBatch(kv("after", "2")))))
		requireCode(t, 0, p.ErrorCode, p.ErrorMessage)
		require.Zero(t, p.BaseOffset)
		req := fetchFrom(tp, 0, 12)
		req.Topics[0].Partitions = []kmsg.FetchRequestTopicPartition{fetchPartition(n-1, 0)}
		require.Len(t, batchesOf(c, fetchAs(c, req).RecordBatches), 1)
	}
	require.Equal(t, int64(1), listOffset(c, tp, 0, -1).Offset, "what was there stays")
	require.Equal(t, int64(1), listOffset(c, tp, 1, -1).Offset)
}

func TestCreatePartitionsRefusals(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 2)
	for name, test := range map[string]struct {
		topic kmsg.CreatePartitionsRequestTopic
		code  int16
	}{
		"fewer":                    {growTo(tp.name, 1), 37},
		"as many":                  {growTo(tp.name, 2), 37},
		"none":                     {growTo(tp.name, 0), 37},
		"negative":                 {growTo(tp.name, -1), 37},
		"unknown topic":            {growTo(topicName(t), 2), 3},
		"invalid name":             {growTo("a/b", 2), 3},
		"too few assignments":      {growTo(tp.name, 4, []int32{1}), 39},
		"too many assignments":     {growTo(tp.name, 3, []int32{1}, []int32{1}), 39},
		"unknown broker":           {growTo(tp.name, 3, []int32{7}), 39},
		"one broker and one not":   {growTo(tp.name, 3, []int32{1, 2}), 39},
		"a broker twice":           {growTo(tp.name, 3, []int32{1, 1}), 39},
		"no replica":               {growTo(tp.name, 3, []int32{}), 39},
		"fewer, with an assigment": {growTo(tp.name, 1, []int32{1}), 37},
	} {
		for _, validateOnly := range []bool{true, false} {
			require.Equal(t, map[string]int16{test.topic.Topic: test.code}, grow(c, 3, validateOnly, test.topic), name)
		}
	}
	require.Len(t, describe(c, tp.name).Partitions, 2)
	require.Empty(t, grow(c, 3, false))
}

func TestCreatePartitionsTopicsAreIndependent(t *testing.T) {
	c := start(t).dial(t)
	good, twice, none := createTopic(c, 1), createTopic(c, 1), topicName(t)
	require.Equal(t, map[string]int16{good.name: 0, twice.name: 42, none: 3},
		grow(c, 3, false, growTo(twice.name, 2), growTo(good.name, 2, []int32{1}), growTo(twice.name, 3), growTo(none, 2)))
	requirePartitions(c, good, 2)
	require.Len(t, describe(c, twice.name).Partitions, 1)
}

func TestCreatePartitionsValidateOnly(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1)
	require.Equal(t, map[string]int16{tp.name: 0}, grow(c, 3, true, growTo(tp.name, 2, []int32{1})))
	require.Equal(t, map[string]int16{tp.name: 0}, grow(c, 3, true, growTo(tp.name, 2)))
	require.Len(t, describe(c, tp.name).Partitions, 1)
}

// Groups go on: offsets of old partitions stay, of new ones can be committed.
func TestCreatePartitionsOfATopicWithCommits(t *testing.T) {
	b := startGroups(t)
	c := b.dial(t)
	tp := createTopic(c, 1)
	m := b.simple(t, topicName(t))
	require.ElementsMatch(t, []int16{0, 3}, m.commit(8, tp, offset{0, 5, -1, ""}, offset{1, 6, -1, ""}))
	require.Equal(t, map[string]int16{tp.name: 0}, grow(c, 3, false, growTo(tp.name, 2)))
	requirePartitions(c, tp, 2)
	require.Equal(t, []int16{0}, m.commit(8, tp, offset{1, 7, -1, ""}))
	require.Equal(t, []kmsg.OffsetFetchResponseGroupTopicPartition{fetched(0, 5, -1, "", 0), fetched(1, 7, -1, "", 0)}, m.fetch(8, tp, 0, 1))
}

// Who waits in a fetch session for a partition that is not there yet gets it when it comes.
func TestCreatePartitionsWhileASessionWaits(t *testing.T) {
	eachSessionVersion(t, func(t *testing.T, c *conn, version int16) {
		tp := createTopic(c, 1)
		s, full := beginSession(c, version, tp, 0, 0, 1)
		for _, rt := range full.Topics {
			for _, p := range rt.Partitions {
				require.Equal(t, map[int32]int16{0: 0, 1: 3}[p.Partition], p.ErrorCode)
			}
		}
		other := start(t).dial(t)
		require.Equal(t, map[string]int16{tp.name: 0}, grow(other, 3, false, growTo(tp.name, 2)))
		requirePartitions(other, tp, 2)
		produceOn(other, tp, 1, kv("a", "1"))
		require.Eventually(t, func() bool {
			for _, rt := range s.fetch(nil).Topics {
				for _, p := range rt.Partitions {
					if p.Partition == 1 && p.ErrorCode == 0 && len(p.RecordBatches) > 0 {
						return true
					}
				}
			}
			return false
		}, 10*time.Second, time.Millisecond)
	})
}

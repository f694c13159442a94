package conformance_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

func describePartitions(c *raw.Conn, limit int32, cursor *kmsg.DescribeTopicPartitionsRequestCursor, names ...string) *kmsg.DescribeTopicPartitionsResponse {
	c.T.Helper()
	req := kmsg.NewPtrDescribeTopicPartitionsRequest()
	req.ResponsePartitionLimit, req.Cursor = limit, cursor
	for _, name := range names {
		req.Topics = append(req.Topics, kmsg.DescribeTopicPartitionsRequestTopic{Topic: name})
	}
	return raw.Do[*kmsg.DescribeTopicPartitionsResponse](c, req)
}

// page is an answer as text: topics, their partitions, where the next one begins.
func page(resp *kmsg.DescribeTopicPartitionsResponse, prefix string) (text string) {
	for _, rt := range resp.Topics {
		text += (*rt.Topic)[len(prefix):]
		if rt.ErrorCode != 0 {
			text += fmt.Sprintf("!%d", rt.ErrorCode)
		}
		for _, p := range rt.Partitions {
			text += fmt.Sprint(p.Partition)
		}
		text += " "
	}
	if n := resp.NextCursor; n != nil {
		text += fmt.Sprintf("next %s%d", n.Topic[len(prefix):], n.Partition)
	}
	return text
}

// Topics come in the order of their names, each once, as many partitions as are asked for at a time.
func TestDescribeTopicPartitionsPages(t *testing.T) {
	c := start(t).Dial(t)
	prefix := raw.TopicName(t) + "-"
	for name, n := range map[string]int32{"a": 3, "b": 2, "d": 2} {
		raw.CreateNamed(c, prefix+name, n)
	}
	all := []string{prefix + "d", prefix + "a", prefix + "b", prefix + "a"}
	at := func(name string, partition int32) *kmsg.DescribeTopicPartitionsRequestCursor {
		return &kmsg.DescribeTopicPartitionsRequestCursor{Topic: prefix + name, Partition: partition}
	}
	for _, test := range []struct {
		limit  int32
		cursor *kmsg.DescribeTopicPartitionsRequestCursor
		names  []string
		want   string
	}{
		{2000, nil, all, "a012 b01 d01 "},
		{2, nil, all, "a01 next a2"},
		{3, nil, all, "a012 next b0"},
		{4, nil, all, "a012 b0 next b1"},
		{4, at("a", 2), all, "a2 b01 d0 next d1"},
		{4, at("a", 3), all, "a b01 d01 "},
		{4, at("a", 99), all, "a b01 d01 "},
		{1, at("d", 1), all, "d1 "},
		{0, nil, all, "a0 next a1"},
		{-1, nil, all, "a0 next a1"},
		{3, nil, []string{prefix + "a", prefix + "0", prefix + "aa"}, "0!3 a012 next aa0"},
		{9, at("aa", 1), append(all, prefix+"aa", prefix+"ab"), "aa!3 ab!3 b01 d01 "},
		{9, at("aa", 1), all[:3], "d!42 a!42 b!42 "}, // the cursor's topic is not asked for
		{9, at("a", -1), all[:3], "d!42 a!42 b!42 "},
	} {
		require.Equal(t, test.want, page(describePartitions(c, test.limit, test.cursor, test.names...), prefix), "limit %d, cursor %v", test.limit, test.cursor)
	}
}

func TestDescribeTopicPartitionsOfATopic(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 2)
	resp := describePartitions(c, 10, nil, tp.Name)
	require.Nil(t, resp.NextCursor)
	require.Len(t, resp.Topics, 1)
	rt := resp.Topics[0]
	require.Equal(t, tp.ID, rt.TopicID)
	require.False(t, rt.IsInternal)
	require.Equal(t, int32(0b1101_1111_1000), rt.AuthorizedOperations)
	epoch := raw.DescribeTopic(c, tp.Name).Partitions[0].LeaderEpoch
	for i, p := range rt.Partitions {
		require.Equal(t, []any{int16(0), int32(i), int32(1), epoch}, []any{p.ErrorCode, p.Partition, p.LeaderID, p.LeaderEpoch})
		require.Equal(t, []int32{1}, p.Replicas)
		require.Equal(t, []int32{1}, p.ISR)
		require.Empty(t, p.OfflineReplicas)
	}
}

// Without names it is all topics, a page at a time.
func TestDescribeTopicPartitionsOfAll(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 3)
	seen, last := map[string]int{}, ""
	var cursor *kmsg.DescribeTopicPartitionsRequestCursor
	for {
		resp := describePartitions(c, 7, cursor)
		partitions := 0
		for _, rt := range resp.Topics {
			require.GreaterOrEqual(t, *rt.Topic, last)
			last = *rt.Topic
			seen[last] += len(rt.Partitions)
			partitions += len(rt.Partitions)
		}
		require.LessOrEqual(t, partitions, 7)
		if resp.NextCursor == nil {
			break
		}
		cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: resp.NextCursor.Topic, Partition: resp.NextCursor.Partition}
	}
	require.Equal(t, 3, seen[tp.Name])
}

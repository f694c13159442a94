package kafka_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// A broker that is killed: whatever was acknowledged is there, and members that come back in time notice nothing.
func TestGroupsSurviveAKill(t *testing.T) {
	fs := vfs.NewCrashableMem()
	b, _ := startGroupsOwn(t, options{fs: fs})
	tp := raw.CreateTopic(b.Dial(t), 2)
	in := b.Member(t, raw.TopicName(t), "").Stable()
	simple := b.Simple(t, raw.TopicName(t))
	require.Equal(t, []int16{0}, in.Commit(9, tp, raw.NewOffset(0, 5, 0, "m")))
	require.Equal(t, []int16{0, 0}, simple.Commit(9, tp, raw.NewOffset(0, 6, 0, ""), raw.NewOffset(1, 7, -1, "")))
	killed := fs.CrashClone(vfs.CrashCloneCfg{}) // nothing but what was synced

	b, _ = startGroupsOwn(t, options{fs: killed})
	in.Conn, simple.Conn = b.Dial(t), b.Dial(t)
	require.Zero(t, in.Heartbeat(4))
	require.Equal(t, []kmsg.OffsetFetchResponseGroupTopicPartition{raw.FetchedOffset(0, 5, 0, "m", 0)}, in.Fetch(9, tp, 0))
	require.Equal(t, []kmsg.OffsetFetchResponseGroupTopicPartition{raw.FetchedOffset(0, 6, 0, "", 0), raw.FetchedOffset(1, 7, -1, "", 0)}, simple.Fetch(9, tp, 0, 1))
	require.Equal(t, []int16{0}, in.Commit(9, tp, raw.NewOffset(0, 6, 0, "")))
	require.Equal(t, "all", string(in.Sync(5, nil).MemberAssignment))
}

// A server that closes does not wait for a rebalance.
func TestCloseEndsWaitingJoins(t *testing.T) {
	t.Run("broker", func(t *testing.T) {
		b, _ := startGroupsOwn(t, options{})
		first := b.Member(t, raw.TopicName(t), "").Stable()
		second := b.Member(t, first.Group, "")
		second.Joined(raw.Do[*kmsg.JoinGroupResponse](second.Conn, second.JoinRequest(9)))
		second.Send(second.JoinRequest(9))
		raw.Eventually(t, func() bool { return first.Heartbeat(4) == 27 })
	}) // its cleanup fails after a minute
}

// Two consumers of franz-go share a topic, cooperatively; one goes, the other has it all. Every record is seen.
func TestConsumersShareATopic(t *testing.T) {
	for _, balancer := range []kgo.GroupBalancer{kgo.CooperativeStickyBalancer(), kgo.RangeBalancer()} {
		t.Run(balancer.ProtocolName(), func(t *testing.T) { testConsumersShareATopic(t, balancer) })
	}
}

func testConsumersShareATopic(t *testing.T, balancer kgo.GroupBalancer) {
	b := startGroups(t)
	tp := raw.CreateTopic(b.Dial(t), 4)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	producer, err := kgo.NewClient(kgo.SeedBrokers(b.Addr), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(t, err)
	defer producer.Close()
	next := 0
	produce := func() {
		for p := range int32(4) {
			r := &kgo.Record{Topic: tp.Name, Partition: p, Value: fmt.Appendf(nil, "%d", next)}
			next++
			require.NoError(t, producer.ProduceSync(ctx, r).FirstErr())
		}
	}
	seen := map[string]int{}
	name := raw.TopicName(t)
	consumer := func() *kgo.Client {
		c, err := kgo.NewClient(kgo.SeedBrokers(b.Addr), kgo.ConsumerGroup(name), kgo.ConsumeTopics(tp.Name), kgo.Balancers(balancer),
			kgo.HeartbeatInterval(50*time.Millisecond), kgo.FetchMaxWait(100*time.Millisecond), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
		require.NoError(t, err)
		return c
	}
	// poll takes what comes within a short while, and commits it.
	poll := func(c *kgo.Client) int {
		short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		fetches := c.PollFetches(short)
		records := fetches.Records()
		for _, r := range records {
			seen[string(r.Value)]++
		}
		if len(records) > 0 {
			require.NoError(t, c.CommitRecords(ctx, records...))
		}
		return len(records)
	}
	pollUntilSeen := func(clients ...*kgo.Client) {
		for len(seen) < next {
			require.NoError(t, ctx.Err(), "seen %d of %d", len(seen), next)
			for _, c := range clients {
				poll(c)
			}
		}
	}
	one := consumer()
	defer one.Close()
	produce()
	pollUntilSeen(one)
	two := consumer()
	defer two.Close()
	c := b.Dial(t)
	// Until both have partitions.
	for fromOne, fromTwo := 0, 0; fromOne == 0 || fromTwo == 0; {
		require.NoError(t, ctx.Err())
		produce()
		fromOne, fromTwo = poll(one), poll(two)
	}
	pollUntilSeen(one, two)
	raw.Eventually(t, func() bool { return raw.DescribeGroup(c, 5, name, false).State == "Stable" })
	require.Len(t, raw.DescribeGroup(c, 5, name, false).Members, 2)
	one.Close()
	produce()
	pollUntilSeen(two)
	require.Len(t, seen, next)
	two.Close()
	raw.Eventually(t, func() bool { return raw.DescribeGroup(c, 5, name, false).State == "Empty" })
	for p := range int32(4) {
		reader := b.Simple(t, name)
		require.EqualValues(t, next/4, reader.Fetch(8, tp, p)[0].Offset)
	}
}

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
)

// A broker that is killed: whatever was acknowledged is there, and members that come back in time notice nothing.
func TestGroupsSurviveAKill(t *testing.T) {
	fs := vfs.NewCrashableMem()
	b, _ := startGroupsOwn(t, options{fs: fs})
	tp := createTopic(b.dial(t), 2)
	in := b.member(t, topicName(t), "").stable()
	simple := b.simple(t, topicName(t))
	require.Equal(t, []int16{0}, in.commit(9, tp, offset{0, 5, 0, "m"}))
	require.Equal(t, []int16{0, 0}, simple.commit(9, tp, offset{0, 6, 0, ""}, offset{1, 7, -1, ""}))
	killed := fs.CrashClone(vfs.CrashCloneCfg{}) // nothing but what was synced

	b, _ = startGroupsOwn(t, options{fs: killed})
	in.conn, simple.conn = b.dial(t), b.dial(t)
	require.Zero(t, in.heartbeat(4))
	require.Equal(t, []kmsg.OffsetFetchResponseGroupTopicPartition{fetched(0, 5, 0, "m", 0)}, in.fetch(9, tp, 0))
	require.Equal(t, []kmsg.OffsetFetchResponseGroupTopicPartition{fetched(0, 6, 0, "", 0), fetched(1, 7, -1, "", 0)}, simple.fetch(9, tp, 0, 1))
	require.Equal(t, []int16{0}, in.commit(9, tp, offset{0, 6, 0, ""}))
	require.Equal(t, "all", string(in.sync(5, nil).MemberAssignment))
}

// A server that closes does not wait for a rebalance.
func TestCloseEndsWaitingJoins(t *testing.T) {
	t.Run("broker", func(t *testing.T) {
		b, _ := startGroupsOwn(t, options{})
		first := b.member(t, topicName(t), "").stable()
		second := b.member(t, first.group, "")
		second.joined(do[*kmsg.JoinGroupResponse](second.conn, second.joinRequest(9)))
		second.send(second.joinRequest(9))
		eventually(t, func() bool { return first.heartbeat(4) == 27 })
	}) // its cleanup fails after ten seconds
}

// Two consumers of franz-go share a topic, cooperatively; one goes, the other has it all. Every record is seen.
func TestConsumersShareATopic(t *testing.T) {
	for _, balancer := range []kgo.GroupBalancer{kgo.CooperativeStickyBalancer(), kgo.RangeBalancer()} {
		t.Run(balancer.ProtocolName(), func(t *testing.T) { testConsumersShareATopic(t, balancer) })
	}
}

func testConsumersShareATopic(t *testing.T, balancer kgo.GroupBalancer) {
	b := startGroups(t)
	tp := createTopic(b.dial(t), 4)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	defer cancel()
	producer, err := kgo.NewClient(kgo.SeedBrokers(b.addr), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(t, err)
	defer producer.Close()
	next := 0
	produce := func() {
		for p := range int32(4) {
			r := &kgo.Record{Topic: tp.name, Partition: p, Value: fmt.Appendf(nil, "%d", next)}
			next++
			require.NoError(t, producer.ProduceSync(ctx, r).FirstErr())
		}
	}
	seen := map[string]int{}
	name := topicName(t)
	consumer := func() *kgo.Client {
		c, err := kgo.NewClient(kgo.SeedBrokers(b.addr), kgo.ConsumerGroup(name), kgo.ConsumeTopics(tp.name), kgo.Balancers(balancer),
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
	raw := b.dial(t)
	// Until both have partitions.
	for fromOne, fromTwo := 0, 0; fromOne == 0 || fromTwo == 0; {
		require.NoError(t, ctx.Err())
		produce()
		fromOne, fromTwo = poll(one), poll(two)
	}
	pollUntilSeen(one, two)
	eventually(t, func() bool { return describeOne(raw, 5, name, false).State == "Stable" })
	require.Len(t, describeOne(raw, 5, name, false).Members, 2)
	one.Close()
	produce()
	pollUntilSeen(two)
	require.Len(t, seen, next)
	two.Close()
	eventually(t, func() bool { return describeOne(raw, 5, name, false).State == "Empty" })
	for p := range int32(4) {
		reader := b.simple(t, name)
		require.EqualValues(t, next/4, reader.fetch(8, tp, p)[0].Offset)
	}
}

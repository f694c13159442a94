package kafka_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// assigned is a member of a consumer group of one topic: what it was told.
type assigned struct {
	id    string
	epoch int32
	owned []int32
}

// beat sends a heartbeat, which joins at epoch 0, and takes over the answer. The member says what it has, so it gives up at once.
func (m *assigned) beat(t *testing.T, c *raw.Conn, group string, tp raw.Topic) {
	t.Helper()
	r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	r.Version, r.Group, r.MemberID, r.MemberEpoch = 1, group, m.id, m.epoch
	r.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	if len(m.owned) > 0 {
		r.Topics = append(r.Topics, kmsg.ConsumerGroupHeartbeatRequestTopic{TopicID: tp.ID, Partitions: m.owned})
	}
	if m.epoch == 0 {
		r.RebalanceTimeoutMillis, r.SubscribedTopicNames = 30_000, []string{tp.Name}
	}
	got := raw.Do[*kmsg.ConsumerGroupHeartbeatResponse](c, r)
	raw.RequireCode(t, 0, got.ErrorCode, got.ErrorMessage)
	require.GreaterOrEqual(t, got.MemberEpoch, m.epoch)
	m.epoch = got.MemberEpoch
	if got.Assignment != nil {
		m.owned = nil
		for _, at := range got.Assignment.Topics {
			m.owned = append(m.owned, at.Partitions...)
		}
	}
}

// A broker that is killed after any answer of a rebalance: every member goes on from what it was told, and no partition is with two.
func TestConsumerGroupsSurviveAKill(t *testing.T) {
	steps := []int{0, 1, 0, 0, 1, 2, 0, 1, 0, 1, 2, 0, 1, 2} // who sends a heartbeat
	for killed := range len(steps) {
		t.Run(fmt.Sprintf("after %d answers", killed+1), func(t *testing.T) {
			fs := vfs.NewCrashableMem()
			b, _ := startGroupsOwn(t, options{fs: fs})
			c := b.Dial(t)
			tp := raw.CreateTopic(c, 5)
			members := []*assigned{{id: "one"}, {id: "two"}, {id: "three"}}
			step := func(i int) {
				members[i].beat(t, c, "g", tp)
				owners := map[int32]string{}
				for _, m := range members {
					for _, p := range m.owned {
						require.Empty(t, owners[p], "partition %d is with %s as well", p, m.id)
						owners[p] = m.id
					}
				}
			}
			for n, i := range steps {
				step(i)
				if n == killed {
					b, _ = startGroupsOwn(t, options{fs: fs.CrashClone(vfs.CrashCloneCfg{})}) // nothing but what was synced
					c = b.Dial(t)
				}
			}
			var all []int32
			for _, m := range members {
				all = append(all, m.owned...)
				require.NotEmpty(t, m.owned)
			}
			slices.Sort(all)
			require.Equal(t, []int32{0, 1, 2, 3, 4}, all)
		})
	}
}

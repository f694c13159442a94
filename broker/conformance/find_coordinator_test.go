package conformance_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

func TestFindCoordinator(t *testing.T) {
	b := startGroups(t)
	c := b.Dial(t)
	meta := raw.Do[*kmsg.MetadataResponse](c, &kmsg.MetadataRequest{Version: 12, Topics: []kmsg.MetadataRequestTopic{}})
	node := meta.Brokers[0]
	for v := int16(0); v <= 6; v++ {
		for _, kind := range []int8{0, 1} {
			if v == 0 && kind == 1 {
				continue
			}
			keys := []string{raw.TopicName(t), raw.TopicName(t)}
			req := &kmsg.FindCoordinatorRequest{Version: v, CoordinatorKey: keys[0], CoordinatorType: kind, CoordinatorKeys: keys}
			var r *kmsg.FindCoordinatorResponse
			raw.Eventually(t, func() bool { // Kafka creates its topic of transactions when it is first asked
				r = raw.Do[*kmsg.FindCoordinatorResponse](c, req)
				return r.ErrorCode != 15 && !slices.ContainsFunc(r.Coordinators, func(c kmsg.FindCoordinatorResponseCoordinator) bool { return c.ErrorCode == 15 })
			})
			if v < 4 {
				require.Zero(t, r.ErrorCode)
				require.Equal(t, node.NodeID, r.NodeID)
				require.Equal(t, node.Host, r.Host)
				require.Equal(t, node.Port, r.Port)
				continue
			}
			require.Len(t, r.Coordinators, 2)
			for i, got := range r.Coordinators {
				require.Zero(t, got.ErrorCode)
				require.Equal(t, keys[i], got.Key)
				require.Equal(t, node.NodeID, got.NodeID)
				require.Equal(t, node.Host, got.Host)
				require.Equal(t, node.Port, got.Port)
			}
		}
	}
	for v := int16(1); v <= 6; v++ {
		r := raw.Do[*kmsg.FindCoordinatorResponse](c, &kmsg.FindCoordinatorRequest{Version: v, CoordinatorKey: "x", CoordinatorType: 9, CoordinatorKeys: []string{"x"}})
		if v < 4 {
			require.EqualValues(t, 42, r.ErrorCode, "v%d", v)
			require.EqualValues(t, -1, r.NodeID)
		} else {
			require.Len(t, r.Coordinators, 1, "v%d", v)
			require.EqualValues(t, 42, r.Coordinators[0].ErrorCode, "v%d", v)
		}
	}
}

package conformance_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

func TestDescribeCluster(t *testing.T) {
	c := start(t).Dial(t)
	meta := raw.Metadata(c, 9, false)
	for version := range int16(3) {
		for _, operations := range []bool{true, false} {
			req := kmsg.NewPtrDescribeClusterRequest()
			req.Version, req.IncludeClusterAuthorizedOperations, req.IncludeFencedBrokers = version, operations, version >= 2
			resp := raw.Do[*kmsg.DescribeClusterResponse](c, req)
			raw.RequireCode(t, 0, resp.ErrorCode, resp.ErrorMessage)
			require.Equal(t, *meta.ClusterID, resp.ClusterID)
			require.Equal(t, int32(1), resp.ControllerID)
			require.Equal(t, int8(1), resp.EndpointType)
			require.Len(t, resp.Brokers, 1)
			b := resp.Brokers[0]
			require.Equal(t, []any{int32(1), meta.Brokers[0].Host, meta.Brokers[0].Port, "<null>", false}, []any{b.NodeID, b.Host, b.Port, str(b.Rack), b.IsFenced})
			want := int32(math.MinInt32)
			if operations {
				want = 0b1_1111_1010_0000
			}
			require.Equal(t, want, resp.ClusterAuthorizedOperations)
		}
	}
}

// What is asked for is an endpoint of controllers, or of nothing that there is (KIP-919).
func TestDescribeClusterOfOtherEndpoints(t *testing.T) {
	c := start(t).Dial(t)
	for version := int16(1); version <= 2; version++ {
		for kind, code := range map[int8]int16{2: 114, 0: 115, 3: 115} {
			req := kmsg.NewPtrDescribeClusterRequest()
			req.Version, req.EndpointType = version, kind
			resp := raw.Do[*kmsg.DescribeClusterResponse](c, req)
			require.Equal(t, code, resp.ErrorCode, "type %d", kind)
			require.Empty(t, resp.Brokers)
			require.Equal(t, int32(-1), resp.ControllerID)
		}
	}
}

package conformance_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

func electLeaders(c *raw.Conn, version int16, kind int8, list []kmsg.ElectLeadersRequestTopic) *kmsg.ElectLeadersResponse {
	c.T.Helper()
	req := kmsg.NewPtrElectLeadersRequest()
	req.Version, req.ElectionType, req.TimeoutMillis, req.Topics = version, kind, 10_000, list
	return raw.Do[*kmsg.ElectLeadersResponse](c, req)
}

func TestElectLeaders(t *testing.T) {
	c := start(t).Dial(t)
	tp, none := raw.CreateTopic(c, 2), raw.TopicName(t)
	list := []kmsg.ElectLeadersRequestTopic{{Topic: tp.Name, Partitions: []int32{0, 1, 99}}, {Topic: none, Partitions: []int32{0}}}
	for version := range int16(3) {
		for _, kind := range []int8{0, 1} { // preferred, unclean
			resp := electLeaders(c, version, kind, list)
			require.Zero(t, resp.ErrorCode)
			got := map[string][]int16{}
			for _, rt := range resp.Topics {
				for _, p := range rt.Partitions {
					got[rt.Topic] = append(got[rt.Topic], p.ErrorCode)
					require.NotEmpty(t, *p.ErrorMessage)
				}
			}
			require.Equal(t, map[string][]int16{tp.Name: {84, 84, 3}, none: {3}}, got, "v%d", version)

			all := electLeaders(c, version, kind, nil) // nobody needs an election
			require.Zero(t, all.ErrorCode)
			for _, rt := range all.Topics {
				require.Empty(t, rt.Partitions)
			}
		}
		require.Empty(t, electLeaders(c, version, 0, []kmsg.ElectLeadersRequestTopic{}).Topics)
		if version >= 1 {
			resp := electLeaders(c, version, 5, list[:1])
			require.Equal(t, int16(42), resp.ErrorCode, "no such type of election")
			for _, p := range resp.Topics[0].Partitions {
				require.Equal(t, int16(42), p.ErrorCode)
			}
		}
	}
}

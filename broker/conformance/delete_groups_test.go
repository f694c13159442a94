package conformance_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

func TestDeleteGroups(t *testing.T) {
	b := startGroups(t)
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1)
	for v := int16(0); v <= 2; v++ {
		stable := b.Member(t, raw.TopicName(t), "").Stable()
		simple := b.Simple(t, raw.TopicName(t))
		simple.Commit(8, tp, raw.NewOffset(0, 1, -1, ""))
		none := raw.TopicName(t)
		r := raw.Do[*kmsg.DeleteGroupsResponse](c, &kmsg.DeleteGroupsRequest{Version: v, Groups: []string{stable.Group, simple.Group, none, none}})
		got := map[string]int16{}
		for _, g := range r.Groups {
			got[g.Group] = g.ErrorCode
		}
		require.Len(t, r.Groups, 3)
		require.Equal(t, map[string]int16{stable.Group: 68, simple.Group: 0, none: 69}, got)
		require.EqualValues(t, -1, simple.Fetch(8, tp, 0)[0].Offset)
		require.Equal(t, "Dead", raw.DescribeGroup(c, 5, simple.Group, false).State)
		// It may be used again.
		require.Equal(t, []int16{0}, simple.Commit(8, tp, raw.NewOffset(0, 2, -1, "")))
		require.EqualValues(t, 2, simple.Fetch(8, tp, 0)[0].Offset)
	}
}

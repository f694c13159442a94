package conformance_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestDeleteGroups(t *testing.T) {
	b := startGroups(t)
	c := b.dial(t)
	tp := createTopic(c, 1)
	for v := int16(0); v <= 2; v++ {
		stable := b.member(t, topicName(t), "").stable()
		simple := b.simple(t, topicName(t))
		simple.commit(8, tp, offset{0, 1, -1, ""})
		none := topicName(t)
		r := do[*kmsg.DeleteGroupsResponse](c, &kmsg.DeleteGroupsRequest{Version: v, Groups: []string{stable.group, simple.group, none, none}})
		got := map[string]int16{}
		for _, g := range r.Groups {
			got[g.Group] = g.ErrorCode
		}
		require.Len(t, r.Groups, 3)
		require.Equal(t, map[string]int16{stable.group: 68, simple.group: 0, none: 69}, got)
		require.EqualValues(t, -1, simple.fetch(8, tp, 0)[0].Offset)
		require.Equal(t, "Dead", describeOne(c, 5, simple.group, false).State)
		// It may be used again.
		require.Equal(t, []int16{0}, simple.commit(8, tp, offset{0, 2, -1, ""}))
		require.EqualValues(t, 2, simple.fetch(8, tp, 0)[0].Offset)
	}
}

package conformance_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

func TestListGroups(t *testing.T) {
	b := startGroups(t)
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1)
	stable := b.Member(t, raw.TopicName(t), "").Stable()
	simple := b.Simple(t, raw.TopicName(t))
	simple.Commit(8, tp, raw.NewOffset(0, 1, -1, ""))
	list := func(version int16, states, types []string) map[string]kmsg.ListGroupsResponseGroup {
		r := raw.Do[*kmsg.ListGroupsResponse](c, &kmsg.ListGroupsRequest{Version: version, StatesFilter: states, TypesFilter: types})
		require.Zero(t, r.ErrorCode)
		all := map[string]kmsg.ListGroupsResponseGroup{}
		for _, g := range r.Groups {
			if g.Group == stable.Group || g.Group == simple.Group {
				all[g.Group] = g
			}
		}
		return all
	}
	for v := int16(0); v <= 5; v++ {
		all := list(v, nil, nil)
		require.Len(t, all, 2)
		require.Equal(t, "consumer", all[stable.Group].ProtocolType)
		require.Equal(t, "", all[simple.Group].ProtocolType)
		if v >= 4 {
			require.Equal(t, "Stable", all[stable.Group].GroupState)
			require.Equal(t, "Empty", all[simple.Group].GroupState)
			for _, filter := range []string{"Stable", "stable", "STABLE"} {
				require.Contains(t, list(v, []string{filter, "Dead"}, nil), stable.Group)
				require.NotContains(t, list(v, []string{filter}, nil), simple.Group)
			}
			require.Empty(t, list(v, []string{"nothing"}, nil))
		}
	}
	require.Equal(t, "classic", list(5, nil, nil)[stable.Group].GroupType)
	for _, filter := range []string{"classic", "Classic", "CLASSIC"} {
		require.Len(t, list(5, nil, []string{filter}), 2)
	}
	require.Empty(t, list(5, nil, []string{"consumer"}))
	require.Len(t, list(5, []string{"empty"}, []string{"consumer", "classic"}), 1)
}

package conformance_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestListGroups(t *testing.T) {
	b := startGroups(t)
	c := b.dial(t)
	tp := createTopic(c, 1)
	stable := b.member(t, topicName(t), "").stable()
	simple := b.simple(t, topicName(t))
	simple.commit(8, tp, offset{0, 1, -1, ""})
	list := func(version int16, states, types []string) map[string]kmsg.ListGroupsResponseGroup {
		r := do[*kmsg.ListGroupsResponse](c, &kmsg.ListGroupsRequest{Version: version, StatesFilter: states, TypesFilter: types})
		require.Zero(t, r.ErrorCode)
		all := map[string]kmsg.ListGroupsResponseGroup{}
		for _, g := range r.Groups {
			if g.Group == stable.group || g.Group == simple.group {
				all[g.Group] = g
			}
		}
		return all
	}
	for v := int16(0); v <= 5; v++ {
		all := list(v, nil, nil)
		require.Len(t, all, 2)
		require.Equal(t, "consumer", all[stable.group].ProtocolType)
		require.Equal(t, "", all[simple.group].ProtocolType)
		if v >= 4 {
			require.Equal(t, "Stable", all[stable.group].GroupState)
			require.Equal(t, "Empty", all[simple.group].GroupState)
			for _, filter := range []string{"Stable", "stable", "STABLE"} {
				require.Contains(t, list(v, []string{filter, "Dead"}, nil), stable.group)
				require.NotContains(t, list(v, []string{filter}, nil), simple.group)
			}
			require.Empty(t, list(v, []string{"nothing"}, nil))
		}
	}
	require.Equal(t, "classic", list(5, nil, nil)[stable.group].GroupType)
	for _, filter := range []string{"classic", "Classic", "CLASSIC"} {
		require.Len(t, list(5, nil, []string{filter}), 2)
	}
	require.Empty(t, list(5, nil, []string{"consumer"}))
	require.Len(t, list(5, []string{"empty"}, []string{"consumer", "classic"}), 1)
}

package kafka

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/group"
	"github.com/keyframelog/keyframe/broker/wire"
)

// listGroups lists the groups in the given states and of the given types; no filter is all. Filters do not look at case.
func (h *Handler) listGroups(_ context.Context, _ *wire.Request, req *kmsg.ListGroupsRequest) wire.Response {
	resp := req.ResponseKind().(*kmsg.ListGroupsResponse)
	all := h.cfg.Groups.List()
	slices.SortFunc(all, func(a, b group.Listing) int { return cmp.Compare(a.Group, b.Group) })
	for _, g := range all {
		if admits(req.StatesFilter, g.State) && admits(req.TypesFilter, g.Type) {
			resp.Groups = append(resp.Groups, kmsg.ListGroupsResponseGroup{
				Group: g.Group, ProtocolType: g.ProtocolType, GroupState: g.State, GroupType: g.Type})
		}
	}
	return wire.Reply(resp)
}

func admits(filter []string, value string) bool {
	return len(filter) == 0 || slices.ContainsFunc(filter, func(f string) bool { return strings.EqualFold(f, value) })
}

package conformance_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

func TestACLsWithoutAnAuthorizer(t *testing.T) {
	c := start(t).Dial(t)
	for version := int16(1); version <= 3; version++ {
		describe := kmsg.NewPtrDescribeACLsRequest()
		describe.Version, describe.ResourceType, describe.Operation, describe.PermissionType = version, 2, 1, 1
		described := raw.Do[*kmsg.DescribeACLsResponse](c, describe)
		require.Equal(t, int16(54), described.ErrorCode)
		require.Empty(t, described.Resources)

		create := kmsg.NewPtrCreateACLsRequest()
		create.Version = version
		require.Empty(t, raw.Do[*kmsg.CreateACLsResponse](c, create).Results)
		one := kmsg.NewCreateACLsRequestCreation()
		one.ResourceType, one.ResourceName, one.ResourcePatternType = 2, "x", 3
		one.Principal, one.Host, one.Operation, one.PermissionType = "User:a", "*", 3, 3
		bad := one
		bad.Principal = "nobody" // not Type:name; but there is nobody to look at it
		create.Creations = []kmsg.CreateACLsRequestCreation{one, bad}
		created := raw.Do[*kmsg.CreateACLsResponse](c, create)
		require.Len(t, created.Results, 2)
		require.Equal(t, int16(54), created.Results[0].ErrorCode)
		require.Equal(t, int16(54), created.Results[1].ErrorCode)

		remove := kmsg.NewPtrDeleteACLsRequest()
		remove.Version = version
		require.Empty(t, raw.Do[*kmsg.DeleteACLsResponse](c, remove).Results)
		filter := kmsg.NewDeleteACLsRequestFilter()
		filter.ResourceType, filter.ResourcePatternType, filter.Operation, filter.PermissionType = 2, 1, 1, 1
		remove.Filters = []kmsg.DeleteACLsRequestFilter{filter}
		removed := raw.Do[*kmsg.DeleteACLsResponse](c, remove)
		require.Len(t, removed.Results, 1)
		require.Equal(t, int16(54), removed.Results[0].ErrorCode)
		require.Empty(t, removed.Results[0].MatchingACLs)
	}
}

package state_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	api "github.com/keyframelog/keyframe/proto/state"
)

// A key is read in each partition at the offset that is named for it.
func TestGetAtAnOffsetOfEachPartition(t *testing.T) {
	n := newNode(t, 2, nil)
	for _, l := range n.logs {
		for _, value := range []string{"1", "2", "3"} {
			l.Append(memlog.Put("a", value))
		}
	}
	points := &api.PartitionOffsets{Offsets: []*api.PartitionOffset{{Partition: 1, Offset: 2}, {Partition: 0, Offset: 1}}}
	got, err := n.get(&api.GetRequest{Key: []byte("a"), At: &api.At{Point: &api.At_Offsets{Offsets: points}}})
	require.NoError(t, err)
	require.Equal(t, []int64{1, 2}, []int64{got.AsOf[0].Offset, got.AsOf[1].Offset})
	require.Equal(t, []string{"1", "2"}, []string{string(got.Rows[0].Value), string(got.Rows[1].Value)})
}

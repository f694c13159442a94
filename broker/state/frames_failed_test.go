package state_test

import (
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	api "github.com/keyframelog/keyframe/proto/state"
)

// A partition that cannot be opened says so where partitions are listed, and keeps nobody from the frames of the others.
func TestFramesBesideAPartitionThatFailed(t *testing.T) {
	n := newNode(t, 2, nil)
	for _, l := range n.logs {
		l.Append(memlog.Put("a", "1"))
		l.Append(memlog.Put("b", "1"))
	}
	n.cut()
	require.NoError(t, n.k.Close())
	require.NoError(t, n.tables.Drop(t.Context(), 2))
	require.NoError(t, n.logs[1].TrimTo(t.Context(), 1)) // nothing has the rows below any more
	n.fold(2, calm())
	n.serve(n.config(nil))
	stream, err := n.client.Frames(t.Context(), connect.NewRequest(&api.FramesRequest{Topic: topicName}))
	require.NoError(t, err)
	defer stream.Close()
	require.True(t, stream.Receive(), "%v", stream.Err())
	first := stream.Msg()
	require.Len(t, first.Partitions, 2)
	require.Empty(t, first.Partitions[0].Failure)
	require.Contains(t, first.Partitions[1].Failure, "restore it from a backup")
	require.Len(t, first.Frames, 1)
	require.EqualValues(t, 0, first.Frames[0].Partition)
	require.False(t, stream.Receive())
	require.NoError(t, stream.Err())

	_, err = n.resume(&api.ResumeRequest{Partition: 1, LeaderEpoch: -1})
	code, why, _ := reason(t, err)
	require.Equal(t, api.Reason_REASON_PARTITION_FAILED, why)
	require.Equal(t, connect.CodeUnavailable, code)
}

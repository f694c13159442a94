package state_test

import (
	"context"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/broker/state"
	api "github.com/keyframelog/keyframe/proto/state"
)

// A stream without an end that has nothing to tell says so again and again, as it promises in its first message. One with an end promises nothing.
func TestAStreamWithNothingToTellIsNotSilent(t *testing.T) {
	n := newNode(t, 1, func(c *state.Config) { c.Alive = 2 * time.Millisecond })
	n.logs[0].Append(memlog.Put("a", "1"))
	n.cut()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	frames, err := n.client.Frames(ctx, connect.NewRequest(&api.FramesRequest{Topic: topicName, Follow: true}))
	require.NoError(t, err)
	defer frames.Close()
	require.True(t, frames.Receive(), "%v", frames.Err())
	require.EqualValues(t, 2, frames.Msg().AliveMs)
	require.Len(t, frames.Msg().Frames, 1)
	for range 5 {
		require.True(t, frames.Receive(), "%v", frames.Err())
		require.Zero(t, proto.Size(frames.Msg()))
	}
	n.logs[0].Append(memlog.Put("b", "1"))
	cut := n.cut().Frames[0].Cut
	for len(frames.Msg().Frames) == 0 {
		require.True(t, frames.Receive(), "%v", frames.Err())
	}
	require.Equal(t, cut, frames.Msg().Frames[0].Cut)

	w := watching(t, n, &api.WatchRequest{})
	require.EqualValues(t, 2, w.next().AliveMs)
	w.until(func(m *api.WatchResponse) bool { return proto.Size(m) == 0 })
	w.until(func(m *api.WatchResponse) bool { return proto.Size(m) == 0 })
	n.logs[0].Append(memlog.Put("c", "1"))
	require.Equal(t, "c", string(w.change().Row.Key))

	list, err := n.client.Frames(ctx, connect.NewRequest(&api.FramesRequest{Topic: topicName}))
	require.NoError(t, err)
	defer list.Close()
	require.True(t, list.Receive(), "%v", list.Err())
	require.Zero(t, list.Msg().AliveMs)
	require.False(t, list.Receive())
}

package state_test

import (
	"context"
	"encoding/hex"
	"net/http"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	api "github.com/keyframelog/keyframe/proto/state"
)

// Rows that the log start passes on an idle topic leave what is read now, and the newest frame: who follows frames is told of another one at the
// same cut, which is another resource under the same name. A part of the former one is no part of it.
func TestRowsOfAnIdleTopicExpire(t *testing.T) {
	n := newNode(t, 1, nil)
	n.logs[0].Append(memlog.Put("a", "1"), memlog.Put("b", "1"))
	former := n.cut().Frames[0]
	etag := `"` + hex.EncodeToString(former.Pub) + `"`
	const path = "/v1/topics/" + topicName + "/partitions/0/frames/2"
	answer, _ := n.request(http.MethodGet, path, "Range", "bytes=0-9")
	require.Equal(t, http.StatusPartialContent, answer.StatusCode)
	require.Equal(t, etag, answer.Header.Get("ETag"))

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	stream, err := n.client.Frames(ctx, connect.NewRequest(&api.FramesRequest{Topic: topicName, Follow: true}))
	require.NoError(t, err)
	defer stream.Close()
	require.True(t, stream.Receive())
	require.EqualValues(t, 0, stream.Msg().Frames[0].Start)
	require.NoError(t, n.logs[0].HideBelow(t.Context(), 1))
	require.True(t, stream.Receive())
	require.Len(t, stream.Msg().Frames, 1)
	frame := stream.Msg().Frames[0]
	require.Equal(t, []int64{2, 1, 1}, []int64{frame.Cut, frame.Start, frame.Count})
	require.Equal(t, former.CutTimeMs, frame.CutTimeMs)

	for _, folded := range []bool{false, true} {
		rows, _, _, err := n.scan(&api.ScanRequest{Folded: folded})
		require.NoError(t, err)
		require.Len(t, rows, 1)
		got, err := n.get(&api.GetRequest{Key: []byte("a"), Folded: folded})
		require.NoError(t, err)
		require.Empty(t, got.Rows)
	}
	got, err := n.get(&api.GetRequest{Key: []byte("a"), At: at(2)})
	require.NoError(t, err)
	require.Empty(t, got.Rows, "the state at an offset is one, whoever asks")
	digest, err := n.client.DigestAt(ctx, connect.NewRequest(&api.DigestAtRequest{Topic: topicName, Offset: 2}))
	require.NoError(t, err)
	require.Equal(t, []int64{frame.Start, frame.Count}, []int64{digest.Msg.Start, digest.Msg.Count})
	require.Equal(t, frame.Sum, digest.Msg.Sum)

	answer, _ = n.request(http.MethodGet, path, "Range", "bytes=10-19", "If-Range", etag)
	require.Equal(t, http.StatusOK, answer.StatusCode, "no part: the whole of what is there now")
	require.Equal(t, `"`+hex.EncodeToString(frame.Pub)+`"`, answer.Header.Get("ETag"))
	answer, _ = n.request(http.MethodGet, path, "If-None-Match", etag)
	require.Equal(t, http.StatusOK, answer.StatusCode)
}

package state_test

import (
	"context"
	"fmt"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	api "github.com/keyframelog/keyframe/proto/state"
)

// history collects versions as text.
func (n *node) history(m *api.HistoryRequest) (versions []string, first *api.HistoryResponse, err error) {
	m.Topic = topicName
	stream, err := n.client.History(context.Background(), connect.NewRequest(m))
	if err != nil {
		return nil, nil, err
	}
	defer stream.Close()
	for stream.Receive() {
		if first == nil {
			first = stream.Msg()
		}
		for _, v := range stream.Msg().Versions {
			after := "none"
			if !v.Deleted {
				after = valueOf(v.Row)
			}
			versions = append(versions, fmt.Sprintf("%d/%d %s %q: %s%s", v.Row.Partition, v.Offset, v.Op, v.Delta, after, v.Rejected))
		}
	}
	return versions, first, stream.Err()
}

// The history of a key is all that happened to it, in every partition, but what was aborted; it begins with the row that is left of what was
// trimmed.
func TestHistory(t *testing.T) {
	n := newNode(t, 2, nil)
	l := n.logs[0]
	l.Append(memlog.Put("a", "1"), memlog.Put("b", "1"))
	l.AppendIn(7, memlog.Put("a", "7")) // 2
	l.AppendIn(8, memlog.Put("a", "8")) // 3
	l.End(7, false)                     // 4
	l.End(8, true)                      // 5
	n.cut()
	n.clock.ms.Add(1000)
	l.Append(memlog.Delete("a"), memlog.Put("a", "")) // 6, 7
	n.logs[1].Append(memlog.Put("a", "other"))

	versions, first, err := n.history(&api.HistoryRequest{Key: []byte("a")})
	require.NoError(t, err)
	require.Equal(t, []string{`0/0 put "1": 1@0`, `0/3 put "8": 8@3`, `0/6 delete "": none`, `0/7 put "": @7`, `1/0 put "other": other@0`}, versions)
	require.Equal(t, []int64{0, 0, 8, 1}, []int64{first.From[0].Offset, first.From[1].Offset, first.To[0].Offset, first.To[1].Offset})

	one := ptr(int32(0))
	require.NoError(t, l.TrimTo(context.Background(), 6))
	versions, _, err = n.history(&api.HistoryRequest{Key: []byte("a"), Partition: one})
	require.NoError(t, err)
	require.Equal(t, []string{`0/3  "": 8@3`, `0/6 delete "": none`, `0/7 put "": @7`}, versions)
	versions, _, err = n.history(&api.HistoryRequest{Key: []byte("a"), Partition: one, From: at(7), To: at(7)})
	require.NoError(t, err)
	require.Empty(t, versions, "no row, and no delta")
	versions, _, err = n.history(&api.HistoryRequest{Key: []byte("b"), Partition: one, From: at(6)})
	require.NoError(t, err)
	require.Equal(t, []string{`0/1  "": 1@1`}, versions)
	versions, first, err = n.history(&api.HistoryRequest{Key: []byte("none")})
	require.NoError(t, err)
	require.Empty(t, versions)
	require.Len(t, first.To, 2, "an empty answer says between which points, too")

	_, _, err = n.history(&api.HistoryRequest{Key: []byte("a"), Partition: one, From: at(8), To: at(7)})
	require.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(err))
	_, _, err = n.history(&api.HistoryRequest{Key: []byte("a"), Partition: one, From: at(5)})
	_, why, _ := reason(t, err)
	require.Equal(t, api.Reason_REASON_BELOW_DELTA_START, why)
}

// A long history comes in several messages, whole and in order.
func TestLongHistory(t *testing.T) {
	n := newNode(t, 1, nil)
	for i := range 3000 {
		n.logs[0].Append(memlog.Put("a", fmt.Sprint(i)), memlog.Put("b", "-"))
	}
	versions, first, err := n.history(&api.HistoryRequest{Key: []byte("a")})
	require.NoError(t, err)
	require.Len(t, versions, 3000)
	require.Less(t, len(first.Versions), 3000)
	for i, v := range versions {
		require.Equal(t, fmt.Sprintf(`0/%d put "%d": %d@%d`, 2*i, i, i, 2*i), v)
	}
}

// Rows that the log start passes are told from those that somebody deleted.
func TestHistoryOfExpiredRows(t *testing.T) {
	n := newNode(t, 1, nil)
	n.logs[0].Append(memlog.Put("a", "1"), memlog.Put("b", "1"))
	n.cut()
	require.NoError(t, n.logs[0].HideBelow(t.Context(), 1))
	frames, err := n.client.Frames(t.Context(), connect.NewRequest(&api.FramesRequest{Topic: topicName, Follow: true}))
	require.NoError(t, err)
	defer frames.Close()
	for frames.Receive() { // until the log start has taken effect
		if f := frames.Msg().Frames; f[len(f)-1].Start == 1 {
			break
		}
	}
	require.NoError(t, frames.Err())
	stream, err := n.client.History(t.Context(), connect.NewRequest(&api.HistoryRequest{Topic: topicName, Key: []byte("a")}))
	require.NoError(t, err)
	defer stream.Close()
	require.True(t, stream.Receive())
	versions := stream.Msg().Versions
	require.Len(t, versions, 2)
	require.True(t, versions[1].Expired && versions[1].Deleted)
	require.EqualValues(t, 2, versions[1].Offset)
}

package state_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/broker/state"
	api "github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
)

// diff collects what differs as text: partition, key, value before and after.
func (n *node) diff(m *api.DiffRequest) (rows []string, first, last *api.DiffResponse, err error) {
	m.Topic = topicName
	stream, err := n.client.Diff(context.Background(), connect.NewRequest(m))
	if err != nil {
		return nil, nil, nil, err
	}
	defer stream.Close()
	for stream.Receive() {
		if first == nil {
			first = stream.Msg()
		}
		last = stream.Msg()
		for _, r := range last.Rows {
			rows = append(rows, fmt.Sprintf("%d %s %s %s", r.Partition, r.Key, valueOf(r.Before), valueOf(r.After)))
		}
	}
	return rows, first, last, stream.Err()
}

func valueOf(r *api.Row) string {
	if r == nil {
		return "-"
	}
	return fmt.Sprintf("%s@%d", r.Value, r.Offset)
}

func offsets(list ...int64) *api.At {
	points := &api.PartitionOffsets{}
	for i, o := range list {
		points.Offsets = append(points.Offsets, &api.PartitionOffset{Partition: int32(i), Offset: o})
	}
	return &api.At{Point: &api.At_Offsets{Offsets: points}}
}

func atTime(ms int64) *api.At   { return &api.At{Point: &api.At_TimeMs{TimeMs: ms}} }
func atCut(name string) *api.At { return &api.At{Point: &api.At_Cut{Cut: name}} }

// What differs between two points of any kind comes in key order over all partitions, the rows of both sides with it.
func TestDiff(t *testing.T) {
	n := newNode(t, 2, nil)
	n.logs[0].Append(memlog.Put("a", "1"), memlog.Put("c", "1"), memlog.Put("e", "1"), memlog.Put("same", "1"))
	n.logs[1].Append(memlog.Put("b", "1"), memlog.Put("e", "2"))
	cut := n.cut()
	n.clock.ms.Add(1000)
	n.logs[0].Append(memlog.Put("a", "2"), memlog.Delete("c"), memlog.Put("same", "1"), memlog.Delete("e")) // 4..7
	n.logs[1].Append(memlog.Put("d", "1"), memlog.Put("e", "3"))                                            // 2, 3
	n.clock.ms.Add(1000)
	n.logs[0].Append(memlog.Put("c", "1"), memlog.Put("f", "")) // 8, 9: c comes back as it was

	want := []string{"0 a 1@0 2@4", "1 d - 1@2", "0 e 1@2 -", "1 e 2@1 3@3", "0 f - @9"}
	for name, from := range map[string]*api.At{"cut": atCut(cut.Name), "time": atTime(1_000_500), "offsets": offsets(4, 2)} {
		rows, first, last, err := n.diff(&api.DiffRequest{From: from})
		require.NoError(t, err, name)
		require.Equal(t, want, rows, name)
		require.Equal(t, []int64{4, 2, 10, 4}, []int64{first.From[0].Offset, first.From[1].Offset, first.To[0].Offset, first.To[1].Offset}, name)
		require.Len(t, first.From[1].Incarnation, 16)
		require.Nil(t, last.Next)
	}
	rows, _, _, err := n.diff(&api.DiffRequest{From: offsets(10, 4), To: atCut(cut.Name)})
	require.NoError(t, err)
	require.Equal(t, []string{"0 a 2@4 1@0", "1 d 1@2 -", "0 e - 1@2", "1 e 3@3 2@1", "0 f @9 -"}, rows, "backwards")
	rows, _, _, err = n.diff(&api.DiffRequest{From: atTime(1_000_500), To: atTime(1_001_500), Prefix: []byte("c")})
	require.NoError(t, err)
	require.Equal(t, []string{"0 c 1@1 -"}, rows)
	rows, _, _, err = n.diff(&api.DiffRequest{Partition: ptr(int32(1)), From: at(0), To: at(1)})
	require.NoError(t, err)
	require.Equal(t, []string{"1 b - 1@0"}, rows, "below the first frame, inside of a batch")
	rows, first, _, err := n.diff(&api.DiffRequest{From: atCut(cut.Name), To: atCut(cut.Name)})
	require.NoError(t, err)
	require.Empty(t, rows)
	require.Len(t, first.To, 2, "an empty answer says between which points, too")
}

// Pages never tear a key apart that has rows in more than one partition, and together they are the whole.
func TestDiffInPages(t *testing.T) {
	n := newNode(t, 3, nil)
	n.cut()
	for i := range 2500 {
		n.logs[i%3].Append(memlog.Put(fmt.Sprintf("k%05d", i), "v"))
		if i == 1000 {
			n.cut()
		}
	}
	n.logs[1].Append(memlog.Put("k00000", "elsewhere too"))
	whole, first, _, err := n.diff(&api.DiffRequest{From: offsets(0, 0, 0)})
	require.NoError(t, err)
	require.Len(t, whole, 2501)
	require.Less(t, len(first.Rows), len(whole), "in several messages")
	var paged []string
	request := &api.DiffRequest{From: offsets(0, 0, 0), Limit: 1}
	for {
		rows, _, last, err := n.diff(request)
		require.NoError(t, err)
		if len(paged) == 0 {
			require.Len(t, rows, 2)
		}
		paged = append(paged, rows...)
		if last.Next == nil {
			break
		}
		request = &api.DiffRequest{From: offsets(0, 0, 0), Limit: 700, After: last.Next}
	}
	require.Equal(t, whole, paged)
}

func TestDiffErrors(t *testing.T) {
	n := newNode(t, 2, func(c *state.Config) { c.Scans = 1 })
	n.logs[0].Append(memlog.Put("a", "1"))
	_, _, _, err := n.diff(&api.DiffRequest{})
	require.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(err))
	_, _, _, err = n.diff(&api.DiffRequest{From: offsets(0, 0), Limit: -1})
	require.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(err))
	for _, c := range []struct {
		from, to *api.At
		reason   api.Reason
		says     string
	}{
		{at(0), nil, api.Reason_REASON_AMBIGUOUS_POINT, "0:1,1:0"},
		{offsets(0, 0), offsets(2, 0), api.Reason_REASON_ABOVE_LAST_STABLE, "from offset 0 to 1"},
		{offsets(0, 0), atCut("nonsense"), api.Reason_REASON_UNKNOWN_CUT, "nonsense"},
		{offsets(0, 0), atTime(1_000_000_000), api.Reason_REASON_ABOVE_LAST_STABLE, "yet to come"},
	} {
		_, _, _, err := n.diff(&api.DiffRequest{From: c.from, To: c.to})
		_, why, _ := reason(t, err)
		require.Equal(t, c.reason, why)
		require.ErrorContains(t, err, c.says)
	}
	for i := range 400 { // more than socket buffers hold
		n.logs[0].Append(memlog.Put(fmt.Sprint("k", i), string(make([]byte, 64<<10))))
	}
	stream, err := n.client.Diff(context.Background(), connect.NewRequest(&api.DiffRequest{Topic: topicName, From: offsets(0, 0)}))
	require.NoError(t, err)
	require.True(t, stream.Receive())
	_, _, _, err = n.diff(&api.DiffRequest{From: offsets(0, 0)})
	_, why, _ := reason(t, err)
	require.Equal(t, api.Reason_REASON_TOO_MANY_SCANS, why)
	for stream.Receive() {
	}
	require.NoError(t, stream.Close())
}

// Below the delta start offset, whose key frame is the oldest, there is no state to read, and the error of every call says what there is.
func TestThePastBelowTheDeltaStart(t *testing.T) {
	n := newNode(t, 1, nil)
	n.logs[0].Append(memlog.Put("a", "1"), memlog.Put("b", "1"))
	first := n.cut()
	n.clock.ms.Add(1000)
	n.logs[0].Append(memlog.Put("a", "2"))
	n.logs[0].Append(memlog.Put("a", "3"))
	n.cut()
	n.logs[0].Append(memlog.Put("a", "4"))
	require.NoError(t, n.logs[0].TrimTo(context.Background(), 4))
	_, err := n.get(&api.GetRequest{Key: []byte("a"), At: atCut(first.Name)})
	require.Error(t, err, "whether its frame has gone by now or not")
	frames, err := n.client.Frames(t.Context(), connect.NewRequest(&api.FramesRequest{Topic: topicName}))
	require.NoError(t, err)
	require.True(t, frames.Receive(), frames.Err())
	require.EqualValues(t, 4, frames.Msg().Partitions[0].DeltaStartOffset)
	require.Len(t, frames.Msg().Frames, 1, "what cannot be read is not listed")
	require.EqualValues(t, 4, frames.Msg().Frames[0].Cut)
	require.NoError(t, frames.Close())
	for name, point := range map[string]*api.At{"offset": at(2), "offsets": offsets(2)} {
		t.Run(name, func(t *testing.T) {
			_, scan := n.get(&api.GetRequest{Key: []byte("a"), At: point})
			_, _, _, diff := n.diff(&api.DiffRequest{From: point})
			_, _, history := n.history(&api.HistoryRequest{Key: []byte("a"), From: point})
			for _, err := range []error{scan, diff, history} {
				code, why, detail := reason(t, err)
				require.Equal(t, connect.CodeOutOfRange, code)
				require.Equal(t, api.Reason_REASON_BELOW_DELTA_START, why)
				require.Equal(t, []int64{2, 4, 5}, []int64{detail.Offset, detail.DeltaStartOffset, detail.LastStableOffset})
				require.ErrorContains(t, err, "from offset 4 to 5")
				require.ErrorContains(t, err, "keyframe frames list files")
			}
		})
	}
}

// Connect's own protocol with JSON, and gRPC, carry the same, errors with their reasons included.
func TestThePastOverOtherProtocols(t *testing.T) {
	n := newNode(t, 1, nil)
	n.logs[0].Append(memlog.Put("a", "1"))
	n.logs[0].Append(memlog.Put("a", "2"))
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	for name, client := range map[string]stateconnect.StateServiceClient{
		"JSON": stateconnect.NewStateServiceClient(n.http, n.url, connect.WithProtoJSON()),
		"gRPC": stateconnect.NewStateServiceClient(&http.Client{Transport: transport}, n.url, connect.WithGRPC()),
	} {
		n.client = client
		rows, _, _, err := n.diff(&api.DiffRequest{From: at(1)})
		require.NoError(t, err, name)
		require.Equal(t, []string{"0 a 1@0 2@1"}, rows, name)
		versions, _, err := n.history(&api.HistoryRequest{Key: []byte("a"), From: at(1)})
		require.NoError(t, err, name)
		require.Equal(t, []string{`0/0  "": 1@0`, `0/1 put "2": 2@1`}, versions, name)
		got, err := n.get(&api.GetRequest{Key: []byte("a"), At: at(1)})
		require.NoError(t, err, name)
		require.Equal(t, "1", string(got.Rows[0].Value), name)
		_, _, _, err = n.diff(&api.DiffRequest{From: at(9)})
		_, why, _ := reason(t, err)
		require.Equal(t, api.Reason_REASON_ABOVE_LAST_STABLE, why, name)
	}
}

package state_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/broker/state"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
	api "github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/storage/live"
)

func TestGet(t *testing.T) {
	n := newNode(t, 2, nil)
	n.logs[0].Append(memlog.Record(0, "a", []byte("1"), batch.Header{Key: "h", Value: []byte("x")}, batch.Header{Key: "null"}))
	n.logs[1].Append(memlog.Put("b", "1"), memlog.Put("c", ""))

	got, err := n.get(&api.GetRequest{Key: []byte("a")})
	require.NoError(t, err)
	require.Len(t, got.Rows, 1, "without a partition all are asked")
	row := got.Rows[0]
	require.Equal(t, "a=1 at 0 in 0", fmt.Sprintf("%s=%s at %d in %d", row.Key, row.Value, row.Offset, row.Partition))
	require.EqualValues(t, 1_000_000, row.TimestampMs)
	require.Equal(t, "h", row.Headers[0].Key)
	require.Equal(t, []byte("x"), row.Headers[0].Value)
	require.Nil(t, row.Headers[1].Value, "a null header value")
	require.Len(t, got.AsOf, 2)
	require.EqualValues(t, 2, got.AsOf[1].Offset)
	require.Equal(t, bytes.Repeat([]byte{1}, 1), got.AsOf[1].Incarnation[:1])

	got, err = n.get(&api.GetRequest{Key: []byte("a"), Partition: ptr(int32(1))})
	require.NoError(t, err)
	require.Empty(t, got.Rows)
	require.Len(t, got.AsOf, 1)

	got, err = n.get(&api.GetRequest{Key: []byte("c")})
	require.NoError(t, err)
	require.Len(t, got.Rows, 1, "an empty value is a value")

	n.logs[1].Append(memlog.Delete("b"))
	got, err = n.get(&api.GetRequest{Key: []byte("b")})
	require.NoError(t, err)
	require.Empty(t, got.Rows)
}

// Whatever was committed when a read comes, the read sees.
func TestReadsAreLinearizable(t *testing.T) {
	n := newNode(t, 1, nil)
	for i := range 200 {
		n.logs[0].Append(memlog.Put("a", fmt.Sprint(i)))
		got, err := n.get(&api.GetRequest{Key: []byte("a")})
		require.NoError(t, err)
		require.Equal(t, fmt.Sprint(i), string(got.Rows[0].Value))
		require.EqualValues(t, i+1, got.AsOf[0].Offset)
	}
}

func TestFoldedReadsDoNotWait(t *testing.T) {
	n := newNode(t, 1, nil)
	n.logs[0].Append(memlog.Put("a", "1"))
	n.cut()
	n.logs[0].Append(memlog.Put("a", "2"), memlog.Put("b", "2"))
	got, err := n.get(&api.GetRequest{Key: []byte("a"), Folded: true})
	require.NoError(t, err)
	require.Equal(t, "1", string(got.Rows[0].Value))
	require.EqualValues(t, 1, got.AsOf[0].Offset)
	rows, first, _, err := n.scan(&api.ScanRequest{Folded: true})
	require.NoError(t, err)
	require.Len(t, rows, 1)
	require.EqualValues(t, 1, first.AsOf[0].Offset)
}

// A read that the keyframer does not catch up with ends with a typed error.
func TestWaitIsBounded(t *testing.T) {
	n := newNode(t, 1, func(c *state.Config) { c.WaitTimeout = time.Millisecond })
	n.logs[0].Append(memlog.Put("a", "1"))
	_, err := n.get(&api.GetRequest{Key: []byte("a"), MinOffsets: []*api.PartitionOffset{{Offset: 2}}})
	code, why, detail := reason(t, err)
	require.Equal(t, connect.CodeUnavailable, code)
	require.Equal(t, api.Reason_REASON_BEHIND, why)
	require.EqualValues(t, 2, detail.Offset)
	require.EqualValues(t, 1, detail.LastStableOffset)
}

func TestMinOffset(t *testing.T) {
	n := newNode(t, 1, nil)
	n.logs[0].Append(memlog.Put("a", "1"))
	done := make(chan *api.GetResponse, 1)
	go func() {
		got, err := n.get(&api.GetRequest{Key: []byte("a"), MinOffsets: []*api.PartitionOffset{{Offset: 2}}})
		if err != nil {
			got = nil
		}
		done <- got
	}()
	n.logs[0].Append(memlog.Put("a", "2"))
	got := <-done
	require.NotNil(t, got)
	require.Equal(t, "2", string(got.Rows[0].Value))
}

func TestStateAtAPoint(t *testing.T) {
	n := newNode(t, 2, nil)
	for i := range 4 {
		n.clock.ms.Add(1000)
		n.logs[0].Append(memlog.Put("a", fmt.Sprint(i)))
		n.logs[1].Append(memlog.Put("b", fmt.Sprint(i)), memlog.Put("b", fmt.Sprint(i, "+")))
	}
	n.clock.ms.Add(1000)
	cut := n.cut()
	require.True(t, cut.Consistent)
	require.Len(t, cut.Frames, 2)
	n.clock.ms.Add(1000)
	n.logs[0].Append(memlog.Delete("a"))

	value := func(m *api.GetRequest) string {
		t.Helper()
		got, err := n.get(m)
		require.NoError(t, err)
		require.Len(t, got.Rows, 1)
		return string(got.Rows[0].Value)
	}
	one := ptr(int32(0))
	require.Equal(t, "1", value(&api.GetRequest{Key: []byte("a"), Partition: one, At: at(2)}))
	require.Equal(t, "3", value(&api.GetRequest{Key: []byte("a"), At: &api.At{Point: &api.At_Cut{Cut: cut.Name}}}))
	require.Equal(t, "1+", value(&api.GetRequest{Key: []byte("b"), At: &api.At{Point: &api.At_TimeMs{TimeMs: 1_002_000}}}))
	require.Equal(t, "1", value(&api.GetRequest{Key: []byte("b"), At: &api.At{Point: &api.At_Offsets{Offsets: &api.PartitionOffsets{
		Offsets: []*api.PartitionOffset{{Partition: 0, Offset: 0}, {Partition: 1, Offset: 3}},
	}}}}), "inside of a batch: the records below")
	rows, first, _, err := n.scan(&api.ScanRequest{At: &api.At{Point: &api.At_Cut{Cut: cut.Name}}})
	require.NoError(t, err)
	require.Len(t, rows, 2)
	require.EqualValues(t, 4, first.AsOf[0].Offset)
	require.EqualValues(t, 8, first.AsOf[1].Offset)
}

// Whoever asks for a cut may keep its name, unless the request says that nobody does.
func TestCutIsKept(t *testing.T) {
	n := newNode(t, 2, nil)
	kept := func() (list []bool) {
		for i := range n.logs {
			p, err := n.k.Partition(topicName, int32(i))
			require.NoError(t, err)
			tab, err := p.Table()
			require.NoError(t, err)
			for _, f := range tab.Frames() {
				list = append(list, f.Kept)
			}
		}
		return list
	}
	n.logs[0].Append(memlog.Put("a", "1"))
	n.logs[1].Append(memlog.Put("b", "1"))
	passing, err := n.client.Cut(t.Context(), connect.NewRequest(&api.CutRequest{Topic: topicName, Passing: true}))
	require.NoError(t, err)
	require.Equal(t, []bool{false, false}, kept())
	n.logs[0].Append(memlog.Put("a", "2"))
	require.NotEqual(t, passing.Msg.Name, n.cut().Name)
	require.Equal(t, []bool{false, true, true}, kept(), "also the frame that was there already")
}

func TestPointErrors(t *testing.T) {
	n := newNode(t, 2, nil)
	for i := range 3 {
		n.logs[0].Append(memlog.Put("a", fmt.Sprint(i)))
	}
	n.cut()
	require.NoError(t, n.logs[0].TrimTo(context.Background(), 2))
	one, points := ptr(int32(0)), func(list ...*api.PartitionOffset) *api.At {
		return &api.At{Point: &api.At_Offsets{Offsets: &api.PartitionOffsets{Offsets: list}}}
	}
	for _, c := range []struct {
		name    string
		request *api.GetRequest
		code    connect.Code
		reason  api.Reason
	}{
		{"no partition", &api.GetRequest{Partition: ptr(int32(9))}, connect.CodeNotFound, api.Reason_REASON_UNKNOWN_PARTITION},
		{"above the end", &api.GetRequest{Partition: one, At: at(4)}, connect.CodeOutOfRange, api.Reason_REASON_ABOVE_LAST_STABLE},
		{"below N1", &api.GetRequest{Partition: one, At: at(1)}, connect.CodeOutOfRange, api.Reason_REASON_BELOW_DELTA_START},
		{"negative", &api.GetRequest{Partition: one, At: at(-1)}, connect.CodeOutOfRange, api.Reason_REASON_BELOW_DELTA_START},
		{"time before N1", &api.GetRequest{Partition: one, At: &api.At{Point: &api.At_TimeMs{TimeMs: 5}}}, connect.CodeOutOfRange, api.Reason_REASON_BELOW_DELTA_START},
		{"a bare offset with two partitions", &api.GetRequest{At: at(2)}, connect.CodeInvalidArgument, api.Reason_REASON_AMBIGUOUS_POINT},
		{"a list that lacks one", &api.GetRequest{At: points(&api.PartitionOffset{Offset: 2})}, connect.CodeInvalidArgument, api.Reason_REASON_AMBIGUOUS_POINT},
		{"a list with one twice", &api.GetRequest{At: points(&api.PartitionOffset{}, &api.PartitionOffset{})}, connect.CodeInvalidArgument, api.Reason_REASON_AMBIGUOUS_POINT},
		{"a list with a stranger", &api.GetRequest{At: points(&api.PartitionOffset{Partition: 5})}, connect.CodeNotFound, api.Reason_REASON_UNKNOWN_PARTITION},
		{"unknown cut", &api.GetRequest{At: &api.At{Point: &api.At_Cut{Cut: "nonsense"}}}, connect.CodeNotFound, api.Reason_REASON_UNKNOWN_CUT},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := n.get(c.request)
			code, why, _ := reason(t, err)
			require.Equal(t, c.code, code)
			require.Equal(t, c.reason, why, "%v", err)
		})
	}
	_, err := n.get(&api.GetRequest{Folded: true, At: at(2)})
	require.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(err))
	_, err = n.get(&api.GetRequest{At: &api.At{}})
	require.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(err))
	for topic, want := range map[string]api.Reason{"plain": api.Reason_REASON_NOT_KEY_FRAMED, "none": api.Reason_REASON_UNKNOWN_TOPIC} {
		_, err := n.client.Get(context.Background(), connect.NewRequest(&api.GetRequest{Topic: topic}))
		_, why, detail := reason(t, err)
		require.Equal(t, want, why)
		require.Equal(t, topic, detail.Topic)
	}
}

// A point between frames that lie too far apart is refused with a reason, by all who read there. The log says what live.At says at
// its limit, which takes 256 MiB to reach.
func TestTooFarAboveAFrame(t *testing.T) {
	n := newNode(t, 1, nil)
	for i := range 3 {
		n.logs[0].Append(memlog.Put("a", fmt.Sprint(i)))
	}
	n.cut()
	n.logs[0].Fail(fmt.Errorf("%w: 300000000 bytes from 0 to 1", live.ErrSeek))
	_, getErr := n.get(&api.GetRequest{Key: []byte("a"), At: at(1)})
	_, _, _, scanErr := n.scan(&api.ScanRequest{At: at(1)})
	_, digestErr := n.client.DigestAt(context.Background(), connect.NewRequest(&api.DigestAtRequest{
		Topic: topicName, Offset: 1}))
	for _, err := range []error{getErr, scanErr, digestErr} {
		code, why, detail := reason(t, err)
		require.Equal(t, connect.CodeResourceExhausted, code)
		require.Equal(t, api.Reason_REASON_TOO_FAR_ABOVE_FRAME, why)
		require.Equal(t, topicName, detail.Topic)
	}
	_, err := n.get(&api.GetRequest{Key: []byte("a"), At: at(3)})
	require.NoError(t, err, "at the frame itself")
}

func TestScan(t *testing.T) {
	n := newNode(t, 3, nil)
	want := []string{}
	for i := range 3000 {
		key := fmt.Sprintf("k%05d", i)
		n.logs[i%3].Append(memlog.Put(key, "value"))
		want = append(want, key)
		if i == 1500 {
			n.cut()
		}
	}
	n.logs[1].Append(memlog.Put("k00000", "elsewhere too"))
	keys := func(rows []*api.Row) (list []string) {
		for _, r := range rows {
			list = append(list, string(r.Key))
		}
		return list
	}
	rows, first, _, err := n.scan(&api.ScanRequest{})
	require.NoError(t, err)
	require.Equal(t, append([]string{"k00000"}, want...), keys(rows), "in key order over all partitions")
	require.Less(t, len(first.Rows), len(rows), "in several messages")
	require.Len(t, first.AsOf, 3)

	rows, _, _, err = n.scan(&api.ScanRequest{Prefix: []byte("k0012")})
	require.NoError(t, err)
	require.Equal(t, want[120:130], keys(rows))

	var paged []string
	request := &api.ScanRequest{Limit: 1}
	for {
		rows, _, last, err := n.scan(request)
		require.NoError(t, err)
		paged = append(paged, keys(rows)...)
		if last.Next == nil {
			break
		}
		request = &api.ScanRequest{Limit: 700, After: last.Next}
	}
	require.Equal(t, append([]string{"k00000"}, want...), paged, "pages never tear equal keys apart")

	rows, first, _, err = n.scan(&api.ScanRequest{Prefix: []byte("none")})
	require.NoError(t, err)
	require.Empty(t, rows)
	require.Len(t, first.AsOf, 3, "an empty answer says as of when, too")

	_, _, _, err = n.scan(&api.ScanRequest{Limit: -1})
	require.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(err))
}

func TestScansAreBounded(t *testing.T) {
	n := newNode(t, 1, func(c *state.Config) { c.Scans = 1 })
	for i := range 400 { // more than socket buffers hold
		n.logs[0].Append(memlog.Put(fmt.Sprint("k", i), string(make([]byte, 64<<10))))
	}
	stream, err := n.client.Scan(context.Background(), connect.NewRequest(&api.ScanRequest{Topic: topicName}))
	require.NoError(t, err)
	require.True(t, stream.Receive())
	_, _, _, err = n.scan(&api.ScanRequest{})
	code, why, _ := reason(t, err)
	require.Equal(t, connect.CodeResourceExhausted, code)
	require.Equal(t, api.Reason_REASON_TOO_MANY_SCANS, why)
	for stream.Receive() {
	}
	require.NoError(t, stream.Err())
	require.NoError(t, stream.Close())
	_, _, _, err = n.scan(&api.ScanRequest{Limit: 1})
	require.NoError(t, err)
}

func TestFrames(t *testing.T) {
	n := newNode(t, 2, nil)
	n.logs[0].Append(memlog.Put("a", "1"))
	n.cut()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stream, err := n.client.Frames(ctx, connect.NewRequest(&api.FramesRequest{Topic: topicName, Follow: true}))
	require.NoError(t, err)
	require.True(t, stream.Receive())
	first := stream.Msg()
	require.Len(t, first.Partitions, 2)
	p := first.Partitions[0]
	require.Equal(t, "last-value", p.Fold)
	require.EqualValues(t, 1, p.Position)
	require.EqualValues(t, 1, p.FoldedPosition)
	require.EqualValues(t, 1, p.LastStableOffset)
	require.Len(t, p.TopicId, 16)
	require.Len(t, first.Frames, 1)
	f := first.Frames[0]
	require.EqualValues(t, 1, f.Cut)
	require.EqualValues(t, 1, f.Count)
	require.Len(t, f.Pub, 32)

	n.logs[1].Append(memlog.Put("b", "1"))
	cut := n.cut()
	require.True(t, stream.Receive(), "a new frame is pushed")
	require.Len(t, stream.Msg().Frames, 1)
	require.Equal(t, cut.Frames[1].Pub, stream.Msg().Frames[0].Pub)
	require.Empty(t, stream.Msg().Partitions)

	require.NoError(t, n.k.Grow(n.spec(3)))
	require.True(t, stream.Receive(), "a new partition is told")
	require.Len(t, stream.Msg().Partitions, 1)
	require.EqualValues(t, 2, stream.Msg().Partitions[0].Partition)
	require.Empty(t, stream.Msg().Frames)
	n.logs[2].Append(memlog.Put("c", "1"))
	cut = n.cut()
	require.True(t, stream.Receive())
	require.EqualValues(t, 2, stream.Msg().Frames[0].Partition)
	scanned, err := n.client.Scan(context.Background(), connect.NewRequest(&api.ScanRequest{Topic: topicName, At: &api.At{Point: &api.At_Cut{Cut: cut.Name}}}))
	require.NoError(t, err)
	require.True(t, scanned.Receive())
	require.NoError(t, scanned.Close())

	require.NoError(t, n.k.Remove(context.Background(), topicName))
	require.False(t, stream.Receive())
	_, why, _ := reason(t, stream.Err())
	require.Equal(t, api.Reason_REASON_UNKNOWN_TOPIC, why, "the topic is gone")
}

func TestShutdownEndsFollowers(t *testing.T) {
	n := newNode(t, 1, nil)
	stream, err := n.client.Frames(context.Background(), connect.NewRequest(&api.FramesRequest{Topic: topicName, Follow: true}))
	require.NoError(t, err)
	require.True(t, stream.Receive())
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		done <- n.server.Shutdown(ctx)
	}()
	require.False(t, stream.Receive())
	require.Equal(t, connect.CodeUnavailable, connect.CodeOf(stream.Err()))
	require.NoError(t, stream.Close())
	require.NoError(t, <-done)
}

func TestDigestAt(t *testing.T) {
	n := newNode(t, 1, nil)
	var want digest.Digest
	var h digest.Hasher
	for i := range 10 {
		key, value := fmt.Sprint("k", i), fmt.Sprint("v", i)
		n.logs[0].Append(memlog.Put(key, value))
		want.Add(h.Entry([]byte(key), []byte(value)))
		if i == 4 {
			n.cut()
		}
		got, err := n.client.DigestAt(context.Background(), connect.NewRequest(&api.DigestAtRequest{
			Topic: topicName, Offset: int64(i + 1), Incarnation: append([]byte{0, 1}, make([]byte, 14)...),
		}))
		require.NoError(t, err)
		require.EqualValues(t, i+1, got.Msg.Count)
		sum := want.Sum.Bytes()
		require.Equal(t, sum[:], got.Msg.Sum)
	}
	_, err := n.client.DigestAt(context.Background(), connect.NewRequest(&api.DigestAtRequest{
		Topic: topicName, Offset: 1, Incarnation: make([]byte, 16),
	}))
	_, why, _ := reason(t, err)
	require.Equal(t, api.Reason_REASON_OTHER_INCARNATION, why)
}

func TestExport(t *testing.T) {
	n := newNode(t, 1, nil)
	for i := range 1000 {
		n.logs[0].Append(memlog.Put(fmt.Sprint("k", i%700), fmt.Sprint("v", i)), memlog.Delete("gone"))
		if i == 500 {
			n.cut()
		}
	}
	for _, offset := range []int64{0, 1, 600, 1002, 1500, 2000} {
		stream, err := n.client.Export(context.Background(), connect.NewRequest(&api.ExportRequest{Topic: topicName, At: at(offset)}))
		require.NoError(t, err)
		var data bytes.Buffer
		for stream.Receive() {
			data.Write(stream.Msg().Data)
			if stream.Msg().AsOf != nil {
				require.Equal(t, offset, stream.Msg().AsOf.Offset)
			}
		}
		require.NoError(t, stream.Err())
		require.NoError(t, stream.Close())
		d, footer := digestOf(t, data.Bytes())
		require.Equal(t, footer.Digest, d)
		require.Equal(t, footer.Pub, d.Pub(digest.FrameID{TopicID: [16]byte{7}, Incarnation: [16]byte{0, 1}, Cut: offset}))
	}
}

// digestOf reads a frame and hashes its rows.
func digestOf(t *testing.T, data []byte) (d digest.Digest, footer frame.Footer) {
	t.Helper()
	r, err := frame.NewReader(bytes.NewReader(data), 0)
	require.NoError(t, err)
	var h digest.Hasher
	rows := uint64(0)
	for {
		block, err := r.Next(nil)
		if err != nil {
			break
		}
		for row, err := range block.Rows() {
			require.NoError(t, err)
			d.Add(h.Entry(row.Key, row.Value))
			rows++
		}
	}
	footer, ok := r.Footer()
	require.True(t, ok)
	require.Equal(t, footer.Rows, rows)
	return d, footer
}

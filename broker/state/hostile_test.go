package state_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/cockroachdb/pebble/v2"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/broker/state"
	"github.com/keyframelog/keyframe/proto/sketch"
	api "github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/storage/keys"
)

// Cells beyond those that there are, however the two numbers add up, are refused before anything is read.
func TestSketchBeyondItsEnd(t *testing.T) {
	n := framed(t, nil)
	for _, x := range [][2]uint32{{1<<32 - 1, 0}, {1<<32 - 1, 1}, {1<<32 - 1, 1<<32 - 1}, {1<<32 - 64, 64}, {0, 1<<32 - 1}, {1 << 31, 1 << 31}, {sketch.CellsMax, 1}, {1, sketch.CellsMax}} {
		_, _, _, err := n.sketch(&api.SketchRequest{Cut: 2000, First: x[0], Cells: x[1]})
		require.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(err), "%v", x)
	}
	_, cells, _, err := n.sketch(&api.SketchRequest{Cut: 2000, First: sketch.CellsMax})
	require.NoError(t, err, "none from the end on")
	require.Empty(t, cells)
	require.Equal(t, 1, n.count("keyframe_repair_scan_seconds"))
}

// count is how many series a metric has that are not zero.
func (n *node) count(name string) (series int) {
	families, err := n.registry.Gather()
	require.NoError(n.t, err)
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == name && m.GetCounter().GetValue()+m.GetGauge().GetValue()+float64(m.GetHistogram().GetSampleCount()) > 0 {
				series++
			}
		}
	}
	return series
}

// 10,000,000 tags are too many for a request; as many as there may be of the same one are answered as one.
func TestResolveOfTooManyTags(t *testing.T) {
	n := framed(t, nil)
	_, _, err := n.resolve(&api.ResolveRequest{Cut: 2000, Tags: make([]byte, 8*10_000_000)})
	require.Equal(t, connect.CodeResourceExhausted, connect.CodeOf(err))
	_, tags, err := n.tags(&api.TagsRequest{Cut: 2000})
	require.NoError(t, err)
	same, lacking := make([]byte, 0, 8<<17), packed(4711)
	for range 1<<17 - 1 {
		same = append(same, tags[:8]...)
	}
	rows, unknown, err := n.resolve(&api.ResolveRequest{Cut: 2000, Tags: append(same, lacking...)})
	require.NoError(t, err)
	require.Len(t, rows, 1)
	require.Equal(t, lacking, unknown)
	for i := 0; i < len(same); i += 8 {
		binary.BigEndian.PutUint64(same[i:], 4711)
	}
	rows, unknown, err = n.resolve(&api.ResolveRequest{Cut: 2000, Tags: same})
	require.NoError(t, err)
	require.Empty(t, rows)
	require.Equal(t, lacking, unknown, "once")
}

// A watch that goes on from 100,000 partitions, or from a point that is none, is refused, whatever it says; the answer does not grow with it.
func TestWatchFromTooMuch(t *testing.T) {
	n := newNode(t, 1, nil)
	refused := func(name string, code connect.Code, from ...*api.AsOf) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		stream, err := n.client.Watch(ctx, connect.NewRequest(&api.WatchRequest{Topic: topicName, From: from}))
		require.NoError(t, err, name)
		defer stream.Close()
		require.False(t, stream.Receive(), name)
		require.Equal(t, code, connect.CodeOf(stream.Err()), name)
		require.Less(t, len(stream.Err().Error()), 1000, name)
	}
	var many, twice []*api.AsOf
	for i := range int32(100_000) {
		many = append(many, &api.AsOf{Partition: i, Incarnation: incarnation()})
	}
	for range 10_000 {
		twice = append(twice, &api.AsOf{Incarnation: incarnation()})
	}
	refused("more than a request has", connect.CodeResourceExhausted, many...)
	refused("partitions that there are not", connect.CodeNotFound, many[:10_000]...)
	refused("negative partitions", connect.CodeNotFound, &api.AsOf{Partition: -1, Incarnation: incarnation()})
	refused("one again and again", connect.CodeInvalidArgument, twice...)
	refused("a long incarnation", connect.CodeFailedPrecondition, &api.AsOf{Incarnation: make([]byte, 1<<20)})
	refused("the future", connect.CodeOutOfRange, &api.AsOf{Incarnation: incarnation(), Offset: 1 << 62})
	refused("a negative offset", connect.CodeInvalidArgument, &api.AsOf{Incarnation: incarnation(), Offset: -1})
	refused("a negative start", connect.CodeInvalidArgument, &api.AsOf{Incarnation: incarnation(), Start: -1})
	require.Zero(t, n.count("keyframe_state_watches"), "none is left")
}

// A topic's name of a megabyte is not echoed.
func TestErrorsDoNotGrowWithNames(t *testing.T) {
	n := newNode(t, 1, func(c *state.Config) { c.Scans = 1 })
	long := strings.Repeat("\x01", 1<<20)
	_, err := n.client.Get(t.Context(), connect.NewRequest(&api.GetRequest{Topic: long}))
	_, why, detail := reason(t, err)
	require.Equal(t, api.Reason_REASON_UNKNOWN_TOPIC, why)
	require.Less(t, len(err.Error())+len(detail.Topic), 2000)
	_, err = n.client.RenewLease(t.Context(), connect.NewRequest(&api.RenewLeaseRequest{Topic: long, Id: make([]byte, 16)}))
	_, why, detail = reason(t, err)
	require.Equal(t, api.Reason_REASON_LEASE_EXPIRED, why)
	require.Less(t, len(err.Error())+len(detail.Topic), 2000)
}

// Names that replicas choose are no labels: however many there are, and whatever is in them, there are as many series as before.
func TestNamesMakeNoSeries(t *testing.T) {
	n := newNode(t, 1, nil)
	n.logs[0].Append(memlog.Put("a", "1"))
	n.cut()
	_, err := n.report(reported("first", 1, nil))
	require.NoError(t, err)
	_, err = n.resume(&api.ResumeRequest{LeaderEpoch: -1, Replica: "first"})
	require.NoError(t, err)
	series := func() int {
		count, err := testutil.GatherAndCount(n.registry)
		require.NoError(t, err)
		return count
	}
	before := series()
	for i := range 200 {
		name := fmt.Sprintf(`%d",topic="x"} 1 # {`, i)
		_, err = n.report(reported(name, 1, func(x *api.ReplicaPartition) { x.Reason = "a\nb{}\"" }))
		require.NoError(t, err)
		_, err = n.resume(&api.ResumeRequest{LeaderEpoch: -1, Replica: name})
		require.NoError(t, err)
	}
	for _, control := range []string{"a\nb", "a\x00", "a\u2028b", "a\u202eb", "\x7f"} {
		_, err = n.report(reported(control, 1, nil))
		require.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(err), "%q", control)
		_, err = n.resume(&api.ResumeRequest{LeaderEpoch: -1, Replica: control})
		require.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(err), "%q", control)
	}
	require.Equal(t, before, series())
	_, body := n.request(http.MethodGet, "/metrics")
	require.NotContains(t, string(body), `topic=\"x\"`)
}

// A Range of what has become another resource is answered with the whole of that, unless it names what it is of: then with 412.
func TestRangeOfAnotherResource(t *testing.T) {
	n := newNode(t, 1, nil)
	changed(n, 50)
	n.cut()
	topic, ok := n.k.Topic(topicName)
	require.True(t, ok)
	etags := map[string]string{}
	for _, path := range []string{framePath(50), sincePath(50, 10)} {
		answer, _ := n.request(http.MethodGet, path)
		etags[path] = answer.Header.Get("ETag")
	}
	require.NoError(t, n.logs[0].HideBelow(t.Context(), 30))
	n.eventually(topic, func(f *api.Frame) bool { return f.Start == 30 })
	for path, etag := range etags {
		_, whole := n.request(http.MethodGet, path)
		answer, body := n.request(http.MethodGet, path, "Range", "bytes=100-", "If-Range", etag)
		require.Equal(t, http.StatusOK, answer.StatusCode, path)
		require.Equal(t, whole, body, "a part of the former would be continued by a part of another")
		require.NotEqual(t, etag, answer.Header.Get("ETag"))
		answer, _ = n.request(http.MethodGet, path, "Range", "bytes=100-", "If-Range", "W/"+answer.Header.Get("ETag"))
		require.Equal(t, http.StatusOK, answer.StatusCode, "If-Range compares strongly")
		answer, body = n.request(http.MethodGet, path, "Range", "bytes=100-", "If-Match", etag)
		require.Equal(t, http.StatusPreconditionFailed, answer.StatusCode, path)
		require.Empty(t, body)
	}
}

// What lacks a row on disk is cut off, never sent as whole; nor is what takes longer than it may.
func TestFramesThatCannotBeSentAreCutOff(t *testing.T) {
	broken := func(n *node, path string) {
		t.Helper()
		answer, err := n.http.Get(n.url + path)
		require.NoError(t, err)
		defer answer.Body.Close()
		_, err = io.Copy(io.Discard, answer.Body)
		require.True(t, err != nil || answer.StatusCode == http.StatusInternalServerError, path)
	}
	n := framed(t, nil)
	require.NoError(t, n.pdb.Delete(keys.AppendTableOffset(nil, keys.TableRows, 1, 1500), pebble.NoSync))
	broken(n, framePath(2000))
	late := framed(t, func(c *state.Config) { c.ScanTime = time.Nanosecond })
	broken(late, framePath(2000))
	broken(late, sincePath(2000, 100))
}

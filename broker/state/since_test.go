package state_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
	api "github.com/keyframelog/keyframe/proto/state"
)

// model is the state of a replica: rows by key, with their offsets.
type model map[string]modelRow

type modelRow struct {
	value  string
	offset int64
}

func (m model) digest() (d digest.Digest) {
	var h digest.Hasher
	for key, row := range m {
		d.Add(h.Entry([]byte(key), []byte(row.value)))
	}
	return d
}

func (m model) clone() model {
	c := model{}
	for key, row := range m {
		c[key] = row
	}
	return c
}

// apply loads a frame, or what of it changed since a position, as a replica does: rows below the start go, then what comes is put.
func (m model) apply(t *testing.T, body []byte) (frame.Header, frame.Footer) {
	t.Helper()
	r, err := frame.NewReader(bytes.NewReader(body), 0)
	require.NoError(t, err)
	for key, row := range m {
		if row.offset < r.Header().Start {
			delete(m, key)
		}
	}
	for {
		block, err := r.Next(nil)
		if err != nil {
			break
		}
		for row, err := range block.Rows() {
			require.NoError(t, err)
			require.GreaterOrEqual(t, row.Offset, r.Header().Since)
			if row.Tombstone {
				delete(m, string(row.Key))
			} else {
				m[string(row.Key)] = modelRow{string(row.Value), row.Offset}
			}
		}
	}
	footer, ok := r.Footer()
	require.True(t, ok, "the end mark")
	require.Equal(t, footer.Digest, m.digest(), "the state is the frame's")
	return r.Header(), footer
}

func framePath(cut int64) string { return fmt.Sprintf("/v1/topics/files/partitions/0/frames/%d", cut) }

func sincePath(cut, since int64) string { return fmt.Sprintf("%s?since=%d", framePath(cut), since) }

// changed appends puts and deletes, and returns the states at each offset.
func changed(n *node, deltas int) (at []model) {
	m := model{}
	at = append(at, m.clone())
	for i := range deltas {
		key := fmt.Sprint("key", i*7%41)
		if i%5 == 3 {
			n.logs[0].Append(memlog.Delete(key))
			delete(m, key)
		} else {
			n.logs[0].Append(memlog.Put(key, fmt.Sprint("value", i)))
			m[key] = modelRow{fmt.Sprint("value", i), int64(i)}
		}
		at = append(at, m.clone())
	}
	return at
}

// From whatever offset a replica comes, what changed since makes its state the frame's, deletions included.
func TestWhatChangedSince(t *testing.T) {
	n := newNode(t, 1, nil)
	at := changed(n, 100)
	n.cut()
	for range 20 {
		n.logs[0].Append(memlog.Put("later", "x")) // is none of the frame's
	}
	n.cut()
	for since := range int64(101) {
		answer, body := n.request(http.MethodGet, sincePath(100, since))
		require.Equal(t, http.StatusOK, answer.StatusCode, "%s", body)
		state := at[since].clone()
		h, footer := state.apply(t, body)
		require.Equal(t, []int64{100, since}, []int64{h.Cut, h.Since})
		require.Equal(t, at[100].digest(), footer.Digest)
		require.Equal(t, fmt.Sprintf(`"%x.%d"`, footer.Pub, since), answer.Header.Get("ETag"))
		require.Equal(t, sincePath(100, since), answer.Header.Get("Content-Location"))
		if since == 100 {
			require.Zero(t, footer.Rows, "the end mark comes where nothing has changed")
		}
	}
}

// A stream that breaks off goes on where it stopped, to the same bytes.
func TestBrokenDeltaIsResumed(t *testing.T) {
	n := newNode(t, 1, nil)
	at := changed(n, 3000)
	n.cut()
	path := sincePath(3000, 700)
	answer, whole := n.request(http.MethodGet, path)
	etag := answer.Header.Get("ETag")
	for _, stopped := range []int{0, 1, 79, len(whole) / 2, len(whole) - 1} {
		answer, rest := n.request(http.MethodGet, path, "Range", fmt.Sprintf("bytes=%d-", stopped), "If-Range", etag, "If-Match", etag)
		require.Equal(t, http.StatusPartialContent, answer.StatusCode)
		require.Equal(t, whole[stopped:], rest)
		at[700].clone().apply(t, append(whole[:stopped:stopped], rest...))
	}
	_, frame := n.request(http.MethodGet, framePath(3000), "Range", "bytes=0-", "If-Range", etag)
	require.NotEqual(t, whole, frame, "the whole frame is another resource")
	answer, _ = n.request(http.MethodGet, path, "If-None-Match", etag)
	require.Equal(t, http.StatusNotModified, answer.StatusCode)
	for _, other := range []string{framePath(3000), sincePath(3000, 701)} {
		answer, _ = n.request(http.MethodGet, other, "If-None-Match", etag)
		require.Equal(t, http.StatusOK, answer.StatusCode, other)
		answer, body := n.request(http.MethodGet, other, "If-Match", etag)
		require.Equal(t, http.StatusPreconditionFailed, answer.StatusCode, other)
		require.Empty(t, body)
	}
	answer, _ = n.request(http.MethodGet, path, "If-Match", `"other", `+etag)
	require.Equal(t, http.StatusOK, answer.StatusCode)
	answer, _ = n.request(http.MethodGet, path, "If-Match", "W/"+etag)
	require.Equal(t, http.StatusPreconditionFailed, answer.StatusCode, "If-Match compares strongly")
}

// Where the log start has moved over the frame that somebody loads, there is another frame at its cut: a part of the former is no part of it.
func TestLogStartMovesOverALoadedFrame(t *testing.T) {
	n := newNode(t, 1, nil)
	at := changed(n, 50)
	former := n.cut().Frames[0]
	answer, _ := n.request(http.MethodGet, sincePath(50, 10))
	etag := answer.Header.Get("ETag")
	topic, ok := n.k.Topic(topicName)
	require.True(t, ok)
	require.NoError(t, n.logs[0].HideBelow(t.Context(), 30))
	n.eventually(topic, func(f *api.Frame) bool { return f.Start == 30 })
	answer, body := n.request(http.MethodGet, sincePath(50, 10), "If-Match", etag, "Range", "bytes=100-", "If-Range", etag)
	require.Equal(t, http.StatusPreconditionFailed, answer.StatusCode)
	require.Empty(t, body)
	_, body = n.request(http.MethodGet, sincePath(50, 10))
	state := at[10].clone()
	h, footer := state.apply(t, body)
	require.EqualValues(t, 30, h.Start)
	require.NotEqual(t, former.Pub, footer.Pub[:])
	for key, row := range state {
		require.GreaterOrEqual(t, row.offset, int64(30), key)
	}
}

// eventually waits for a frame of partition 0.
func (n *node) eventually(topic *keyframer.Topic, is func(*api.Frame) bool) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), time.Minute)
	defer cancel()
	stream, err := n.client.Frames(ctx, connect.NewRequest(&api.FramesRequest{Topic: topic.Name, Follow: true}))
	require.NoError(n.t, err)
	defer stream.Close()
	for stream.Receive() {
		for _, f := range stream.Msg().Frames {
			if is(f) {
				return
			}
		}
	}
	require.Fail(n.t, "the frame never came", "%v", stream.Err())
}

// Once tombstones have expired, what changed since before them is not known: the error says so, and nothing is sent that lacks a deletion.
func TestSinceBelowTheHorizon(t *testing.T) {
	n := newNode(t, 1, nil)
	at := changed(n, 100)
	n.cut()
	n.logs[0].Append(memlog.Put("last", "x"))
	n.cut()
	p, err := n.k.Partition(topicName, 0)
	require.NoError(t, err)
	table, err := p.Table()
	require.NoError(t, err)
	settings := calm()
	settings.DeltaRetentionMs, settings.DeleteRetentionMs = 0, 0
	n.clock.ms.Add(10)
	require.NoError(t, n.k.Configure(topicName, settings))
	require.Eventually(t, func() bool {
		n.clock.ms.Add(10)
		_ = n.k.Configure(topicName, settings)
		return table.Horizon() > 90
	}, time.Minute, time.Millisecond)
	horizon := table.Horizon()

	answer, body := n.request(http.MethodGet, sincePath(100, horizon-1))
	require.Equal(t, http.StatusBadRequest, answer.StatusCode)
	require.Empty(t, answer.Header.Get("ETag"))
	var refusal struct{ Code, Reason string }
	require.NoError(t, json.Unmarshal(body, &refusal))
	require.Equal(t, "REASON_BELOW_HORIZON", refusal.Reason)
	require.Equal(t, "out_of_range", refusal.Code)
	answer, body = n.request(http.MethodGet, sincePath(100, horizon))
	require.Equal(t, http.StatusOK, answer.StatusCode, "%s", body)
	at[horizon].clone().apply(t, body)
	_, body = n.request(http.MethodGet, framePath(100))
	model{}.apply(t, body)

	for _, bad := range []string{"-1", "x", "", "9223372036854775808", "101", "1&since=2"} {
		answer, body = n.request(http.MethodGet, framePath(100)+"?since="+bad)
		require.Equal(t, http.StatusBadRequest, answer.StatusCode, "%s: %s", bad, body)
	}
	for query, want := range map[string]string{"lease=zz": `unknown parameter \"lease\"`, "sinse=1": `did you mean \"since\"`, "since=1&x=%zz": "cannot be read"} {
		answer, body = n.request(http.MethodGet, framePath(100)+"?"+query)
		require.Equal(t, http.StatusBadRequest, answer.StatusCode, "%s: %s", query, body)
		require.Contains(t, string(body), want)
	}
}

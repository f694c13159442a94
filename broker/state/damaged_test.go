package state_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/proto/digest"
	api "github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/storage/keys"
)

// rot makes nonsense of the row at an offset, on disk.
func (n *node) rot(offset int64) {
	n.t.Helper()
	require.NoError(n.t, n.pdb.Set(keys.AppendTableOffset(nil, keys.TableRows, 1, offset), []byte("nonsense"), pebble.NoSync))
}

// get500 is a request that fails for damage before anything is sent.
func (n *node) get500(path string, headers ...string) (message string) {
	n.t.Helper()
	answer, body := n.request(http.MethodGet, path, headers...)
	require.Equal(n.t, http.StatusInternalServerError, answer.StatusCode, "%s: %s", path, body)
	require.Equal(n.t, "application/json", answer.Header.Get("Content-Type"))
	for _, name := range []string{"ETag", "Content-Encoding", "Content-Range", "Keyframe-Cut"} {
		require.Empty(n.t, answer.Header.Get(name), name)
	}
	var e struct{ Code, Message, Reason string }
	require.NoError(n.t, json.Unmarshal(body, &e), "%s", body)
	require.Equal(n.t, []string{"data_loss", "REASON_BROKER_CORRUPT"}, []string{e.Code, e.Reason})
	return e.Message
}

// damaged is what the metrics say of damage: whether there is some at the moment, and how often some was found.
func (n *node) damaged() (now, found string) {
	n.t.Helper()
	_, body := n.request(http.MethodGet, "/metrics")
	for line := range strings.Lines(string(body)) {
		if name, value, _ := strings.Cut(strings.TrimSpace(line), " "); strings.HasPrefix(name, "keyframe_rows_damaged{") {
			now = value
		} else if name == "keyframe_scrub_corrupt_total" {
			found = value
		}
	}
	return now, found
}

func (n *node) partition() *keyframer.Partition {
	p, err := n.k.Partition(topicName, 0)
	require.NoError(n.t, err)
	return p
}

// foldedAgain waits until there is a table in place of a partition's, with a frame.
func (n *node) foldedAgain(was *keyframer.Partition) {
	n.t.Helper()
	require.Eventually(n.t, func() bool {
		t, err := n.partition().Table()
		return n.partition() != was && err == nil && len(t.Frames()) > 0 && len(t.Due()) == 0 // all of them are there again
	}, time.Minute, time.Millisecond)
}

// A frame whose rows cannot be read is refused with a reason where nothing was sent yet; the rows are folded from the log again, and the next try has
// what was there before.
func TestDamagedFrameIsFoldedAgain(t *testing.T) {
	for name, headers := range map[string][]string{"plain": nil, "zstd": {"Accept-Encoding", "zstd"}, "gzip": {"Accept-Encoding", "gzip"}, "range": {"Range", "bytes=10-20"}} {
		for _, known := range []bool{false, true} { // its size
			if known && name != "range" {
				continue
			}
			n := framed(t, nil)
			was, before := n.request(http.MethodGet, framePath(2001))
			if !known {
				n.stop()
				n.start(1, nil) // nothing is known of the size
			}
			n.rot(1010)
			p := n.partition()
			require.Contains(t, n.get500(latest, headers...), "folded from its log again: try again", name)
			n.foldedAgain(p)
			answer, after := n.request(http.MethodGet, latest)
			require.Equal(t, http.StatusOK, answer.StatusCode, name)
			require.Equal(t, was.Header.Get("ETag"), answer.Header.Get("ETag"))
			wasSum, _ := digestOf(t, before)
			sum, _ := digestOf(t, after)
			require.Equal(t, wasSum, sum)
			now, found := n.damaged()
			require.Equal(t, []string{"0", "1"}, []string{now, found})
		}
	}
}

// Where much was sent before the damage is met, the connection breaks off; who asks for the rest is told why.
func TestDamageAmidAFrame(t *testing.T) {
	n := trimmedNode(t)
	n.rot(1990)
	answer, err := n.http.Get(n.url + latest)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, answer.StatusCode)
	sent, err := io.Copy(io.Discard, answer.Body)
	require.Error(t, err)
	require.Positive(t, sent)
	require.NoError(t, answer.Body.Close())
	now, found := n.damaged()
	require.Equal(t, []string{"1", "1"}, []string{now, found}, "told at once")
	n.get500(latest, "Range", "bytes=1000-", "If-Range", answer.Header.Get("ETag"))
	_, found = n.damaged()
	require.Equal(t, "1", found, "told once")
}

// trimmedNode has frames at 2000, 2001 and 2002, and no deltas below 2000.
func trimmedNode(t *testing.T) *node {
	n := framed(t, nil)
	n.logs[0].Append(memlog.Put("yet another", "1"))
	n.cut()
	require.NoError(t, n.logs[0].TrimTo(t.Context(), 2000))
	return n
}

// All reads tell of damage, and why it is not mended where the log was trimmed.
func TestReadsTellOfDamage(t *testing.T) {
	for name, read := range map[string]func(n *node) error{
		"scan": func(n *node) error { _, _, _, err := n.scan(&api.ScanRequest{}); return err },
		"get":  func(n *node) error { _, err := n.get(&api.GetRequest{Key: []byte("key10")}); return err },
		"get at": func(n *node) error {
			_, err := n.get(&api.GetRequest{Key: []byte("key10"), At: at(2001)})
			return err
		},
		"tags": func(n *node) error { _, _, err := n.tags(&api.TagsRequest{Cut: 2001}); return err },
	} {
		n := trimmedNode(t)
		n.rot(1010)
		code, why, detail := reason(t, read(n))
		require.Equal(t, connect.CodeDataLoss, code, name)
		require.Equal(t, api.Reason_REASON_BROKER_CORRUPT, why, name)
		require.EqualValues(t, 0, *detail.Partition)
		require.ErrorContains(t, read(n), "its log no longer has them", name)
		now, found := n.damaged()
		require.Equal(t, []string{"1", "1"}, []string{now, found}, name)
	}
}

// Where nothing can be folded again, a replica is offered the newest frame that can be read, and the log from there; where there is none, it is told.
func TestResumePassesDamagedFramesOver(t *testing.T) {
	n := trimmedNode(t)
	resumed := func() (*api.ResumeResponse, error) { return n.resume(&api.ResumeRequest{LeaderEpoch: -1}) }
	loads := func(cut int64) {
		t.Helper()
		a, err := resumed()
		require.NoError(t, err)
		require.Equal(t, api.Answer_ANSWER_FRAME, a.Answer)
		require.Equal(t, cut, a.Frame.Cut)
		require.Equal(t, cut, a.Lease.From)
	}
	loads(2002)
	n.rot(2001)
	n.get500(sincePath(2002, 2000))
	loads(2001)
	answer, _ := n.request(http.MethodGet, framePath(2001))
	require.Equal(t, http.StatusOK, answer.StatusCode)

	behind := &api.ResumeRequest{LeaderEpoch: -1, Incarnation: incarnation(), Points: []*api.Point{pointAt(1500, digest.Digest{})}}
	a, err := n.resume(behind)
	require.NoError(t, err)
	require.Equal(t, api.Answer_ANSWER_DELTA, a.Answer)
	require.EqualValues(t, 2001, a.Frame.Cut)

	n.rot(1010)
	for cut := int64(2000); cut <= 2001; cut++ {
		n.get500(framePath(cut))
	}
	_, err = resumed()
	code, why, _ := reason(t, err)
	require.Equal(t, connect.CodeDataLoss, code)
	require.Equal(t, api.Reason_REASON_BROKER_CORRUPT, why)
	require.ErrorContains(t, err, "its log no longer has them")

	a, err = n.resume(behind) // what changed since its position can be read
	require.NoError(t, err)
	require.EqualValues(t, 2001, a.Frame.Cut)
	n.rot(1995)
	n.get500(sincePath(2001, 1500))
	a, err = n.resume(behind)
	require.NoError(t, err)
	require.EqualValues(t, 2000, a.Frame.Cut, "nobody has tried that")
	n.get500(sincePath(2000, 1500))
	_, err = n.resume(behind)
	_, why, _ = reason(t, err)
	require.Equal(t, api.Reason_REASON_BROKER_CORRUPT, why)
}

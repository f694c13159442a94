package state_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/broker/state"
	api "github.com/keyframelog/keyframe/proto/state"
)

const latest = "/v1/topics/files/partitions/0/frames/latest"

// framed returns a node with two frames, at 2000 and 2001, of 1000 and 1001 rows.
func framed(t *testing.T, configure func(*state.Config)) *node {
	n := newNode(t, 1, configure)
	for i := range 2000 {
		n.logs[0].Append(memlog.Put(fmt.Sprint("key", i%1000), strings.Repeat(fmt.Sprint("value", i), 50)))
	}
	n.cut()
	n.logs[0].Append(memlog.Put("another", "1"))
	n.cut()
	return n
}

func TestFrameResource(t *testing.T) {
	n := framed(t, nil)
	answer, body := n.request("GET", "/v1/topics/files/partitions/0/frames/2000")
	require.Equal(t, http.StatusOK, answer.StatusCode)
	d, footer := digestOf(t, body)
	require.Equal(t, footer.Digest, d)
	require.EqualValues(t, 1000, d.Count)
	require.Equal(t, fmt.Sprintf(`"%x"`, footer.Pub), answer.Header.Get("ETag"), "the ETag is pub")
	require.Equal(t, "2000", answer.Header.Get("Keyframe-Cut"))
	require.Equal(t, "application/vnd.keyframe.frame", answer.Header.Get("Content-Type"))

	answer, again := n.request("GET", "/v1/topics/files/partitions/0/frames/2000")
	require.Equal(t, body, again, "the bytes are a function of the content")
	require.EqualValues(t, len(body), answer.ContentLength, "known from the first time on")

	answer, _ = n.request("GET", latest)
	require.Equal(t, "2001", answer.Header.Get("Keyframe-Cut"))
	require.Equal(t, "/v1/topics/files/partitions/0/frames/2001", answer.Header.Get("Content-Location"))

	answer, body = n.request("HEAD", latest)
	require.Equal(t, http.StatusOK, answer.StatusCode)
	require.Empty(t, body)
	require.NotEmpty(t, answer.Header.Get("ETag"))
}

func TestFrameNotModified(t *testing.T) {
	n := framed(t, nil)
	answer, _ := n.request("GET", latest)
	etag := answer.Header.Get("ETag")
	for _, given := range []string{etag, "W/" + etag, `"other", ` + etag, "*"} {
		answer, body := n.request("GET", latest, "If-None-Match", given)
		require.Equal(t, http.StatusNotModified, answer.StatusCode, given)
		require.Empty(t, body)
		require.Equal(t, etag, answer.Header.Get("ETag"))
	}
	answer, _ = n.request("GET", latest, "If-None-Match", `"other"`)
	require.Equal(t, http.StatusOK, answer.StatusCode)
}

func TestFrameRange(t *testing.T) {
	n := framed(t, nil)
	// The first request of all is a range: nothing is known of the size.
	answer, tail := n.request("GET", latest, "Range", "bytes=1000-")
	require.Equal(t, http.StatusPartialContent, answer.StatusCode)
	answer, whole := n.request("GET", latest)
	etag := answer.Header.Get("ETag")
	require.Equal(t, whole[1000:], tail)
	size := len(whole)

	for given, want := range map[string][2]int{
		"bytes=0-":         {0, size},
		"bytes=10-19":      {10, 20},
		"bytes=10-9999999": {10, size},
		"bytes=-7":         {size - 7, size},
		"bytes=300000-":    {300000, size},
	} {
		answer, body := n.request("GET", latest, "Range", given, "If-Range", etag, "Accept-Encoding", "zstd")
		require.Equal(t, http.StatusPartialContent, answer.StatusCode, given)
		require.True(t, bytes.Equal(whole[want[0]:want[1]], body), given)
		require.Equal(t, fmt.Sprintf("bytes %d-%d/%d", want[0], want[1]-1, size), answer.Header.Get("Content-Range"))
		require.Empty(t, answer.Header.Get("Content-Encoding"), "ranges are of the frame itself")
	}
	answer, _ = n.request("GET", latest, "Range", fmt.Sprintf("bytes=%d-", size))
	require.Equal(t, http.StatusRequestedRangeNotSatisfiable, answer.StatusCode)
	require.Equal(t, fmt.Sprintf("bytes */%d", size), answer.Header.Get("Content-Range"))

	for _, given := range []string{"bytes=5-3", "bytes=1-2,5-6", "lines=1-2", "bytes=-0", "bytes=x-"} {
		answer, _ := n.request("GET", latest, "Range", given)
		require.Equal(t, http.StatusOK, answer.StatusCode, "%s: ignored", given)
	}
	answer, body := n.request("GET", latest, "Range", "bytes=10-", "If-Range", `"another frame"`)
	require.Equal(t, http.StatusOK, answer.StatusCode, "another frame by now: all of it")
	require.Equal(t, whole, body)
}

func TestFrameEncodings(t *testing.T) {
	n := framed(t, nil)
	_, whole := n.request("GET", latest)
	for accept, want := range map[string]string{
		"zstd": "zstd", "gzip": "gzip", "gzip, zstd": "zstd", "gzip;q=1, zstd;q=0.5": "gzip", "br": "", "*": "zstd",
		"identity, gzip;q=0.5": "", "zstd;q=0, *": "gzip",
	} {
		answer, body := n.request("GET", latest, "Accept-Encoding", accept)
		require.Equal(t, want, answer.Header.Get("Content-Encoding"), accept)
		require.Contains(t, answer.Header.Get("Vary"), "Accept-Encoding")
		if want == "" {
			require.Equal(t, whole, body)
			continue
		}
		require.True(t, strings.HasPrefix(answer.Header.Get("ETag"), `W/"`), "other bytes, so the weak form")
		require.Less(t, len(body), len(whole)/2)
		require.Equal(t, whole, decoded(t, want, body))
	}
}

func decoded(t *testing.T, encoding string, body []byte) []byte {
	t.Helper()
	var r io.Reader
	if encoding == "gzip" {
		z, err := gzip.NewReader(bytes.NewReader(body))
		require.NoError(t, err)
		r = z
	} else {
		z, err := zstd.NewReader(bytes.NewReader(body))
		require.NoError(t, err)
		defer z.Close()
		r = z
	}
	out, err := io.ReadAll(r)
	require.NoError(t, err)
	return out
}

func TestFrameErrors(t *testing.T) {
	n := framed(t, nil)
	for path, want := range map[string]int{
		"/v1/topics/files/partitions/0/frames/1999":    404,
		"/v1/topics/files/partitions/0/frames/-1":      400,
		"/v1/topics/files/partitions/0/frames/newest":  400,
		"/v1/topics/files/partitions/7/frames/latest":  404,
		"/v1/topics/files/partitions/x/frames/latest":  400,
		"/v1/topics/none/partitions/0/frames/latest":   404,
		"/v1/topics/plain/partitions/0/frames/latest":  409,
		"/v1/topics/files/partitions/0/frames":         404,
		"/v1/topics/files/partitions/0/frames/latest/": 404,
	} {
		answer, body := n.request("GET", path)
		require.Equal(t, want, answer.StatusCode, "%s: %s", path, body)
		require.Empty(t, answer.Header.Get("ETag"))
	}
	answer, _ := n.request("POST", latest)
	require.Equal(t, http.StatusMethodNotAllowed, answer.StatusCode)
}

// A web page elsewhere may not use the user's browser against us.
func TestForeignHostsAndOrigins(t *testing.T) {
	n := newNode(t, 1, func(c *state.Config) { c.Hosts = []string{"keyframe.internal"} })
	_, port, err := net.SplitHostPort(strings.TrimPrefix(n.url, "http://"))
	require.NoError(t, err)
	for host, want := range map[string]int{
		"localhost:" + port: 200, "localhost": 200, "LOCALHOST": 200, "127.0.0.1:" + port: 200, "[::1]:" + port: 200, "[::1]": 200,
		"keyframe.internal:1": 200, "evil.example": 403, "evil.example:" + port: 403, "127.0.0.1.evil.example": 403,
		"localhost.evil.example": 403, "10.0.0.1": 403,
	} {
		for _, path := range []string{"/livez", "/metrics", latest} {
			answer, _ := n.request("GET", path, "Host", host)
			require.Equal(t, want == 403, answer.StatusCode == 403, "%s %s", host, path)
		}
	}
	for origin, want := range map[string]int{
		"http://localhost:" + port: 200, "http://localhost:1": 403, "http://evil.example": 403, "null": 403, "file://": 403,
		"http://localhost:" + port + ".evil.example": 403,
	} {
		answer, _ := n.request("GET", "/livez", "Host", "localhost:"+port, "Origin", origin)
		require.Equal(t, want, answer.StatusCode, origin)
	}

	// A caller is told by a word of the broker's: a status may be that of something in between, and such a call is made again.
	cut := connect.NewRequest(&api.CutRequest{Topic: topicName})
	frames := connect.NewRequest(&api.FramesRequest{Topic: topicName})
	for _, h := range []http.Header{cut.Header(), frames.Header()} {
		h.Set("Origin", "http://evil.example")
	}
	_, err = n.client.Cut(t.Context(), cut)
	require.True(t, connect.IsWireError(err))
	require.Equal(t, connect.CodePermissionDenied, connect.CodeOf(err))
	stream, err := n.client.Frames(t.Context(), frames)
	require.NoError(t, err)
	defer stream.Close()
	require.False(t, stream.Receive())
	require.True(t, connect.IsWireError(stream.Err()))
	require.ErrorContains(t, stream.Err(), "other origins are refused")
}

func TestHealth(t *testing.T) {
	full := errors.New("3 MiB left")
	n := newNode(t, 1, func(c *state.Config) {
		c.Ready = []state.Check{{Name: "disk", Check: func() error { return full }}}
	})
	answer, _ := n.request("GET", "/livez")
	require.Equal(t, 200, answer.StatusCode)
	answer, body := n.request("GET", "/readyz")
	require.Equal(t, 503, answer.StatusCode)
	require.Equal(t, "start: not finished\ndisk: 3 MiB left\n", string(body))
	n.server.SetReady()
	n.server.SetReady()
	full = nil
	answer, body = n.request("GET", "/readyz")
	require.Equal(t, 200, answer.StatusCode, "%s", body)

	n.logs[0].Fail(errors.New("bad sector"))
	n.logs[0].Append(memlog.Put("a", "1"))
	p, err := n.k.Partition(topicName, 0)
	require.NoError(t, err)
	require.Error(t, p.WaitApplied(context.Background(), 1))
	answer, body = n.request("GET", "/readyz")
	require.Equal(t, 503, answer.StatusCode)
	require.Contains(t, string(body), "files/0")

	answer, body = n.request("GET", "/metrics")
	require.Equal(t, 200, answer.StatusCode)
	require.Contains(t, string(body), `keyframe_keyframer_failed{partition="0",topic="files"} 1`)
	require.Contains(t, string(body), "keyframe_state_scans_refused_total 0")
}

// curl speaks JSON, gRPC clients speak HTTP/2 without TLS, on the same port.
func TestJSONAndH2C(t *testing.T) {
	n := framed(t, nil)
	r, err := http.NewRequest("POST", n.url+"/keyframe.state.v1.StateService/Get",
		strings.NewReader(`{"topic": "files", "key": "YW5vdGhlcg=="}`))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	answer, err := n.http.Do(r)
	require.NoError(t, err)
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Contains(t, string(body), `"value":"MQ=="`)
	require.Contains(t, string(body), `"offset":"2000"`)

	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols, DisableCompression: true}
	defer transport.CloseIdleConnections()
	h2 := &http.Client{Transport: transport}
	answer, err = h2.Get(n.url + latest)
	require.NoError(t, err)
	require.Equal(t, 2, answer.ProtoMajor)
	overH2, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	_, whole := n.request("GET", latest)
	require.Equal(t, whole, overH2)
}

func TestOversizedRequests(t *testing.T) {
	n := newNode(t, 1, nil)
	r, err := http.NewRequest("POST", n.url+"/keyframe.state.v1.StateService/Get",
		strings.NewReader(`{"topic": "`+strings.Repeat("x", 2<<20)+`"}`))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/json")
	answer, err := n.http.Do(r)
	require.NoError(t, err)
	body, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Contains(t, string(body), "resource_exhausted")
	answer, _ = n.request("GET", "/livez", "X-Large", strings.Repeat("x", 64<<10))
	require.Equal(t, http.StatusRequestHeaderFieldsTooLarge, answer.StatusCode)
}

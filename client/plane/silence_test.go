package plane

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	silence = 200 * time.Millisecond
	guard   = time.Minute
)

// serve answers with a handler, which may wait for the end of the test, and returns the plane as it is asked by who waits no longer than silence.
func serve(t *testing.T, handle func(w http.ResponseWriter, r *http.Request, over <-chan struct{})) *Plane {
	over := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handle(w, r, over) }))
	client := &http.Client{Transport: Watched(nil, silence)}
	t.Cleanup(func() {
		close(over)
		client.CloseIdleConnections()
		s.Close()
	})
	return New(client, s.URL, "t")
}

// A frame whose bytes stop coming, with the connection open, is asked for again and read on.
func TestAStalledFrameIsReadOn(t *testing.T) {
	content := strings.Repeat("0123456789", 100)
	var asked atomic.Int64
	p := serve(t, func(w http.ResponseWriter, r *http.Request, over <-chan struct{}) {
		from, n := 0, int(asked.Add(1))*100
		w.Header().Set("ETag", `"x"`)
		if ranges := r.Header.Get("Range"); ranges != "" {
			_, _ = fmt.Sscanf(ranges, "bytes=%d-", &from)
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(content)-1, len(content)))
			w.WriteHeader(http.StatusPartialContent)
		}
		_, _ = io.WriteString(w, content[from:min(from+n, len(content))])
		w.(http.Flusher).Flush()
		if from+n < len(content) {
			<-over
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), guard)
	defer cancel()
	d, err := p.Download(ctx, Whole(0, 7), "", time.Millisecond)
	require.NoError(t, err)
	got, err := io.ReadAll(d)
	require.NoError(t, err)
	require.Equal(t, content, string(got))
	require.EqualValues(t, 4, asked.Load())
	require.NoError(t, d.Close())
}

// A frame of which no more comes, however often it is asked for, is an error after a few times; so is a state plane that takes calls and never answers.
func TestASilentPlaneIsAnError(t *testing.T) {
	var asked atomic.Int64
	p := serve(t, func(w http.ResponseWriter, r *http.Request, over <-chan struct{}) {
		if r.Method == http.MethodGet && asked.Add(1) == 1 {
			w.Header().Set("ETag", `"x"`)
			_, _ = io.WriteString(w, "the beginning")
			w.(http.Flusher).Flush()
		}
		<-over
	})
	ctx, cancel := context.WithTimeout(t.Context(), guard)
	defer cancel()
	d, err := p.Download(ctx, Whole(0, 7), "", time.Millisecond)
	require.NoError(t, err)
	got, err := io.ReadAll(d)
	require.ErrorIs(t, err, ErrSilent)
	require.Equal(t, "the beginning", string(got))
	require.EqualValues(t, 1+downloadTries, asked.Load())
	require.NoError(t, d.Close())
	_, err = p.Partition(ctx, 0)
	require.ErrorIs(t, err, ErrSilent)
	require.True(t, Passing(err))
	require.NoError(t, ctx.Err())
}

// Frames that are still to be cut may take as long as they like, once the plane has begun to answer.
func TestWhoFollowsMayWait(t *testing.T) {
	p := serve(t, func(w http.ResponseWriter, _ *http.Request, _ <-chan struct{}) {})
	for _, follow := range []bool{false, true} {
		ctx := t.Context()
		if follow {
			ctx = mayBeSilent(ctx)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.base, nil)
		require.NoError(t, err)
		resp, err := p.http.Transport.RoundTrip(req)
		require.NoError(t, err)
		require.Equal(t, follow, resp.Body.(*watchedBody).due == nil)
		require.NoError(t, resp.Body.Close())
	}
	require.Same(t, p.http, watch(p.http))
	require.Equal(t, silenceMax, watch(&http.Client{}).Transport.(*watched).most)
}

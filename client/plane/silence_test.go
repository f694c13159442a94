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
	"testing/synctest"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/keyframelog/keyframe/proto/state"
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

// silentPlane answers Frames with what is written to the pipe; a call that is broken off ends that.
type silentPlane struct{ *io.PipeReader }

func (p silentPlane) RoundTrip(r *http.Request) (*http.Response, error) {
	context.AfterFunc(r.Context(), func() { p.CloseWithError(context.Cause(r.Context())) })
	return &http.Response{
		StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r, Body: p,
		Header: http.Header{"Content-Type": {"application/connect+proto"}},
	}, nil
}

// Frames that are still to be cut may take as long as they like, as long as the broker says now and then that there are none, as it promised; one that
// promised nothing may be silent for ever. What it does not begin to answer is broken off as any call is.
func TestWhoFollowsHearsThatNothingIsNew(t *testing.T) {
	for name, c := range map[string]struct {
		alive int64 // promised; -1: nothing comes at all
		beats int
		pause time.Duration // before each
		ends  time.Duration // after the last; 0: never
	}{
		"beats":        {10_000, 1000, 29 * time.Second, 30 * time.Second},
		"silent":       {10_000, 0, 0, 30 * time.Second},
		"rare":         {10 * 60_000, 10, 10 * time.Minute, 30 * time.Minute},
		"no promise":   {0, 10, 24 * time.Hour, 0},
		"never begins": {-1, 0, 0, silenceMax},
		"absurd":       {1 << 62, 0, 0, 3 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in, out := io.Pipe()
				p := New(&http.Client{Transport: silentPlane{in}}, "http://plane", "t")
				ctx, cancel := context.WithCancel(t.Context())
				heard, err := 0, make(chan error, 1)
				go func() {
					err <- p.Frames(ctx, nil, true, func([]Partition, []Frame) error {
						heard++
						return nil
					})
				}()
				say := func(m *state.FramesResponse) {
					b, merr := proto.Marshal(m)
					require.NoError(t, merr)
					_, werr := out.Write(append([]byte{0, 0, 0, 0, byte(len(b))}, b...))
					require.NoError(t, werr)
				}
				if c.alive >= 0 {
					say(&state.FramesResponse{AliveMs: c.alive})
				}
				for range c.beats {
					time.Sleep(c.pause)
					say(&state.FramesResponse{})
				}
				synctest.Wait()
				if c.ends > 0 {
					time.Sleep(c.ends - time.Millisecond)
				} else {
					time.Sleep(1000 * time.Hour)
				}
				synctest.Wait()
				require.Empty(t, err)
				require.Equal(t, c.beats+int(min(c.alive+1, 1)), heard)
				if c.ends == 0 {
					cancel()
					require.Equal(t, connect.CodeCanceled, connect.CodeOf(<-err))
					return
				}
				time.Sleep(time.Millisecond)
				synctest.Wait()
				require.Len(t, err, 1)
				ended := <-err
				require.ErrorIs(t, ended, ErrSilent)
				require.ErrorContains(t, ended, c.ends.String())
				require.True(t, Passing(ended))
				cancel()
			})
		})
	}
	c := &http.Client{Transport: Watched(nil, silence)}
	require.Same(t, c, watch(c))
	require.Equal(t, silenceMax, watch(&http.Client{}).Transport.(*watched).most)
}

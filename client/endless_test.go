package client

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
)

// swollen gives frames the rows that it likes, behind the header of the true one.
type swollen struct {
	on     atomic.Bool
	header func(*frame.Header)
	value  int
	sent   atomic.Int64 // bytes that were taken of them
}

func (s *swollen) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || !s.on.Load() || !strings.Contains(r.URL.Path, "/frames/") || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	fr, err := frame.NewReader(resp.Body, 0)
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close()
	h := fr.Header()
	s.header(&h)
	in, out := io.Pipe()
	go func() {
		w := frame.NewWriter(&countedWriter{out, &s.sent}, h)
		var err error
		for i := int64(0); err == nil; i++ { // until it is read no further, or its cut is reached
			err = w.Append(&frame.Row{Key: fmt.Append(nil, i), Value: make([]byte, s.value), Offset: i})
		}
		_ = out.CloseWithError(err)
	}()
	resp.Body = in
	resp.ContentLength = -1
	return resp, nil
}

type countedWriter struct {
	io.Writer
	n *atomic.Int64
}

func (c *countedWriter) Write(b []byte) (int, error) {
	n, err := c.Writer.Write(b)
	c.n.Add(int64(n))
	return n, err
}

// A frame that has more than the log said of it is read no further than that, and is no state; another cut than was named is seen in the header. Whether an
// answer named it, or the list of frames, is all the same.
func TestAFrameWithoutAnEnd(t *testing.T) {
	asked := map[string]func(g *rig){
		"an answer": func(*rig) {},
		"earliest, trimmed": func(g *rig) {
			g.cfg.From = FromEarliest
			g.log.trim(0)
		},
		"earliest, rows left": func(g *rig) {
			g.cfg.From = FromEarliest
			g.log.cutExpiring(0, 600)
		},
		"no handshake": func(g *rig) { g.plane.old.Store(true) },
	}
	for name, c := range map[string]struct {
		header func(*frame.Header)
		value  int
		want   error
		most   int64
	}{
		"another cut":    {func(h *frame.Header) { h.Cut = 1 << 60 }, 1 << 20, plane.ErrFrameChanged, 1 << 20},
		"another start":  {func(h *frame.Header) { h.Start = h.Cut }, 1 << 20, plane.ErrFrameChanged, 1 << 20},
		"too many rows":  {func(*frame.Header) {}, 1000, frame.ErrBeyond, 1 << 20},
		"too many bytes": {func(h *frame.Header) {}, 1 << 20, frame.ErrBeyond, 4 << 20},
	} {
		for how, ask := range asked {
			t.Run(name+"/"+how, func(t *testing.T) {
				eachStore(t, func(t *testing.T, store func() Store) {
					g := newRig(t, fold.LastValue, 1)
					s := &swollen{header: c.header, value: c.value}
					g.cfg.HTTPClient, g.cfg.Store = &http.Client{Transport: s}, store()
					kv := make([]string, 0, 2000)
					for i := range 1000 { // of 500 rows, so that the rows of the wrong frame have offsets below its cut
						kv = append(kv, fmt.Sprint("k", i%500), "1")
					}
					g.log.append(0, kv...)
					g.log.cut(0)
					ask(g)
					s.on.Store(true)
					kind := FrameRejected
					if c.want == plane.ErrFrameChanged {
						kind = BootstrapFailed
					}
					require.Error(t, g.cancelOn(kind))
					e, _ := g.saw(kind)
					require.ErrorIs(t, e.Err, c.want)
					require.LessOrEqual(t, s.sent.Load(), 2*c.most) // it may have been tried again meanwhile

					s.on.Store(false)
					g.open()
					g.requireState(0)
				})
			})
		}
	}
}

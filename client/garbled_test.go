package client

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
)

// flipper flips a bit of the next answers of a call.
type flipper struct {
	call string
	left atomic.Int64
}

func (f *flipper) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || !strings.HasSuffix(r.URL.Path, "/"+f.call) || f.left.Add(-1) < 0 {
		return resp, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	b[len(b)/4] ^= 4
	resp.Body = io.NopCloser(bytes.NewReader(b))
	return resp, nil
}

// flip has answers of a call damaged once left is set.
func (g *rig) flip(call string) *flipper {
	f := &flipper{call: call}
	g.cfg.HTTPClient = &http.Client{Transport: f}
	return f
}

// A handshake whose answer was damaged on its way is made again: by who opens, and by who follows and has lost what it had.
func TestADamagedHandshakeIsMadeAgain(t *testing.T) {
	g := newRig(t, fold.LastValue, 1)
	f := g.flip("Resume")
	g.log.append(0, "a", "1")
	g.log.cut(0)
	f.left.Store(2)
	g.open()
	g.requireState(0)
	require.Equal(t, 2, g.count(BootstrapFailed))

	f.left.Store(3)
	g.log.create(2, 1)
	g.log.append(0, "b", "1", "c", "1")
	g.log.cut(0)
	g.await("the state of the topic that is there now", func() bool { return g.count(Bootstrapped) == 2 })
	require.Equal(t, g.log.state(0), g.state())
	require.GreaterOrEqual(t, g.count(BootstrapFailed), 4)
	require.NoError(t, g.r.Err())
}

// What differs is found as cheaply as ever where an answer was damaged on its way.
func TestADamagedSketchIsAskedForAgain(t *testing.T) {
	for _, call := range []string{"Sketch", "Resolve"} {
		t.Run(call, func(t *testing.T) {
			g := newDriftRig(t, 2000, Memory())
			f := g.flip(call)
			g.start()
			f.left.Store(2)
			g.awaitRepair(g.drift(10), BySketch)
			require.Less(t, f.left.Load(), int64(0))
			require.Zero(t, g.plane.repair.tagged.Load())
			require.Zero(t, g.count(RepairFailed))
		})
	}
}

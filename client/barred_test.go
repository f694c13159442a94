package client

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/state/stateconnect"
)

// barring answers the calls of one procedure as an authenticating proxy does.
type barring struct{ status, procedure string }

func (b barring) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil || r.URL.Path != b.procedure {
		return resp, err
	}
	_ = resp.Body.Close()
	resp.Status, resp.StatusCode = b.status, http.StatusUnauthorized
	if strings.HasPrefix(b.status, "403") {
		resp.StatusCode = http.StatusForbidden
	}
	resp.Header = http.Header{"Content-Type": {"text/html"}}
	resp.Body = io.NopCloser(strings.NewReader("<h1>Sign in</h1>"))
	return resp, nil
}

// Who is not let through to the state plane asks again, and says each time which call met which status; who gives up waiting is told that.
func TestBarredFromTheStatePlane(t *testing.T) {
	for _, status := range []string{"401 Unauthorized", "403 Forbidden"} {
		for from, procedure := range map[From]string{
			FromFrame: stateconnect.StateServiceResumeProcedure, FromEarliest: stateconnect.StateServiceFramesProcedure,
		} {
			t.Run(status+procedure, func(t *testing.T) {
				g := newRig(t, fold.LastValue, 1)
				g.cfg.From = from
				g.log.append(0, "a", "1")
				g.log.cut(0)
				g.cfg.HTTPClient = &http.Client{Transport: barring{status, procedure}}
				err := g.cancelOn(BootstrapFailed)
				require.ErrorIs(t, err, context.Canceled)
				e, _ := g.saw(BootstrapFailed)
				for _, err := range []error{err, e.Err} {
					require.ErrorIs(t, err, ErrBarred)
					require.NotErrorIs(t, err, ErrRefused)
					require.ErrorContains(t, err, status)
					require.ErrorContains(t, err, g.plane.url+procedure)
				}
				g.cfg.HTTPClient = nil
				g.open()
				g.requireState(0)
			})
		}
	}
}

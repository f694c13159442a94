package plane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// silenceMax is how long nothing need come of a call before it is broken off.
const silenceMax = time.Minute

// ErrSilent: nothing came of a call for too long.
var ErrSilent = errors.New("the state plane fell silent")

// Watched is a transport (nil: http.DefaultTransport) that breaks off a call of which nothing comes for so long, while it is waited for: neither the
// answer's head nor more of its body. Errors: ErrSilent, or the transport's. New watches what is not watched already, a minute long.
func Watched(next http.RoundTripper, most time.Duration) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return &watched{next, most}
}

type watched struct {
	next http.RoundTripper
	most time.Duration
}

// watch returns a client that is one of these.
func watch(c *http.Client) *http.Client {
	if _, already := c.Transport.(*watched); already {
		return c
	}
	w := *c
	w.Transport = Watched(c.Transport, silenceMax)
	return &w
}

// untold marks calls that rightly tell nothing for long, once they have begun to answer.
type untold struct{}

func mayBeSilent(ctx context.Context) context.Context { return context.WithValue(ctx, untold{}, true) }

// RoundTrip implements http.RoundTripper.
func (w *watched) RoundTrip(req *http.Request) (*http.Response, error) {
	silent := fmt.Errorf("%w for %v", ErrSilent, w.most)
	ctx, cancel := context.WithCancelCause(req.Context())
	due := time.AfterFunc(w.most, func() { cancel(silent) })
	resp, err := w.next.RoundTrip(req.WithContext(ctx))
	due.Stop()
	if err != nil {
		if context.Cause(ctx) == silent {
			err = silent
		}
		cancel(nil)
		return nil, err
	}
	b := &watchedBody{ReadCloser: resp.Body, ctx: ctx, cancel: cancel, silent: silent}
	if req.Context().Value(untold{}) == nil {
		b.due, b.most = due, w.most
	}
	resp.Body = b
	return resp, nil
}

// CloseIdleConnections is what http.Client asks for.
func (w *watched) CloseIdleConnections() {
	if c, ok := w.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// watchedBody is read by one goroutine at a time.
type watchedBody struct {
	io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	silent error
	due    *time.Timer // calls cancel(silent); nil: never
	most   time.Duration
}

func (b *watchedBody) Read(p []byte) (int, error) {
	if b.due != nil {
		b.due.Reset(b.most)
		defer b.due.Stop()
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && context.Cause(b.ctx) == b.silent {
		err = b.silent
	}
	return n, err
}

func (b *watchedBody) Close() error {
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}

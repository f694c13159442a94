package plane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// silenceMax is how long nothing need come of a call before it is broken off.
const silenceMax = time.Minute

// ErrSilent: nothing came of a call for too long.
var ErrSilent = errors.New("the state plane fell silent")

// Watched is a transport (nil: http.DefaultTransport) that breaks off a call of which nothing comes for so long, while it is waited for: neither the
// answer's head nor more of its body. What follows the first message of a stream without an end is waited for as Following has it. Errors: ErrSilent, or
// the transport's. New watches what is not watched already, a minute long.
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

// aliveTimes is how many times as long as the broker promised to be silent at most is waited for.
const aliveTimes = 3

// following is what is known of a stream without an end.
type following struct{}

// bound is how long nothing need come of a stream without an end; negative: for ever, 0: it has not begun.
type bound struct{ most atomic.Int64 }

// Following is the context of a call whose stream has no end, for a client whose transport is Watched. alive is to be told what the first message
// promises (alive_ms): nothing may come for three times as long then, before the call is broken off; for ever where nothing is promised, by a broker
// of before such promises.
func Following(ctx context.Context) (call context.Context, alive func(ms int64)) {
	b := &bound{}
	return context.WithValue(ctx, following{}, b), func(ms int64) {
		if ms <= 0 {
			b.most.CompareAndSwap(0, -1) // else it was promised
			return
		}
		b.most.Store(aliveTimes * int64(min(time.Duration(ms), aliveMost)*time.Millisecond))
	}
}

// aliveMost bounds what is believed, in milliseconds.
const aliveMost = time.Duration(time.Hour / time.Millisecond)

// RoundTrip implements http.RoundTripper.
func (w *watched) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	due := time.AfterFunc(w.most, func() { cancel(ErrSilent) })
	resp, err := w.next.RoundTrip(req.WithContext(ctx))
	due.Stop()
	if err != nil {
		err = silentFor(ctx, w.most, err)
		cancel(nil)
		return nil, err
	}
	b := &watchedBody{ReadCloser: resp.Body, ctx: ctx, cancel: cancel, due: due, most: w.most}
	b.stream, _ = req.Context().Value(following{}).(*bound)
	resp.Body = b
	return resp, nil
}

// silentFor is the error of a call that may have been broken off.
func silentFor(ctx context.Context, most time.Duration, err error) error {
	if context.Cause(ctx) == ErrSilent {
		return fmt.Errorf("%w for %v", ErrSilent, most)
	}
	return err
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
	due    *time.Timer // breaks off the call
	most   time.Duration
	stream *bound // nil: it has an end
}

func (b *watchedBody) Read(p []byte) (int, error) {
	if b.stream != nil {
		if promised := b.stream.most.Load(); promised != 0 {
			b.most = time.Duration(promised)
		}
	}
	if b.most > 0 {
		b.due.Reset(b.most)
		defer b.due.Stop()
	}
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = silentFor(b.ctx, b.most, err)
	}
	return n, err
}

func (b *watchedBody) Close() error {
	defer b.cancel(nil)
	return b.ReadCloser.Close()
}

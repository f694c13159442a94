package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// silenceTold is after how long it is said that nothing comes of a broker.
const silenceTold = 5 * time.Second

// silence watches whether anything comes of a broker while something is waited for. After a few seconds it says that nothing does, and after the timeout
// it gives up.
type silence struct {
	told, timeout time.Duration
	to            io.Writer
	giveUp        context.CancelCauseFunc

	mu sync.Mutex
	// Guarded by mu.
	waiting int         // for so many things
	timer   *time.Timer // runs while something is waited for
	warned  bool        // of this silence
	gaveUp  error
	stopped bool
}

func newSilence(told, timeout time.Duration, to io.Writer, giveUp context.CancelCauseFunc) *silence {
	s := &silence{told: told, timeout: timeout, to: to, giveUp: giveUp}
	s.timer = time.AfterFunc(timeout, s.due)
	s.timer.Stop()
	return s
}

func (s *silence) due() {
	s.mu.Lock()
	defer s.mu.Unlock()
	const why = "it does not answer, or cannot write (its disk may be full)"
	switch {
	case s.waiting == 0 || s.stopped || s.gaveUp != nil:
	case s.warned:
		s.gaveUp = fmt.Errorf("nothing came of the broker for %s: %s; --timeout waits longer", s.timeout, why)
		s.giveUp(s.gaveUp)
	default:
		s.warned = true
		fmt.Fprintf(s.to, "nothing came of the broker for %s: %s\n", s.told, why)
		s.timer.Reset(s.timeout - s.told)
	}
}

// wait says that n more things are waited for, or one fewer (-1), or as many (0): that something came.
func (s *silence) wait(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	waited := s.waiting > 0
	s.waiting += n
	switch {
	case s.stopped || n > 0 && waited: // nothing came yet
	case s.waiting == 0:
		s.timer.Stop()
	default:
		s.warned = s.told >= s.timeout
		s.timer.Reset(min(s.told, s.timeout))
	}
}

// stop ends it, and returns why it gave up, if it did.
func (s *silence) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	s.timer.Stop()
	return s.gaveUp
}

// over is a transport whose calls are waited for.
func (s *silence) over(next http.RoundTripper) http.RoundTripper { return heard{next, s} }

type heard struct {
	next http.RoundTripper
	by   *silence
}

// RoundTrip implements http.RoundTripper.
func (h heard) RoundTrip(req *http.Request) (*http.Response, error) {
	h.by.wait(1)
	resp, err := h.next.RoundTrip(req)
	if err != nil {
		h.by.wait(-1)
		return nil, err
	}
	h.by.wait(0)
	resp.Body = &heardBody{ReadCloser: resp.Body, by: h.by}
	return resp, nil
}

type heardBody struct {
	io.ReadCloser
	by   *silence
	once sync.Once
}

func (b *heardBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.by.wait(0)
	}
	return n, err
}

func (b *heardBody) Close() error {
	b.once.Do(func() { b.by.wait(-1) })
	return b.ReadCloser.Close()
}

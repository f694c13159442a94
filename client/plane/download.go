package plane

import (
	"context"
	"errors"
	"io"
	"time"
)

// downloadTries is how often in a row a broken stream is opened again without a byte of progress.
const downloadTries = 5

// Download reads a frame's bytes and goes on with a Range request where the connection broke. It is
// the reader's business to verify what it reads.
type Download struct {
	ctx   context.Context
	plane *Plane
	name  FrameName
	pause time.Duration

	body  io.ReadCloser
	etag  string // of the first answer: it holds the rest to the same frame
	At    int64  // bytes that were read
	tries int
}

// Download opens a frame; an etag that is not empty is the one that it must have.
func (p *Plane) Download(ctx context.Context, name FrameName, etag string, pause time.Duration) (*Download, error) {
	d := &Download{ctx: ctx, plane: p, name: name, pause: pause}
	body, etag, err := p.OpenFrame(ctx, name, 0, etag)
	if err != nil {
		return nil, err
	}
	d.body, d.etag = body, etag
	return d, nil
}

// Read implements io.Reader.
func (d *Download) Read(b []byte) (int, error) {
	for {
		if d.body == nil {
			if err := d.reopen(); err != nil {
				return 0, err
			}
		}
		n, err := d.body.Read(b)
		d.At += int64(n)
		if n > 0 {
			d.tries = 0
		}
		if err == nil || errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return n, err
		}
		d.body.Close()
		d.body = nil
		if d.etag == "" {
			return n, err
		}
		if n > 0 {
			return n, nil
		}
	}
}

func (d *Download) reopen() error {
	for {
		if d.tries++; d.tries > 1 {
			if err := Wait(d.ctx, d.pause<<min(d.tries, 5)); err != nil {
				return err
			}
		}
		body, _, err := d.plane.OpenFrame(d.ctx, d.name, d.At, d.etag)
		if err == nil {
			d.body = body
			return nil
		}
		if d.tries >= downloadTries || d.ctx.Err() != nil || errors.Is(err, ErrFrameChanged) || errors.Is(err, ErrNoFrame) || errors.Is(err, ErrRefused) {
			return err
		}
	}
}

// Close ends it.
func (d *Download) Close() error {
	if d.body == nil {
		return nil
	}
	return d.body.Close()
}

// Wait waits, or returns the context's error.
func Wait(ctx context.Context, pause time.Duration) error {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

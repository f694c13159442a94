package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
)

// buffers are for encoding responses; kept only up to bufferKeepBytes, so that one large fetch does not stay in memory.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

const bufferKeepBytes = 2 << 20

const keyApiVersions = 18

// writeLoop sends the answers in the order of the requests.
func (c *Conn) writeLoop() error {
	for p := range c.pending {
		err := c.answer(p)
		c.finish(p)
		if err != nil {
			return err
		}
		if p.r.Throttle > 0 {
			if err := c.hold(p.r.Throttle); err != nil && !errors.Is(err, errDraining) { // what is in work goes out
				return err
			}
		}
	}
	return nil
}

// prepare encodes an answer that is ready, so that it holds as much memory while it waits for the earlier ones as is counted, and not
// what it is made of, which may be many times more.
func (c *Conn) prepare(p *pending) {
	m := p.response.Message
	if m == nil {
		return
	}
	p.response.Message = nil
	if _, ok := m.(Sized); ok {
		p.ready, p.err = appendResponse(nil, p.r.CorrelationID, m)
	} else {
		p.err = encoded(p.r.CorrelationID, m, func(frame []byte) error {
			p.ready = bytes.Clone(frame)
			return nil
		})
	}
	c.window.answered(len(p.ready))
}

// answer waits for one answer and sends it.
func (c *Conn) answer(p pending) error {
	var m Message
	if p.response.Finish != nil {
		m = p.response.Finish(c.ctx)
		c.mute(p.r.Throttle)
	}
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if m != nil {
		return encoded(p.r.CorrelationID, m, func(frame []byte) error {
			c.s.metrics.request(p.r, c.s.cfg.Now())
			return c.write(frame)
		})
	}
	if p.err != nil {
		return p.err
	}
	c.s.metrics.request(p.r, c.s.cfg.Now())
	return c.write(p.ready)
}

// encoded encodes a response into a buffer that use may have for as long as it runs.
func encoded(correlationID int32, m Message, use func(frame []byte) error) error {
	buf := buffers.Get().(*[]byte)
	defer func() {
		if cap(*buf) <= bufferKeepBytes {
			buffers.Put(buf)
		}
	}()
	var err error
	if *buf, err = appendResponse((*buf)[:0], correlationID, m); err != nil {
		return err
	}
	return use(*buf)
}

// appendResponse encodes a whole response frame.
func appendResponse(dst []byte, correlationID int32, m Message) ([]byte, error) {
	if sized, ok := m.(Sized); ok && cap(dst)-len(dst) < sized.SizeHint() {
		dst = append(make([]byte, 0, len(dst)+sized.SizeHint()), dst...)
	}
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(correlationID))
	if m.IsFlexible() && m.Key() != keyApiVersions {
		dst = append(dst, 0) // no tags
	}
	dst = m.AppendTo(dst)
	size := len(dst) - start - 4
	if size > math.MaxInt32 {
		return dst, fmt.Errorf("response of %d bytes to API key %d does not fit a frame", size, m.Key())
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(size))
	return dst, nil
}

// write sends b; every MiB has to be taken within the write timeout.
func (c *Conn) write(b []byte) error {
	const piece = 1 << 20
	for len(b) > 0 {
		n := min(len(b), piece)
		if err := c.nc.SetWriteDeadline(time.Now().Add(c.s.cfg.WriteTimeout)); err != nil {
			return err
		}
		n, err := c.nc.Write(b[:n])
		c.s.metrics.bytesOut.Add(float64(n))
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

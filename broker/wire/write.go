package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
)

// buffers are for encoding responses; kept only up to bufferKeepBytes, so that one large answer does not stay in memory.
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
	if _, ok := m.(Spliced); ok {
		p.response.Finish = func(context.Context) Message { return m }
		return
	}
	p.err = encoded(p.r.CorrelationID, m, func(frame []byte) error {
		p.ready = bytes.Clone(frame)
		return nil
	})
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
	if spliced, ok := m.(Spliced); ok {
		c.s.metrics.request(p.r, c.s.cfg.Now())
		return c.splice(p.r.CorrelationID, spliced)
	}
	if m != nil {
		return encoded(p.r.CorrelationID, m, func(frame []byte) error {
			c.s.metrics.request(p.r, c.s.cfg.Now())
			return c.write([][]byte{frame})
		})
	}
	if p.err != nil {
		return p.err
	}
	c.s.metrics.request(p.r, c.s.cfg.Now())
	return c.write([][]byte{p.ready})
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
	start := len(dst)
	dst = m.AppendTo(appendHeader(dst, correlationID, m))
	return dst, setSize(dst[start:], len(dst)-start, m)
}

// appendHeader encodes what comes before a response's body, without the frame's size.
func appendHeader(dst []byte, correlationID int32, m Message) []byte {
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(correlationID))
	if m.IsFlexible() && m.Key() != keyApiVersions {
		dst = append(dst, 0) // no tags
	}
	return dst
}

// setSize writes the size of a frame of n bytes, that included, to its start.
func setSize(frame []byte, n int, m Message) error {
	if n -= 4; n > math.MaxInt32 {
		return fmt.Errorf("response of %d bytes to API key %d does not fit a frame", n, m.Key())
	}
	binary.BigEndian.PutUint32(frame, uint32(n))
	return nil
}

// splice sends a message part by part.
func (c *Conn) splice(correlationID int32, m Spliced) error {
	parts := m.Parts()
	head := appendHeader(nil, correlationID, m)
	size := len(head)
	for _, p := range parts {
		if size += len(p.Head); p.Body != nil {
			size += p.Body.Len()
		}
	}
	if err := setSize(head, size, m); err != nil {
		return err
	}
	waiting := [][]byte{head} // what is small goes out with what follows it
	for _, p := range parts {
		if waiting = append(waiting, p.Head); p.Body == nil {
			continue
		}
		left := p.Body.Len()
		err := p.Body.Each(func(pieces [][]byte) error {
			for _, b := range pieces {
				left -= len(b)
			}
			if left < 0 {
				return errSplice
			}
			err := c.write(append(waiting, pieces...))
			waiting = waiting[:0]
			return err
		})
		if err == nil && left != 0 {
			err = errSplice
		}
		if err != nil {
			return err
		}
	}
	return c.write(waiting)
}

var errSplice = errors.New("a part of a response is not as long as it said")

// write sends the buffers, and changes them; every MiB has to be taken within the write timeout.
func (c *Conn) write(buffers [][]byte) error {
	const piece = 1 << 20
	var group [][]byte
	for {
		if group, buffers = cut(group[:0], buffers, piece); len(group) == 0 {
			return nil
		}
		if err := c.nc.SetWriteDeadline(time.Now().Add(c.s.cfg.WriteTimeout)); err != nil {
			return err
		}
		n, err := writeVector(c.nc, group)
		c.s.metrics.bytesOut.Add(float64(n))
		if err != nil {
			return err
		}
	}
}

// cut moves up to n bytes from the buffers to first, no empty ones.
func cut(first, buffers [][]byte, n int) (_, rest [][]byte) {
	for n > 0 && len(buffers) > 0 {
		b := buffers[0]
		take := min(len(b), n)
		if take > 0 {
			first = append(first, b[:take])
			n -= take
		}
		if buffers[0] = b[take:]; len(buffers[0]) == 0 {
			buffers = buffers[1:]
		}
	}
	return first, buffers
}

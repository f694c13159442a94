package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Conn is one client connection.
type Conn struct {
	ID uint64 // unique within this process

	s       *Server
	nc      net.Conn
	ctx     context.Context
	cancel  context.CancelFunc
	window  window
	pending chan pending // reader to writer, in request order; its capacity never blocks: window admits fewer

	trusted int // size of the largest frame that came whole; the reader's alone

	muted  atomic.Int64 // until when nothing is read, in Unix nanoseconds
	client atomic.Pointer[client]
	local  sync.Map

	read sync.Mutex // orders deadlines: stopReading's is the last one
	stop bool       // guarded by read
}

type client struct{ software, version string }

// pending is a request whose answer is not out yet.
type pending struct {
	r        *Request
	response Response
	bytes    int    // in the windows
	ready    []byte // the frame of an answer that was ready at once
	err      error  // why there is none
}

func newConn(s *Server, nc net.Conn) *Conn {
	c := &Conn{ID: s.lastConn.Add(1), s: s, nc: nc, pending: make(chan pending, s.cfg.MaxConnRequests)}
	c.ctx, c.cancel = context.WithCancel(s.ctx)
	c.window.init(s.cfg.MaxConnBytes, s.cfg.MaxConnRequests, s.cfg.MaxConnAnswers)
	return c
}

// RemoteAddr is the peer's address.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// LocalAddr is the address the peer connected to.
func (c *Conn) LocalAddr() net.Addr { return c.nc.LocalAddr() }

// Draining is closed when the server is closing: waits that may be cut short should end and answer with what they have.
func (c *Conn) Draining() <-chan struct{} { return c.s.draining }

// Local holds what a handler wants to remember for the life of the connection.
func (c *Conn) Local() *sync.Map { return &c.local }

// SetClient notes the client library's name and version (ApiVersions v3).
func (c *Conn) SetClient(software, version string) { c.client.Store(&client{software, version}) }

// Client returns what SetClient noted, or two empty strings.
func (c *Conn) Client() (software, version string) {
	if cl := c.client.Load(); cl != nil {
		return cl.software, cl.version
	}
	return "", ""
}

// serve runs the connection to its end.
func (c *Conn) serve() {
	log := c.s.cfg.Logger.With("conn", c.ID, "remote", c.nc.RemoteAddr().String())
	if tcp, ok := c.nc.(*net.TCPConn); ok {
		tcp.SetNoDelay(true)
	}
	var writer sync.WaitGroup
	writer.Go(func() {
		if err := c.writeLoop(); err != nil && c.ctx.Err() == nil {
			log.Debug("Kafka connection: cannot write", "error", err)
		}
		// The peer takes no more answers, so there is no use in more requests.
		c.cancel()
		c.nc.Close()
	})
	err := c.readLoop()
	var protocol *ProtocolError
	switch {
	case c.stopped(): // the server's Close bounds what is in work
	case errors.As(err, &protocol): // the earlier requests were good ones
		c.s.metrics.closed.Inc()
		defer time.AfterFunc(c.s.cfg.ReadTimeout, c.cancel).Stop()
	default:
		c.cancel() // the peer is gone: do not wait for records or rebalances on its behalf
	}
	close(c.pending)
	writer.Wait()
	c.cancel()
	c.nc.Close()
	c.release()
	logEnd(log, &c.s.protests, err)
}

// release gives back what answers that never went out hold.
func (c *Conn) release() {
	for p := range c.pending {
		c.finish(p)
	}
}

// readLoop reads requests and dispatches them until the peer is gone, misbehaves, or the server drains.
func (c *Conn) readLoop() error {
	// 1 KiB holds most requests other than Produce, whose bodies bypass it.
	in := bufio.NewReaderSize(&countingReader{c.nc, c.s.metrics.bytesIn}, 1024)
	for first := true; ; first = false {
		frame, err := c.readFrame(in, first)
		if err != nil {
			return err
		}
		r, err := parseRequest(frame)
		if err != nil {
			c.releaseBytes(len(frame), 0)
			return err
		}
		r.Conn, r.Received, r.Bytes = c, c.s.cfg.Now(), len(frame)
		response := c.s.cfg.Handler.Handle(c.ctx, r)
		if response.Finish == nil {
			c.mute(r.Throttle)
		}
		p := pending{r: r, response: response, bytes: len(frame)}
		c.prepare(&p)
		c.pending <- p
		if response.Close != "" {
			return &ProtocolError{Reason: response.Close}
		}
	}
}

// readFrame waits for a frame, for room in the windows, and reads it into memory of its own.
func (c *Conn) readFrame(in *bufio.Reader, first bool) ([]byte, error) {
	var head [4]byte
	if err := c.awaitFrame(in); err != nil {
		return nil, err
	}
	if err := c.awaitUnmuted(); err != nil {
		return nil, err
	}
	if err := c.await(in, len(head), time.Now().Add(c.s.cfg.ReadTimeout)); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, err
	}
	size, err := frameSize(head, c.s.cfg.MaxFrameBytes, first)
	if err != nil {
		return nil, err
	}
	if err := c.window.acquire(c.ctx, c.s.draining, size); err != nil {
		return nil, err
	}
	arriving := &arrival{all: c.s.arriving}
	defer arriving.end()
	frame, err := c.readBody(in, size, arriving)
	if err == nil {
		// Only now: who waits for the budget waits for requests in work, which end, and not for peers.
		err = c.s.budget.Acquire(c.ctx, c.s.budgetOf(size))
	}
	if err != nil {
		c.window.release(size, 0)
		return nil, err
	}
	return frame, nil
}

// finish ends a request: its answer is out or dropped.
func (c *Conn) finish(p pending) {
	if p.response.Done != nil {
		p.response.Done()
	}
	c.releaseBytes(p.bytes, len(p.ready))
}

func (c *Conn) releaseBytes(size, answer int) {
	c.s.budget.Release(c.s.budgetOf(size))
	c.window.release(size, answer)
}

// budgetOf is what a frame takes of the server's budget: one frame always fits.
func (s *Server) budgetOf(size int) int64 { return min(int64(size), s.cfg.MaxRequestBytes) }

// awaitFrame waits for the first byte of a frame, up to the idle timeout; a connection with an answer due is not idle.
func (c *Conn) awaitFrame(in *bufio.Reader) error {
	for {
		if err := c.setReadDeadline(time.Now().Add(c.s.cfg.IdleTimeout)); err != nil {
			return err
		}
		_, err := in.Peek(1)
		if err == nil {
			return nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) || c.stopped() {
			return err
		}
		if c.window.idle() {
			return errIdle
		}
	}
}

// readBody reads size bytes, allocating as they arrive: a peer that announces 100 MiB and sends nothing costs nothing. One that
// has sent a frame before is trusted with another of that size, if there is room in plenty, so that a producer's frames are allocated
// once and not copied.
func (c *Conn) readBody(in *bufio.Reader, size int, arriving *arrival) ([]byte, error) {
	const trustMax = 16 << 20
	// All of the frame has one time limit, in which waiting for room does not count.
	deadline := time.Now().Add(c.s.cfg.ReadTimeout + time.Duration(size)*time.Second/slowestBytes)
	first := min(size, in.Size())
	if err := c.await(in, first, deadline); err != nil { // in the reader's own buffer
		return nil, err
	}
	if size == first { // it came whole, and takes no room
		frame := make([]byte, size)
		_, err := io.ReadFull(in, frame)
		return frame, err
	}
	var frame []byte
	for have := 0; have < size; have = len(frame) {
		grown := min(size, arriving.ahead(max(have, first), c.trusted))
		waited, err := arriving.grow(c.ctx, c.s.draining, grown)
		if err != nil {
			return nil, err
		}
		deadline = deadline.Add(waited)
		b := uncleared(grown)
		copy(b, frame)
		if err := c.fill(in, b[have:], deadline); err != nil {
			return nil, err
		}
		frame = b
	}
	c.trusted = min(max(c.trusted, size), trustMax)
	return frame, nil
}

// fill reads all of b, the next piece of a frame that holds room. While others wait for room, the frame may not stall: its peer
// may be gone without a word. A stall is so many reads in a row that bring nothing, and not the time since the last byte: a pause
// of this process, in which the bytes wait to be read, is one such read at most.
func (c *Conn) fill(in *bufio.Reader, b []byte, deadline time.Time) error {
	const quietTime, quietMax = 500 * time.Millisecond, 4
	for quiet := 0; len(b) > 0; {
		at := time.Now().Add(quietTime)
		last := !at.Before(deadline)
		if last {
			at = deadline
		}
		if err := c.setReadDeadline(at); err != nil {
			return err
		}
		n, err := in.Read(b)
		b = b[n:]
		switch {
		case err == nil:
			quiet = 0
		case last || !errors.Is(err, os.ErrDeadlineExceeded):
			return err
		default:
			quiet++
		}
		if quiet >= quietMax && c.s.arriving.contended() {
			return &ProtocolError{Reason: fmt.Sprintf("a frame stopped half way, for %v or more, while others waited for its memory: "+
				"the client or the network to it is stuck", quietMax*quietTime)}
		}
	}
	return nil
}

// slowestBytes a second is how fast the bytes of a frame have to come, beside the read timeout.
const slowestBytes = 1 << 20

// await waits until n bytes are in the reader's buffer.
func (c *Conn) await(in *bufio.Reader, n int, deadline time.Time) error {
	if in.Buffered() >= n {
		return nil
	}
	if err := c.setReadDeadline(deadline); err != nil {
		return err
	}
	_, err := in.Peek(n)
	return err
}

// setReadDeadline gives the next read a time limit. Deadlines are the operating system's, so they are in its time.
func (c *Conn) setReadDeadline(at time.Time) error {
	c.read.Lock()
	defer c.read.Unlock()
	if c.stop {
		return errDraining
	}
	return c.nc.SetReadDeadline(at)
}

// stopReading ends the reader at the next frame's boundary or, inside a frame, at once: the request never came.
func (c *Conn) stopReading() {
	c.read.Lock()
	defer c.read.Unlock()
	c.stop = true
	c.nc.SetReadDeadline(time.Unix(1, 0))
}

func (c *Conn) stopped() bool {
	c.read.Lock()
	defer c.read.Unlock()
	return c.stop
}

package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
)

// Proxy listens on loopback and passes on to one broker.
type Proxy struct {
	upstream string
	listener net.Listener
	host     string
	port     int32
	serving  sync.WaitGroup
	bytes    atomic.Int64

	mu sync.Mutex
	// Guarded by mu.
	closed bool
	conns  map[net.Conn]bool
	faults []*Fault
	topics map[[16]byte]string // by id, as answers to Metadata say
	err    error               // the first of what could not be understood
}

// Start listens on a free port for clients of the broker at upstream, host:port.
func Start(upstream string) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	host, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("proxy: %w", err), listener.Close())
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("proxy: %w", err), listener.Close())
	}
	p := &Proxy{upstream: upstream, listener: listener, host: host, port: int32(n), conns: map[net.Conn]bool{}, topics: map[[16]byte]string{}}
	p.serving.Go(p.accept)
	return p, nil
}

// Addr is what clients are pointed at, host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Bytes is how many bytes its clients have sent and were sent so far.
func (p *Proxy) Bytes() int64 { return p.bytes.Load() }

// Inject lets a fault happen from now on. One that is injected while what it is about is on its way may miss it.
func (p *Proxy) Inject(f *Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, f)
}

// Close hangs up, and waits until every connection has ended. The error is the first frame that the proxy did not understand; its
// connection ended there.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	err := p.listener.Close()
	p.serving.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return errors.Join(p.err, err)
}

func (p *Proxy) accept() {
	for {
		down, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.serving.Go(func() {
			defer down.Close()
			if !p.admit(down) {
				return
			}
			defer p.dismiss(down)
			up, err := new(net.Dialer).DialContext(context.Background(), "tcp", p.upstream)
			if err != nil {
				return // the client finds the connection closed, as it would find the broker's port
			}
			defer up.Close()
			if !p.admit(up) {
				return
			}
			defer p.dismiss(up)
			if err := p.exchange(down, up); err != nil {
				p.fail(err)
			}
		})
	}
}

// admit notes a connection that Close has to end; false: it is too late.
func (p *Proxy) admit(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.conns[c] = true
	return true
}

func (p *Proxy) dismiss(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

func (p *Proxy) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
}

// counted is a connection to a client, whose bytes are counted.
type counted struct {
	io.ReadWriter
	bytes *atomic.Int64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.ReadWriter.Read(b)
	c.bytes.Add(int64(n))
	return n, err
}

func (c counted) Write(b []byte) (int, error) {
	n, err := c.ReadWriter.Write(b)
	c.bytes.Add(int64(n))
	return n, err
}

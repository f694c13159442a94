package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
)

type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// forging replaces bytes in what a broker answers, by others of the same length.
func forging(dial dialer, old, forged string) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &forgedConn{Conn: c, old: []byte(old), forged: []byte(forged)}, nil
	}
}

// forgedConn hands on whole answers.
type forgedConn struct {
	net.Conn
	old, forged []byte
	left        []byte
}

func (c *forgedConn) Read(b []byte) (int, error) {
	if len(c.left) == 0 {
		var size [4]byte
		if _, err := io.ReadFull(c.Conn, size[:]); err != nil {
			return 0, err
		}
		answer := make([]byte, 4+binary.BigEndian.Uint32(size[:]))
		copy(answer, size[:])
		if _, err := io.ReadFull(c.Conn, answer[4:]); err != nil {
			return 0, err
		}
		c.left = bytes.ReplaceAll(answer, c.old, c.forged)
	}
	n := copy(b, c.left)
	c.left = c.left[n:]
	return n, nil
}

var errCutOff = errors.New("cut off")

// gate cuts connections off, and lets none be made, until it is opened again.
type gate struct {
	mu    sync.Mutex
	shut  bool
	conns map[net.Conn]struct{}
}

func (g *gate) guard(dial dialer) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.shut {
			return nil, errors.Join(errCutOff, c.Close())
		}
		if g.conns == nil {
			g.conns = map[net.Conn]struct{}{}
		}
		g.conns[c] = struct{}{}
		return &gatedConn{c, g}, nil
	}
}

func (g *gate) guardLink(l link) link { return link{g.guard(l.kafka), g.guard(l.state)} }

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
	for c := range g.conns {
		if shut {
			_ = c.Close()
		}
	}
}

type gatedConn struct {
	net.Conn
	gate *gate
}

func (c *gatedConn) Close() error {
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	delete(c.gate.conns, c.Conn)
	return c.Conn.Close()
}

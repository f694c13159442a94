package main

import (
	"context"
	"net"
	"net/http"
	"path"
	"sync/atomic"
	"time"
)

// cost is what it took to get right, from the first request for it.
type cost struct {
	bytes int64 // in both directions, headers included
	trips int64 // requests
	took  time.Duration
}

// meter counts what a replica asks the state plane for in order to be right: the handshake, frames, and the calls of repairs. These go
// over connections of their own, all of whose bytes are counted. What it says and is told beside (reports, the stream of frames, digests
// of its own position, renewals of leases) goes another way.
type meter struct {
	beside, counted *http.Transport
	bytes, trips    atomic.Int64
	began           atomic.Int64 // ns of the first request since reset
}

func newMeter(dial dialer) *meter {
	m := &meter{beside: &http.Transport{DialContext: dial}}
	m.counted = &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &meteredConn{c, m}, nil
	}}
	return m
}

// RoundTrip implements http.RoundTripper.
func (m *meter) RoundTrip(r *http.Request) (*http.Response, error) {
	switch path.Base(r.URL.Path) {
	case "Frames", "Report", "DigestAt", "RenewLease":
		return m.beside.RoundTrip(r)
	}
	m.began.CompareAndSwap(0, time.Now().UnixNano())
	m.trips.Add(1)
	return m.counted.RoundTrip(r)
}

// CloseIdleConnections is called by the http.Client of that name.
func (m *meter) CloseIdleConnections() {
	m.beside.CloseIdleConnections()
	m.counted.CloseIdleConnections()
}

// reset begins anew; so does cost.
func (m *meter) reset() {
	m.bytes.Store(0)
	m.trips.Store(0)
	m.began.Store(0)
}

func (m *meter) cost(end time.Time) cost {
	defer m.reset()
	return cost{m.bytes.Load(), m.trips.Load(), end.Sub(time.Unix(0, m.began.Load()))}
}

type meteredConn struct {
	net.Conn
	meter *meter
}

func (c *meteredConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.meter.bytes.Add(int64(n))
	return n, err
}

func (c *meteredConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.meter.bytes.Add(int64(n))
	return n, err
}

package drill

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
)

// meter counts the bytes of connections, both directions.
type meter struct{ bytes atomic.Int64 }

// client is an HTTP client of its own, whose connections are counted.
func (m *meter) client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return metered{c, m}, nil
		},
	}}
}

type metered struct {
	net.Conn
	m *meter
}

func (c metered) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.m.bytes.Add(int64(n))
	return n, err
}

func (c metered) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	c.m.bytes.Add(int64(n))
	return n, err
}

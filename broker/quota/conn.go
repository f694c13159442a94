package quota

import (
	"sync"
	"time"
)

// Conn bounds one connection, beside what its client may take. The zero value is a new connection.
type Conn struct {
	mu       sync.Mutex
	bytes    Rate
	requests Rate
}

// BoundsConnections reports whether connections are bounded: if not, none needs a Conn.
func (m *Manager) BoundsConnections() bool {
	return m.cfg.Settings.ConnectionByteRate > 0 || m.cfg.Settings.ConnectionRequestRate > 0
}

// RecordConn counts one request and its answer's bytes, and returns how long the connection has to wait now.
func (m *Manager) RecordConn(c *Conn, bytes int) (wait time.Duration) {
	nowMs := m.nowMs()
	c.mu.Lock()
	defer c.mu.Unlock()
	if limit := m.cfg.Settings.ConnectionByteRate; limit > 0 {
		c.bytes.Record(float64(bytes), nowMs)
		wait = c.bytes.Wait(limit, nowMs)
	}
	if limit := m.cfg.Settings.ConnectionRequestRate; limit > 0 {
		c.requests.Record(1, nowMs)
		wait = max(wait, c.requests.Wait(limit, nowMs))
	}
	if wait > 0 {
		m.metrics.throttled("connection", wait)
	}
	return wait
}

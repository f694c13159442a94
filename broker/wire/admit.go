package wire

import (
	"net"
	"time"
)

// refusedError is why a connection is closed before it has sent anything.
type refusedError struct {
	reason string
	max    int
}

func (e *refusedError) Error() string { return e.reason }

// refusedMax bounds the connections that are refused and not closed yet.
const refusedMax = 1000

// admit makes a connection out of a socket, if there is a place for it. nil without an error: it will be closed.
func (s *Server) admit(nc net.Conn) (c *Conn, ip string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, "", ErrServerClosed
	}
	if len(s.conns) >= s.cfg.MaxConnections {
		return nil, "", &refusedError{"too many connections", s.cfg.MaxConnections}
	}
	if s.cfg.MaxConnsPerIP > 0 {
		if ip = hostOf(nc.RemoteAddr()); s.perIP[ip] >= s.cfg.MaxConnsPerIP {
			return nil, "", &refusedError{"too many connections from its address", s.cfg.MaxConnsPerIP}
		}
	}
	if s.cfg.Admit != nil {
		if wait, ok := s.cfg.Admit(nc.RemoteAddr()); !ok {
			s.closeLaterLocked(nc, wait)
			return nil, "", nil
		}
	}
	c = newConn(s, nc) // not for a refused one: until its context is cancelled, the server's holds on to it
	s.conns[c] = struct{}{}
	if s.cfg.MaxConnsPerIP > 0 {
		s.perIP[ip]++
	}
	s.running.Add(1)
	return c, ip, nil
}

// closeLaterLocked holds a connection that came too early, so that its peer does not come again at once.
func (s *Server) closeLaterLocked(nc net.Conn, wait time.Duration) {
	s.metrics.refused.Inc()
	if len(s.refused) >= refusedMax {
		nc.Close()
		return
	}
	s.refused[nc] = time.AfterFunc(wait, func() {
		nc.Close()
		s.mu.Lock()
		delete(s.refused, nc)
		s.mu.Unlock()
	})
}

// hostOf is the address without the port.
func hostOf(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		return tcp.IP.String()
	}
	return addr.String()
}

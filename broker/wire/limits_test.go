package wire

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

var echo = handlerFunc(func(_ context.Context, r *Request) Response { return Reply(answer(r)) })

func requireClosed(t *testing.T, c net.Conn) {
	t.Helper()
	_, err := c.Read(make([]byte, 1))
	require.Error(t, err)
	require.NotErrorIs(t, err, io.ErrNoProgress)
	var timeout net.Error
	if ok := asNetError(err, &timeout); ok {
		require.False(t, timeout.Timeout(), "the server should have closed the connection")
	}
}

func asNetError(err error, target *net.Error) bool {
	e, ok := err.(net.Error)
	*target = e
	return ok
}

func TestForeignProtocolsAreNamed(t *testing.T) {
	for name, c := range map[string]struct{ bytes, line string }{
		"TLS":        {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "TLS client"},
		"HTTP GET":   {"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "HTTP client"},
		"HTTP/2":     {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP client"},
		"too large":  {"\x06\x40\x00\x01abcdefgh", "above the limit"},
		"negative":   {"\xff\xff\xff\xffabcdefgh", "cannot hold a request"},
		"no header":  {"\x00\x00\x00\x04abcd", "cannot hold a request"},
		"bad header": {"\x00\x00\x00\x0a\x00\x0c\x00\x00\x00\x00\x00\x01\x7f\xff", "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, Config{Handler: echo})
			conn := s.dial(t)
			_, err := conn.Write([]byte(c.bytes))
			require.NoError(t, err)
			requireClosed(t, conn)
			eventually(t, "a warning says why", func() bool {
				return strings.Contains(s.log.String(), "level=WARN") && strings.Contains(s.log.String(), c.line)
			})
		})
	}
}

func TestIdleConnectionIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Handler: echo, IdleTimeout: time.Minute})
		c, server := net.Pipe()
		s.ServeConn(server)
		<-time.After(50 * time.Second)
		started := time.Now()
		go c.Write(frameOf(1, heartbeat("g")))
		receive(t, c)
		requireClosed(t, c)
		require.Equal(t, time.Minute, time.Since(started), "since the last request")
		require.NoError(t, s.Close(t.Context()))
	})
}

func TestWaitingConnectionIsNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{IdleTimeout: time.Minute, Handler: handlerFunc(func(_ context.Context, r *Request) Response {
			return Later(func(ctx context.Context) Message {
				select {
				case <-time.After(5 * time.Minute):
				case <-ctx.Done():
				}
				return answer(r)
			})
		})})
		c, server := net.Pipe()
		s.ServeConn(server)
		started := time.Now()
		go c.Write(frameOf(1, heartbeat("g")))
		id, _ := receive(t, c)
		require.Equal(t, int32(1), id)
		require.Equal(t, 5*time.Minute, time.Since(started))
		require.NoError(t, c.Close())
		require.NoError(t, s.Close(t.Context()))
	})
}

func TestStalledFrameIsCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Handler: echo, ReadTimeout: 10 * time.Second})
		c, server := net.Pipe()
		s.ServeConn(server)
		frame := frameOf(1, heartbeat("g"))
		started := time.Now()
		_, err := c.Write(frame[:len(frame)-1])
		require.NoError(t, err)
		requireClosed(t, c)
		require.Equal(t, 10*time.Second, time.Since(started).Truncate(time.Second))
		require.NoError(t, s.Close(t.Context()))
	})
}

func TestAnnouncedBytesAreNotAllocated(t *testing.T) {
	s := start(t, Config{Handler: echo, MaxConnections: 100, MaxRequestBytes: 100 << 30})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const n = 20
	for range n {
		c := s.dial(t)
		head := binary.BigEndian.AppendUint32(nil, 90<<20)
		_, err := c.Write(append(head, 0, 0, 0, 9))
		require.NoError(t, err)
	}
	eventually(t, "all wait for more", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.conns) == n })
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(n*(64<<10)+(4<<20)))
}

func TestConnectionsAreBounded(t *testing.T) {
	s := start(t, Config{Handler: echo, MaxConnections: 2})
	a, b := s.dial(t), s.dial(t)
	for _, c := range []net.Conn{a, b} {
		send(t, c, 1, heartbeat("g"))
		receive(t, c)
	}
	requireClosed(t, s.dial(t))
	a.Close()
	eventually(t, "a place is free", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.conns) == 1 })
	c := s.dial(t)
	send(t, c, 1, heartbeat("g"))
	receive(t, c)
}

// closedConn is a connection of which nothing is left.
type closedConn struct{ net.Conn }

func (closedConn) Close() error         { return nil }
func (closedConn) RemoteAddr() net.Addr { return &net.TCPAddr{} }

func TestRefusedConnectionsLeaveNothing(t *testing.T) {
	s := New(Config{Handler: echo, MaxConnections: -1})
	defer s.Close(context.Background())
	const n = 20_000
	var before, after runtime.MemStats
	s.ServeConn(closedConn{})
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range n {
		s.ServeConn(closedConn{})
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	require.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(n*20))
}

func TestCloseLetsAnswersOut(t *testing.T) {
	gate := make(chan struct{})
	handled := make(chan struct{})
	s := start(t, Config{Handler: handlerFunc(func(_ context.Context, r *Request) Response {
		close(handled)
		return Later(func(context.Context) Message { <-gate; return answer(r) })
	})})
	c, idle := s.dial(t), s.dial(t)
	send(t, c, 3, heartbeat("g"))
	<-handled
	closed := make(chan error)
	go func() { closed <- s.Close(context.Background()) }()
	requireClosed(t, idle)
	close(gate)
	id, _ := receive(t, c)
	require.Equal(t, int32(3), id)
	requireClosed(t, c)
	require.NoError(t, <-closed)
}

func TestCloseIsBounded(t *testing.T) {
	handled := make(chan struct{})
	s := start(t, Config{Handler: handlerFunc(func(_ context.Context, r *Request) Response {
		close(handled)
		return Later(func(ctx context.Context) Message { <-ctx.Done(); return nil })
	})})
	send(t, s.dial(t), 1, heartbeat("g"))
	<-handled
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.Close(ctx), context.DeadlineExceeded)
}

// TestIdleConnectionIsSmall measures heap and stacks of connections that have been used once.
func TestIdleConnectionIsSmall(t *testing.T) {
	s := start(t, Config{Handler: echo})
	const n = 200
	var conns []net.Conn
	use := func() {
		c := s.dial(t)
		send(t, c, 1, heartbeat("g"))
		receive(t, c)
		conns = append(conns, c)
	}
	use()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range n {
		use()
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	perConn := (int64(after.HeapInuse+after.StackInuse) - int64(before.HeapInuse+before.StackInuse)) / n
	t.Logf("%d bytes per idle connection, the client's end included", perConn)
	require.Less(t, perConn, int64(30<<10))
}

// TestPeerThatTakesNoAnswerIsClosed: an answer holds memory, and somebody who does not read it holds it for a minute at most.
func TestPeerThatTakesNoAnswerIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		done := 0
		s := New(Config{Handler: handlerFunc(func(_ context.Context, r *Request) Response {
			return Response{Message: answer(r), Done: func() { done++ }}
		})})
		c, server := net.Pipe()
		s.ServeConn(server)
		started := time.Now()
		for i := range int32(3) {
			if _, err := c.Write(frameOf(i, heartbeat("g"))); err != nil {
				break
			}
		}
		for {
			if _, err := c.Write(frameOf(1, heartbeat("g"))); err != nil { // until it is closed
				break
			}
		}
		require.Equal(t, time.Minute, time.Since(started))
		require.NoError(t, s.Close(t.Context()))
		require.GreaterOrEqual(t, done, 3, "what the answers hold is given back")
	})
}

package wire

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whoever comes again and again cannot fill the disk with our log lines; what is left out is told with the next one.
func TestLogLinesThatPeersCauseAreBounded(t *testing.T) {
	var seconds atomic.Int64
	s := start(t, Config{Handler: echo, MaxConnections: 1, Now: func() time.Time { return time.Unix(seconds.Load(), 0) }})
	held, err := net.Dial("tcp", s.addr)
	require.NoError(t, err)
	defer held.Close()
	eventually(t, "the one connection is there", func() bool { return s.count() == 1 })
	refuse := func(n int) {
		for range n {
			nc, err := net.Dial("tcp", s.addr)
			require.NoError(t, err)
			_, err = nc.Read(make([]byte, 1))
			require.Error(t, err, "closed")
			nc.Close()
		}
	}
	lines := func() int { return strings.Count(s.log.String(), "Kafka connection refused") }
	refuse(100)
	require.Equal(t, noticesPerSecond, lines())
	seconds.Add(1)
	refuse(1)
	eventually(t, "the next second has lines again", func() bool { return lines() == noticesPerSecond+1 })
	require.Contains(t, s.log.String(), "left_out_before=90")

	// So it is with connections that send what is no request.
	require.NoError(t, held.Close())
	eventually(t, "the one connection is gone", func() bool { return s.count() == 0 })
	for range 30 {
		nc, err := net.Dial("tcp", s.addr)
		require.NoError(t, err)
		_, err = nc.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
		require.NoError(t, err)
		_, err = nc.Read(make([]byte, 1))
		require.Error(t, err, "closed")
		nc.Close()
		eventually(t, "the connection is gone", func() bool { return s.count() == 0 })
	}
	require.Equal(t, noticesPerSecond, strings.Count(s.log.String(), "an HTTP client"))
}

// count is how many connections there are.
func (s *testServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

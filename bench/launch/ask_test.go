package launch

import (
	"net"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whoever answers and is no Kafka broker is not waited for; whoever is not there yet is.
func TestAnotherProtocol(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan struct{})
	go func() {
		defer close(served)
		conn, err := l.Accept()
		if err == nil {
			_, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			_ = conn.Close()
		}
	}()
	ok, err := asked(t.Context(), l.Addr().String())
	require.True(t, ok)
	require.ErrorContains(t, err, "does not speak the Kafka protocol")
	<-served
	require.NoError(t, l.Close())
	ok, err = asked(t.Context(), l.Addr().String())
	require.False(t, ok)
	require.Error(t, err)
}

// A port that is free is none that somebody else is given before the broker listens.
func TestFreePortsAreNobodys(t *testing.T) {
	for range 20 {
		port, err := freePort()
		require.NoError(t, err)
		require.Less(t, port+1, 32768)
		for _, p := range []int{port, port + 1} {
			l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
			require.NoError(t, err)
			require.NoError(t, l.Close())
		}
	}
}

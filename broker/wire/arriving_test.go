package wire

import (
	"encoding/binary"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/raw"
)

// announce sends a frame's size and its first bytes.
func announce(t *testing.T, c net.Conn, size int, first ...byte) {
	t.Helper()
	_, err := c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(size)), first...))
	require.NoError(t, err)
}

// TestAnnouncedBytesTakeNoBudget: requests of others are answered while many frames are announced and do not come.
func TestAnnouncedBytesTakeNoBudget(t *testing.T) {
	s := start(t, Config{Handler: echo})
	const n = 10
	for range n {
		announce(t, s.dial(t), 100<<20, 0)
	}
	eventually(t, "all are on their way", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.conns) == n })
	c := s.dial(t)
	for _, size := range []int{1, 10_000} {
		send(t, c, 1, heartbeat(strings.Repeat("g", size)))
		receive(t, c)
	}
	require.Zero(t, s.arriving.held)
}

// TestHalfArrivedFramesFinish: more frames than there is room for have come half; each comes whole all the same, and what
// they leave behind is nothing.
func TestHalfArrivedFramesFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // in which no time passes: who holds room may not stall
		const n, size = 8, 30_000
		s := New(Config{Handler: echo, MaxRequestBytes: 4 * size})
		frame := frameOf(1, heartbeat(strings.Repeat("g", size)))
		var halves []*half
		for range n {
			halves = append(halves, s.sendHalf(frame))
		}
		held := func() (int64, bool) {
			s.arriving.mu.Lock()
			defer s.arriving.mu.Unlock()
			return s.arriving.held, s.arriving.beyond != nil
		}
		synctest.Wait()
		now, beyond := held()
		require.True(t, beyond, "the room is taken")
		require.LessOrEqual(t, now, int64(size+len(frame)), "the room, and one frame beyond it")

		small, server := net.Pipe()
		s.ServeConn(server)
		go small.Write(frameOf(1, heartbeat("g")))
		receive(t, small)

		for _, h := range slices.Backward(halves) { // the last first: no order is needed
			close(h.rest)
			synctest.Wait()
		}
		for _, h := range halves {
			require.NoError(t, <-h.answered)
		}
		now, beyond = held()
		require.Zero(t, now)
		require.False(t, beyond)
		for _, c := range append(halves, &half{Conn: small}) {
			require.NoError(t, c.Close())
		}
		require.NoError(t, s.Close(t.Context()))
	})
}

// half is a connection on which half of a frame was sent, as far as there is room for it. The rest follows once rest is closed, and what came of it is told.
type half struct {
	net.Conn
	rest     chan struct{}
	answered chan error
}

func (s *Server) sendHalf(frame []byte) *half {
	client, server := net.Pipe()
	s.ServeConn(server)
	h := &half{client, make(chan struct{}), make(chan error, 1)}
	go func() {
		_, err := raw.ReadFrame(client)
		h.answered <- err
	}()
	go func() {
		if _, err := client.Write(frame[:len(frame)/2]); err == nil {
			<-h.rest
			client.Write(frame[len(frame)/2:])
		}
	}()
	return h
}

// TestWaitForRoomEnds with the frame that holds it, and with the server.
func TestWaitForRoomEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 30_000
		s := New(Config{Handler: echo, MaxRequestBytes: 4})
		frame := frameOf(1, heartbeat(strings.Repeat("g", size)))
		waits := func() bool { s.arriving.mu.Lock(); defer s.arriving.mu.Unlock(); return s.arriving.beyond != nil }
		var halves []*half
		for range 3 {
			halves = append(halves, s.sendHalf(frame))
			synctest.Wait()
			require.True(t, waits(), "one may pass the limit")
		}
		first, second, third := halves[0], halves[1], halves[2]
		require.NoError(t, first.Close())
		close(first.rest)
		close(second.rest)
		close(third.rest)
		require.Error(t, <-first.answered)
		require.NoError(t, <-second.answered)
		require.NoError(t, <-third.answered)
		require.False(t, waits())
		require.NoError(t, second.Close())
		require.NoError(t, third.Close())
		require.NoError(t, s.Close(t.Context()))
	})
}

// TestFrameHasOneTimeLimit: a piece now and then does not keep a frame on its way for hours.
func TestFrameHasOneTimeLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Handler: echo})
		client, server := net.Pipe()
		s.ServeConn(server)
		started := time.Now()
		announce(t, client, 100<<20)
		piece := make([]byte, 256<<10)
		for {
			if _, err := client.Write(piece); err != nil {
				break
			}
			<-time.After(25 * time.Second)
		}
		const limit = (30 + 100) * time.Second
		require.GreaterOrEqual(t, time.Since(started), limit)
		require.Less(t, time.Since(started), limit+30*time.Second)
		require.NoError(t, s.Close(t.Context()))
	})
}

// TestWaitingForRoomIsNotThePeersTime: who had to wait for others has all the time of its frame left.
func TestWaitingForRoomIsNotThePeersTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 30_000
		s := New(Config{Handler: echo, MaxRequestBytes: 4})
		frame := frameOf(1, heartbeat(strings.Repeat("g", size)))
		const some = 4 + 1024 // a size, and all that is read before there is room
		dial := func() net.Conn {
			client, server := net.Pipe()
			s.ServeConn(server)
			_, err := client.Write(frame[:some])
			require.NoError(t, err)
			synctest.Wait()
			return client
		}
		first := dial()
		drip(t, first, frame[some:some+20])
		second := dial() // waits for the first, which is slow, and cut after 30 s
		drip(t, first, frame[some+20:some+29])
		<-time.After(16 * time.Second)
		_, err := first.Write(frame[some+29:])
		require.Error(t, err)
		<-time.After(10 * time.Second) // 35 s after it began, 25 s of them not waiting
		_, err = second.Write(frame[some:])
		require.NoError(t, err)
		receive(t, second)
		require.NoError(t, second.Close())
		require.NoError(t, s.Close(t.Context()))
	})
}

// drip sends a byte a second.
func drip(t *testing.T, c net.Conn, b []byte) {
	t.Helper()
	for i := range b {
		_, err := c.Write(b[i : i+1])
		require.NoError(t, err)
		<-time.After(time.Second)
	}
}

// TestStalledFramesGiveRoomBack: more frames than there is room for stop half way and never end; a healthy peer is served
// within seconds, not when their time is over.
func TestStalledFramesGiveRoomBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, size = 20, 64 << 10
		lines := &logBuffer{}
		s := New(Config{Handler: echo, MaxRequestBytes: 4 * 16 * size, Logger: slog.New(slog.NewTextHandler(lines, nil))})
		stalled := frameOf(1, heartbeat(strings.Repeat("g", size)))[:size/4+1024] // all of the buffer before the last
		dial := func() net.Conn {
			client, server := net.Pipe()
			s.ServeConn(server)
			return client
		}
		for range n {
			go dial().Write(stalled) // some of them have to wait
		}
		synctest.Wait()
		require.True(t, s.arriving.contended())

		started := time.Now()
		healthy := dial()
		go healthy.Write(frameOf(2, heartbeat(strings.Repeat("g", size/8))))
		id, _ := receive(t, healthy)
		require.Equal(t, int32(2), id)
		require.Less(t, time.Since(started), 3*time.Second)
		require.Contains(t, lines.String(), "a frame stopped half way, for 2s or more")
		require.NoError(t, healthy.Close())
		require.NoError(t, s.Close(t.Context()))
		require.Zero(t, s.arriving.held)
	})
}

// TestSlowFrameIsNotStalled: a frame that others wait for comes whole although its bytes come one by one.
func TestSlowFrameIsNotStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Handler: echo, MaxRequestBytes: 4})
		frame := frameOf(1, heartbeat(strings.Repeat("g", 30_000)))
		var conns [2]net.Conn
		for i := range conns {
			client, server := net.Pipe()
			s.ServeConn(server)
			conns[i] = client
		}
		slow, other := conns[0], conns[1]
		const some = 10_000
		_, err := slow.Write(frame[:some])
		require.NoError(t, err)
		go other.Write(frame)
		synctest.Wait()
		require.True(t, s.arriving.contended())

		drip(t, slow, frame[some:some+20])
		<-time.After(900 * time.Millisecond) // 1.9 s without a byte
		require.True(t, s.arriving.contended())
		_, err = slow.Write(frame[some+20:])
		require.NoError(t, err)
		for _, c := range conns {
			receive(t, c)
			require.NoError(t, c.Close())
		}
		require.NoError(t, s.Close(t.Context()))
	})
}

// TestFramesGrowLessWhileSomeWait: what came is what counts, not what the peer has sent before.
func TestFramesGrowLessWhileSomeWait(t *testing.T) {
	const trusted = 10 << 20
	all := newArrivals(3 * trusted)
	f := &arrival{all: all}
	require.Equal(t, trusted, f.ahead(1000, trusted))
	require.Equal(t, 4000, f.ahead(1000, 0))
	_, ok := (&arrival{all: all}).tryGrow(trusted)
	require.True(t, ok)
	require.Equal(t, 1<<20, f.ahead(1000, trusted), "less than half of the room is free")
	all.wait(1)
	require.Equal(t, 2000, f.ahead(1000, trusted))
}

package wire

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// throttling answers at once, later or not at all, and throttles the requests of one group.
func throttling(how string, d time.Duration, handled func(*Request)) Handler {
	return handlerFunc(func(ctx context.Context, r *Request) Response {
		handled(r)
		throttled := r.CorrelationID == 1
		switch how {
		case "later":
			return Later(func(context.Context) Message {
				if throttled {
					r.Throttle = d
				}
				return answer(r)
			})
		case "none":
			if throttled {
				r.Throttle = d
				return Response{None: true}
			}
		default:
			if throttled {
				r.Throttle = d
			}
		}
		return Reply(answer(r))
	})
}

// TestThrottledConnectionIsAnsweredAndThenMuted: the answer comes at once, the next one when the time is over, whether its request was
// sent before or after.
func TestThrottledConnectionIsAnsweredAndThenMuted(t *testing.T) {
	for _, how := range []string{"at once", "later", "none"} {
		for _, pipelined := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				started := time.Now()
				var second time.Duration // when the request was handled
				s := New(Config{Handler: throttling(how, 5*time.Second, func(r *Request) {
					if r.CorrelationID == 2 {
						second = time.Since(started)
					}
				})})
				c, server := net.Pipe()
				s.ServeConn(server)
				first := frameOf(1, heartbeat("g"))
				if pipelined {
					first = append(first, frameOf(2, heartbeat("g"))...)
				}
				go c.Write(first)
				if how != "none" {
					id, _ := receive(t, c)
					require.Equal(t, int32(1), id)
					require.Zero(t, time.Since(started), "the answer does not wait")
				}
				if !pipelined {
					synctest.Wait()
					go c.Write(frameOf(2, heartbeat("g")))
				}
				id, _ := receive(t, c)
				require.Equal(t, int32(2), id)
				require.Equal(t, 5*time.Second, time.Since(started), "%s, pipelined %v", how, pipelined)
				if !pipelined || how != "later" { // such a one was at hand before anybody knew
					require.Equal(t, 5*time.Second, second, "%s, pipelined %v: nothing is read before", how, pipelined)
				}
				go c.Write(frameOf(3, heartbeat("g")))
				receive(t, c)
				require.Equal(t, 5*time.Second, time.Since(started), "once")
				c.Close()
				require.NoError(t, s.Close(t.Context()))
			})
		}
	}
}

// TestLaterAnswerMutesForLonger: what is read next waits for the longest throttle, also for one that was told while it waited.
func TestLaterAnswerMutesForLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started := time.Now()
		var third time.Duration // when the request was handled
		s := New(Config{Handler: handlerFunc(func(ctx context.Context, r *Request) Response {
			switch r.CorrelationID {
			case 1:
				return Later(func(context.Context) Message {
					time.Sleep(time.Second)
					r.Throttle = 5 * time.Second
					return answer(r)
				})
			case 2:
				r.Throttle = 2 * time.Second
			case 3:
				third = time.Since(started)
			}
			return Reply(answer(r))
		})})
		c, server := net.Pipe()
		s.ServeConn(server)
		go c.Write(slices.Concat(frameOf(1, heartbeat("g")), frameOf(2, heartbeat("g")), frameOf(3, heartbeat("g"))))
		for range 3 {
			receive(t, c)
		}
		require.Equal(t, 6*time.Second, third)
		c.Close()
		require.NoError(t, s.Close(t.Context()))
	})
}

// TestOthersAreNotMuted: a throttle is of one connection.
func TestOthersAreNotMuted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Handler: throttling("at once", time.Hour, func(*Request) {})})
		started := time.Now()
		var conns [2]net.Conn
		for i := range conns {
			client, server := net.Pipe()
			s.ServeConn(server)
			conns[i] = client
			go client.Write(frameOf(int32(i+1), heartbeat("g")))
			receive(t, client)
		}
		go conns[1].Write(frameOf(3, heartbeat("g")))
		receive(t, conns[1])
		require.Zero(t, time.Since(started))
		for _, c := range conns {
			c.Close()
		}
		require.NoError(t, s.Close(t.Context()))
	})
}

// TestMutedConnectionEnds with the server, at once, and when it is muted for longer than it may be idle.
func TestMutedConnectionEnds(t *testing.T) {
	for _, closed := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			s := New(Config{Handler: throttling("at once", time.Hour, func(*Request) {}), IdleTimeout: time.Minute})
			c, server := net.Pipe()
			s.ServeConn(server)
			started := time.Now()
			go c.Write(append(frameOf(1, heartbeat("g")), frameOf(2, heartbeat("g"))...))
			receive(t, c)
			synctest.Wait()
			if closed {
				require.NoError(t, s.Close(t.Context()))
				requireClosed(t, c)
				require.Zero(t, time.Since(started))
				return
			}
			requireClosed(t, c)
			require.Equal(t, time.Minute, time.Since(started))
			require.NoError(t, s.Close(t.Context()))
		})
	}
}

func TestConnectionsOfAnAddressAreBounded(t *testing.T) {
	s := start(t, Config{Handler: echo, MaxConnsPerIP: 2})
	works := func(c net.Conn) {
		send(t, c, 1, heartbeat("g"))
		receive(t, c)
	}
	first, second := s.dial(t), s.dial(t)
	works(first)
	works(second)
	requireClosed(t, s.dial(t))
	eventually(t, "it is told", func() bool { return strings.Contains(s.log.String(), "too many connections from its address") })
	require.NoError(t, first.Close())
	eventually(t, "there is a place again", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.perIP["127.0.0.1"] == 1 })
	works(s.dial(t))
	require.NoError(t, second.Close())
}

// TestConnectionsThatComeTooOftenAreClosedLater (KIP-612).
func TestConnectionsThatComeTooOftenAreClosedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Handler: echo, Admit: func(net.Addr) (time.Duration, bool) { return 3 * time.Second, false }})
		started := time.Now()
		c, server := net.Pipe()
		s.ServeConn(server)
		requireClosed(t, c)
		require.Equal(t, 3*time.Second, time.Since(started))

		c, server = net.Pipe()
		s.ServeConn(server)
		require.NoError(t, s.Close(t.Context()))
		requireClosed(t, c)
		require.Equal(t, 3*time.Second, time.Since(started), "the server waits for nobody")
	})
}

// TestRefusedConnectionsAreBounded: beyond that many, one that comes too early is closed at once.
func TestRefusedConnectionsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Handler: echo, Admit: func(net.Addr) (time.Duration, bool) { return time.Hour, false }})
		for range refusedMax {
			c, server := net.Pipe()
			s.ServeConn(server)
			defer c.Close()
		}
		started := time.Now()
		c, server := net.Pipe()
		s.ServeConn(server)
		requireClosed(t, c)
		require.Zero(t, time.Since(started))
		require.NoError(t, s.Close(t.Context()))
	})
}

package wire

import (
	"context"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestAnswersComeInRequestOrder(t *testing.T) {
	const n = 10
	var gates [n]chan struct{}
	for i := range gates {
		gates[i] = make(chan struct{})
	}
	handled := make(chan int32, n)
	s := start(t, Config{Handler: handlerFunc(func(_ context.Context, r *Request) Response {
		handled <- r.CorrelationID
		return Later(func(context.Context) Message { <-gates[r.CorrelationID]; return answer(r) })
	})})
	c := s.dial(t)
	for i := range int32(n) {
		send(t, c, i, heartbeat("g"))
	}
	for i := range int32(n) {
		require.Equal(t, i, <-handled, "the reader goes on while answers wait")
	}
	for i := n - 1; i >= 0; i-- { // ready in the opposite order
		close(gates[i])
	}
	for i := range int32(n) {
		id, _ := receive(t, c)
		require.Equal(t, i, id)
	}
}

func TestNoneSendsNothing(t *testing.T) {
	s := start(t, Config{Handler: handlerFunc(func(_ context.Context, r *Request) Response {
		if r.CorrelationID == 1 {
			return Response{None: true}
		}
		return Reply(answer(r))
	})})
	c := s.dial(t)
	for i := range int32(3) {
		send(t, c, i, heartbeat("g"))
	}
	first, _ := receive(t, c)
	second, _ := receive(t, c)
	require.Equal(t, []int32{0, 2}, []int32{first, second})
}

func TestCloseAfterEarlierAnswers(t *testing.T) {
	gate := make(chan struct{})
	s := start(t, Config{Handler: handlerFunc(func(_ context.Context, r *Request) Response {
		if r.CorrelationID == 1 {
			close(gate)
			return Response{Close: "enough"}
		}
		return Later(func(context.Context) Message { <-gate; return answer(r) })
	})})
	c := s.dial(t)
	send(t, c, 0, heartbeat("g"))
	send(t, c, 1, heartbeat("g"))
	id, _ := receive(t, c)
	require.Equal(t, int32(0), id)
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	eventually(t, "the reason is logged", func() bool { return strings.Contains(s.log.String(), "enough") })
}

func TestRequestIsParsed(t *testing.T) {
	got := make(chan *Request, 1)
	s := start(t, Config{Handler: handlerFunc(func(_ context.Context, r *Request) Response {
		got <- r
		return Reply(answer(r))
	})})
	for _, version := range []int16{0, 4} { // 4 is flexible
		c := s.dial(t)
		req := heartbeat("the-group")
		req.Version = version
		send(t, c, 7, req)
		r := <-got
		require.Equal(t, "test", r.ClientID)
		require.Equal(t, []int16{12, version}, []int16{r.Key, r.Version})
		decoded := kmsg.NewPtrHeartbeatRequest()
		decoded.Version = version
		require.NoError(t, decoded.ReadFrom(r.Body))
		require.Equal(t, "the-group", decoded.Group)
		_, body := receive(t, c)
		if version == 4 {
			require.Zero(t, body[0], "a flexible response header has an empty tag section")
			body = body[1:]
		}
		resp := kmsg.NewPtrHeartbeatResponse()
		resp.Version = version
		require.NoError(t, resp.ReadFrom(body))
	}
}

func TestRequestsInWorkAreBounded(t *testing.T) {
	gate := make(chan struct{})
	var handled atomic.Int32
	handler := handlerFunc(func(_ context.Context, r *Request) Response {
		handled.Add(1)
		return Later(func(context.Context) Message { <-gate; return answer(r) })
	})
	for name, cfg := range map[string]Config{
		"requests of one connection": {MaxConnRequests: 3},
		"bytes of one connection":    {MaxConnBytes: 3*1000 + 500},
		"bytes of all connections":   {MaxRequestBytes: 3*1000 + 500},
	} {
		t.Run(name, func(t *testing.T) {
			gate = make(chan struct{})
			handled.Store(0)
			cfg.Handler = handler
			s := start(t, cfg)
			c := s.dial(t)
			for i := range int32(8) {
				send(t, c, i, heartbeat(strings.Repeat("g", 980)))
			}
			eventually(t, "three are admitted", func() bool { return handled.Load() == 3 })
			require.Never(t, func() bool { return handled.Load() > 3 }, 50*time.Millisecond, 5*time.Millisecond)
			close(gate)
			for i := range int32(8) {
				id, _ := receive(t, c)
				require.Equal(t, i, id)
			}
		})
	}
}

// A peer that asks and does not read makes no more answers than there is room for, and gets all of them when it reads.
func TestAnswersThatWaitAreBounded(t *testing.T) {
	const requests, room = 40, 100_000
	large := kmsg.NewPtrMetadataResponse()
	large.Version, large.ClusterID = 2, new(strings.Repeat("x", 30_000))
	var handled atomic.Int32
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{MaxConnAnswers: room, Handler: handlerFunc(func(context.Context, *Request) Response {
			handled.Add(1)
			return Reply(large)
		})})
		c, server := net.Pipe()
		s.ServeConn(server)
		go func() {
			for i := range int32(requests) {
				c.Write(frameOf(i, heartbeat("g")))
			}
		}()
		synctest.Wait()
		require.EqualValues(t, 4, handled.Load(), "the last one found room")
		for i := range int32(requests) {
			id, body := receive(t, c)
			require.Equal(t, i, id)
			require.Greater(t, len(body), 30_000)
		}
		require.EqualValues(t, requests, handled.Load())
		require.NoError(t, c.Close())
		require.NoError(t, s.Close(t.Context()))
	})
}

func TestOneLargeRequestAlwaysPasses(t *testing.T) {
	s := start(t, Config{MaxConnBytes: 100, MaxRequestBytes: 100, Handler: handlerFunc(func(_ context.Context, r *Request) Response {
		return Reply(answer(r))
	})})
	c := s.dial(t)
	for i := range int32(3) {
		send(t, c, i, heartbeat(strings.Repeat("g", 5000)))
	}
	for i := range int32(3) {
		id, _ := receive(t, c)
		require.Equal(t, i, id)
	}
}

func TestContextEndsWithTheConnection(t *testing.T) {
	ended, done := make(chan struct{}), make(chan struct{})
	s := start(t, Config{Handler: handlerFunc(func(_ context.Context, r *Request) Response {
		resp := Later(func(ctx context.Context) Message { <-ctx.Done(); close(ended); return nil })
		resp.Done = func() { close(done) }
		return resp
	})})
	c := s.dial(t)
	send(t, c, 0, heartbeat("g"))
	c.Close()
	<-ended
	<-done
	eventually(t, "nothing is left", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.conns) == 0 })
}

func TestUnknownVersionHasNoBody(t *testing.T) {
	got := make(chan *Request, 1)
	s := start(t, Config{Handler: handlerFunc(func(_ context.Context, r *Request) Response {
		got <- r
		return Response{Close: "unsupported"}
	})})
	c := s.dial(t)
	_, err := c.Write([]byte{0, 0, 0, 12, 0, 18, 0, 99, 0, 0, 0, 5, 1, 2, 3, 4})
	require.NoError(t, err)
	r := <-got
	require.True(t, r.Unsupported)
	require.Equal(t, int32(5), r.CorrelationID)
	require.Empty(t, r.Body)
}

func TestResponseHeaderOfApiVersionsIsNeverFlexible(t *testing.T) {
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.Version = 3
	frame, err := appendResponse(nil, 1, resp)
	require.NoError(t, err)
	again := kmsg.NewPtrApiVersionsResponse()
	again.Version = 3
	require.NoError(t, again.ReadFrom(frame[8:]))
}

package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// handlerFunc is a Handler for tests.
type handlerFunc func(ctx context.Context, r *Request) Response

func (f handlerFunc) Handle(ctx context.Context, r *Request) Response { return f(ctx, r) }

// logBuffer collects log lines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

type testServer struct {
	*Server
	addr string
	log  *logBuffer
}

// start runs a server until the test ends.
func start(t *testing.T, cfg Config) *testServer {
	t.Helper()
	lines := &logBuffer{}
	cfg.Logger = slog.New(slog.NewTextHandler(lines, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := New(cfg)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		s.Close(ctx)
		require.ErrorIs(t, <-served, ErrServerClosed)
	})
	return &testServer{s, l.Addr().String(), lines}
}

func (s *testServer) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(time.Minute)))
	return c
}

// frameOf encodes a request as a client does.
func frameOf(correlationID int32, req kmsg.Request) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, correlationID)
}

func send(t *testing.T, c net.Conn, correlationID int32, req kmsg.Request) {
	t.Helper()
	_, err := c.Write(frameOf(correlationID, req))
	require.NoError(t, err)
}

// receive reads one response frame and returns its correlation id and what follows it.
func receive(t *testing.T, c net.Conn) (int32, []byte) {
	t.Helper()
	frame, err := raw.ReadFrame(c)
	require.NoError(t, err)
	return int32(binary.BigEndian.Uint32(frame)), frame[4:]
}

// heartbeat is a small request, of the size wanted by its group id.
func heartbeat(group string) *kmsg.HeartbeatRequest {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group = 3, group
	return req
}

// answer decodes a heartbeat and answers with its generation as error code.
func answer(r *Request) Message {
	resp := kmsg.NewPtrHeartbeatResponse()
	resp.Version = r.Version
	return resp
}

func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	require.Eventually(t, f, time.Minute, time.Millisecond, what)
}

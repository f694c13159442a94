package raw

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Broker is a broker by its address. Tests embed it in what else they know of theirs.
type Broker struct{ Addr string }

// Conn speaks raw requests. It has two minutes for all that a test does, and ends with the test.
type Conn struct {
	T testing.TB
	net.Conn
	Client      string // the client id
	correlation int32  // of the request before
	request     []byte // the request before, for its memory
}

// Dial opens a connection of the client "test".
func (b Broker) Dial(t testing.TB) *Conn {
	t.Helper()
	c, err := net.Dial("tcp", b.Addr)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(2*time.Minute)))
	return &Conn{T: t, Conn: c, Client: "test"}
}

// In is the same connection in a subtest: what goes wrong is the subtest's.
func (c *Conn) In(t testing.TB) *Conn {
	return &Conn{T: t, Conn: c.Conn, Client: c.Client}
}

// Send writes a request and returns its correlation id.
func (c *Conn) Send(req kmsg.Request) int32 {
	c.T.Helper()
	c.correlation++
	c.request = kmsg.NewRequestFormatter(kmsg.FormatterClientID(c.Client)).AppendRequest(c.request[:0], req, c.correlation)
	_, err := c.Write(c.request)
	require.NoError(c.T, err)
	return c.correlation
}

// Receive reads the answer to a request that was sent.
func (c *Conn) Receive(req kmsg.Request) (kmsg.Response, int32) {
	c.T.Helper()
	resp, id, err := c.TryReceive(req)
	require.NoError(c.T, err)
	return resp, id
}

// TryReceive is Receive where the connection may end instead.
func (c *Conn) TryReceive(req kmsg.Request) (kmsg.Response, int32, error) {
	c.T.Helper()
	frame, err := ReadFrame(c)
	if err != nil {
		return nil, 0, err
	}
	resp, id, err := Decode(req, frame)
	require.NoError(c.T, err)
	return resp, id, nil
}

// Do sends a request and returns its answer.
func Do[R kmsg.Response](c *Conn, req kmsg.Request) R {
	c.T.Helper()
	id := c.Send(req)
	resp, got := c.Receive(req)
	require.Equal(c.T, id, got)
	return resp.(R)
}

// RequireClosed waits for the broker to close the connection.
func (c *Conn) RequireClosed() {
	c.T.Helper()
	_, err := io.ReadFull(c, make([]byte, 1))
	require.Error(c.T, err)
	var timeout net.Error
	require.False(c.T, errors.As(err, &timeout) && timeout.Timeout(), "the broker should have closed the connection")
}

// ReceiveFrame reads an answer and leaves it as it is.
func (c *Conn) ReceiveFrame() []byte {
	c.T.Helper()
	frame, err := ReadFrame(c)
	require.NoError(c.T, err)
	return frame
}

// ReadFrame reads an answer and returns what follows its length.
func ReadFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	frame := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(r, frame)
	return frame, err
}

// Decode reads the frame of an answer to a request, and its correlation id.
func Decode(req kmsg.Request, frame []byte) (kmsg.Response, int32, error) {
	if len(frame) < 5 {
		return nil, 0, fmt.Errorf("an answer of %d bytes", len(frame))
	}
	resp, body := req.ResponseKind(), frame[4:]
	if req.Key() != 18 && resp.IsFlexible() { // ApiVersions is answered without tags in the header (KIP-511)
		if body[0] != 0 {
			return nil, 0, fmt.Errorf("%d tags in the header of an answer", body[0])
		}
		body = body[1:]
	}
	return resp, int32(binary.BigEndian.Uint32(frame)), resp.ReadFrom(body)
}

// RequireCode holds an error code to what it should be, and shows the message that came with another one.
func RequireCode(t testing.TB, want, got int16, message *string) {
	t.Helper()
	text := ""
	if message != nil {
		text = *message
	}
	require.Equal(t, want, got, text)
}

// Eventually repeats a request until its answer is as it should be.
func Eventually(t testing.TB, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, time.Minute, 5*time.Millisecond)
}

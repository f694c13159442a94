package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// spliced is a message of parts.
type spliced struct {
	*kmsg.HeartbeatResponse
	parts []Part
}

func (m *spliced) Parts() []Part { return m.parts }

// body gives its pieces, and then an error.
type body struct {
	length int
	pieces []string
	err    error
}

func (b *body) Len() int { return b.length }

func (b *body) Each(visit func(pieces [][]byte) error) error {
	for _, piece := range b.pieces {
		// Each piece lies in the same memory, which is overwritten when visit has returned, and comes in two.
		memory := []byte(piece)
		err := visit([][]byte{memory[:len(memory)/2], memory[len(memory)/2:]})
		clear(memory)
		if err != nil {
			return err
		}
	}
	return b.err
}

func splicing(parts func() []Part) Handler {
	return handlerFunc(func(_ context.Context, r *Request) Response {
		return Later(func(context.Context) Message { return &spliced{answer(r).(*kmsg.HeartbeatResponse), parts()} })
	})
}

func TestPartsAreOneFrame(t *testing.T) {
	large := strings.Repeat("large", 1<<19) // several writes
	s := start(t, Config{Handler: splicing(func() []Part {
		return []Part{
			{Head: []byte("one ")},
			{Head: []byte("two "), Body: &body{length: 11, pieces: []string{"three ", "", "four "}}},
			{Body: &body{}},
			{Body: &body{length: len(large), pieces: []string{large}}},
			{Head: []byte(" end")},
		}
	})})
	c := s.dial(t)
	for i := range int32(3) {
		send(t, c, i, heartbeat("g"))
	}
	for i := range int32(3) {
		id, frame := receive(t, c)
		require.Equal(t, i, id)
		require.True(t, bytes.Equal([]byte("one two three four "+large+" end"), frame))
	}
}

// What was announced and does not come ends the connection: the peer must not take what follows for it.
func TestBodyThatEndsEarlyEndsTheConnection(t *testing.T) {
	for name, b := range map[string]*body{
		"error": {length: 10, pieces: []string{"four"}, err: errors.New("damaged")},
		"short": {length: 10, pieces: []string{"four"}},
		"long":  {length: 3, pieces: []string{"four"}},
	} {
		t.Run(name, func(t *testing.T) {
			done := make(chan struct{})
			s := start(t, Config{Handler: handlerFunc(func(ctx context.Context, r *Request) Response {
				resp := splicing(func() []Part { return []Part{{Body: b}} }).Handle(ctx, r)
				resp.Done = func() { close(done) }
				return resp
			})})
			c := s.dial(t)
			send(t, c, 1, heartbeat("g"))
			<-done
			got, err := io.ReadAll(c)
			require.NoError(t, err)
			require.Less(t, len(got), 4+4+b.length)
		})
	}
}

// A write of nothing waits for a reader on some connections.
func TestEmptyBuffersAreNotWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		c := newConn(New(Config{Handler: handlerFunc(nil)}), server)
		require.NoError(t, c.write([][]byte{nil, {}}))
		require.NoError(t, c.write(nil))
		require.NoError(t, client.Close())
		require.NoError(t, server.Close())
		c.cancel()
	})
}

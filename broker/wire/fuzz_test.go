package wire

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/proto/guard"
)

// FuzzConnection feeds arbitrary bytes to a connection. Whatever comes, the connection ends when the bytes do, and what
// reaches the handler can be decoded without a panic.
func FuzzConnection(f *testing.F) {
	f.Add(frameOf(1, heartbeat("g")))
	f.Add(append(frameOf(1, heartbeat("g")), frameOf(2, heartbeat("h"))...))
	f.Add(frameOf(1, kmsg.NewPtrApiVersionsRequest()))
	versions := kmsg.NewPtrApiVersionsRequest()
	versions.Version = 3
	f.Add(frameOf(1, versions))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte{0, 0, 0, 9, 0, 18, 0, 3, 0, 0, 0, 1, 0xff})
	for key := range int16(128) { // each version of each API
		low, high, ok := guard.Supported(key)
		for version := low; ok && version <= high; version++ {
			req := kmsg.RequestForKey(key)
			req.SetVersion(version)
			f.Add(frameOf(1, req))
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		s := New(Config{MaxFrameBytes: 1 << 20, Handler: handlerFunc(func(_ context.Context, r *Request) Response {
			if r.Unsupported {
				return Response{Close: "unsupported"}
			}
			req := kmsg.RequestForKey(r.Key)
			req.SetVersion(r.Version)
			if err := req.ReadFrom(r.Body); err != nil {
				return Response{Close: err.Error()}
			}
			return Reply(req.ResponseKind())
		})})
		client, server := net.Pipe()
		s.ServeConn(server)
		go io.Copy(io.Discard, client)
		client.SetDeadline(time.Now().Add(time.Minute))
		client.Write(in)
		client.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Fatal(err)
		}
	})
}

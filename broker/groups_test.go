package broker_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker"
)

// startBroker starts a broker in a temporary directory, with groups that do not wait for more members and heartbeat quickly.
func startBroker(t testing.TB, change ...func(*broker.Config)) string {
	t.Helper()
	cfg := broker.DefaultConfig()
	cfg.DataDir, cfg.KafkaAddr, cfg.StateAddr = t.TempDir()+"/data", "127.0.0.1:0", "127.0.0.1:0"
	cfg.Groups.InitialRebalanceDelay = 0
	cfg.Groups.ConsumerHeartbeatInterval = 100 * time.Millisecond
	for _, f := range change {
		f(&cfg)
	}
	b, err := broker.Start(context.Background(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b.KafkaAddr().String()
}

// conn speaks raw requests.
type conn struct {
	t testing.TB
	net.Conn
	buf []byte
}

func dial(t testing.TB, addr string) *conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(2*time.Minute)))
	return &conn{t: t, Conn: c}
}

func (c *conn) send(req kmsg.Request) {
	c.buf = kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(c.buf[:0], req, 1)
	_, err := c.Write(c.buf)
	require.NoError(c.t, err)
}

func (c *conn) receive(req kmsg.Request) kmsg.Response {
	var head [8]byte
	_, err := io.ReadFull(c, head[:])
	require.NoError(c.t, err)
	body := make([]byte, binary.BigEndian.Uint32(head[:])-4)
	_, err = io.ReadFull(c, body)
	require.NoError(c.t, err)
	resp := req.ResponseKind()
	if resp.IsFlexible() {
		body = body[1:]
	}
	require.NoError(c.t, resp.ReadFrom(body))
	return resp
}

func do[R kmsg.Response](c *conn, req kmsg.Request) R {
	c.t.Helper()
	c.send(req)
	return c.receive(req).(R)
}

func createTopic(t testing.TB, addr, name string, partitions int32) {
	t.Helper()
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = name, partitions, 1
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis, req.Topics = 7, 30_000, append(req.Topics, rt)
	require.Zero(t, do[*kmsg.CreateTopicsResponse](dial(t, addr), req).Topics[0].ErrorCode)
}

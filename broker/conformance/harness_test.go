package conformance_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// conn speaks raw requests.
type conn struct {
	t testing.TB
	net.Conn
	correlation int32
	client      string
}

func (b *broker) dial(t testing.TB) *conn {
	t.Helper()
	c, err := net.Dial("tcp", b.addr)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(60*time.Second)))
	return &conn{t: t, Conn: c, client: "test"}
}

// send writes a request and returns its correlation id.
func (c *conn) send(req kmsg.Request) int32 {
	c.t.Helper()
	c.correlation++
	_, err := c.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID(c.client)).AppendRequest(nil, req, c.correlation))
	require.NoError(c.t, err)
	return c.correlation
}

// receive reads the answer to a request that was sent.
func (c *conn) receive(req kmsg.Request) (kmsg.Response, int32) {
	c.t.Helper()
	resp, id, err := c.tryReceive(req)
	require.NoError(c.t, err)
	return resp, id
}

func (c *conn) tryReceive(req kmsg.Request) (kmsg.Response, int32, error) {
	c.t.Helper()
	var head [8]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, 0, err
	}
	body := make([]byte, binary.BigEndian.Uint32(head[:])-4)
	if _, err := io.ReadFull(c, body); err != nil {
		return nil, 0, err
	}
	resp := req.ResponseKind()
	if req.Key() != 18 && resp.IsFlexible() {
		require.Zero(c.t, body[0])
		body = body[1:]
	}
	require.NoError(c.t, resp.ReadFrom(body))
	return resp, int32(binary.BigEndian.Uint32(head[4:])), nil
}

// do sends a request and returns its answer.
func do[R kmsg.Response](c *conn, req kmsg.Request) R {
	c.t.Helper()
	id := c.send(req)
	resp, got := c.receive(req)
	require.Equal(c.t, id, got)
	return resp.(R)
}

// requireClosed waits for the broker to close the connection.
func (c *conn) requireClosed() {
	c.t.Helper()
	_, err := io.ReadFull(c, make([]byte, 1))
	require.Error(c.t, err)
	var ne net.Error
	require.False(c.t, asTimeout(err, &ne), "the broker should have closed the connection")
}

func asTimeout(err error, ne *net.Error) bool {
	e, ok := err.(net.Error)
	*ne = e
	return ok && e.Timeout()
}

var names atomic.Int64

// topicName is a name that no other test or run uses, as the broker may outlive the test.
func topicName(t testing.TB) string {
	return fmt.Sprintf("%s-%d-%d", strings.NewReplacer("/", "-", ",", "-").Replace(t.Name()), time.Now().UnixNano(), names.Add(1))
}

// topic is a topic that createTopic made.
type topic struct {
	name string
	id   [16]byte
}

// createTopic creates a topic, with configs as name, value, name, value; and waits until it can be used.
func createTopic(c *conn, partitions int32, configs ...string) topic {
	c.t.Helper()
	return createNamed(c, topicName(c.t), partitions, configs...)
}

func createNamed(c *conn, name string, partitions int32, configs ...string) topic {
	c.t.Helper()
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = name, partitions, 1
	for i := 0; i < len(configs); i += 2 {
		rt.Configs = append(rt.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: configs[i], Value: &configs[i+1]})
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Version, req.TimeoutMillis = 7, 10_000
	req.Topics = append(req.Topics, rt)
	resp := do[*kmsg.CreateTopicsResponse](c, req)
	require.Len(c.t, resp.Topics, 1)
	requireCode(c.t, 0, resp.Topics[0].ErrorCode, resp.Topics[0].ErrorMessage)
	made := topic{name, resp.Topics[0].TopicID}
	require.Eventually(c.t, func() bool {
		mt := describe(c, name)
		for _, p := range mt.Partitions {
			if p.ErrorCode != 0 || p.Leader < 0 {
				return false
			}
		}
		return mt.ErrorCode == 0 && len(mt.Partitions) == int(max(partitions, 1)) && canRead(c, made)
	}, 10*time.Second, time.Millisecond)
	return made
}

// canRead waits for what follows a leader's election.
func canRead(c *conn, t topic) bool {
	for i := range describe(c, t.name).Partitions {
		if listOffset(c, t, int32(i), -1).ErrorCode != 0 {
			return false
		}
	}
	return true
}

// describe returns one topic's metadata, without creating it.
func describe(c *conn, name string) kmsg.MetadataResponseTopic {
	c.t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	req.Version = 12
	req.Topics = []kmsg.MetadataRequestTopic{{Topic: &name}}
	resp := do[*kmsg.MetadataResponse](c, req)
	require.Len(c.t, resp.Topics, 1)
	return resp.Topics[0]
}

func requireCode(t testing.TB, want, got int16, message *string) {
	t.Helper()
	text := ""
	if message != nil {
		text = *message
	}
	require.Equal(t, want, got, text)
}

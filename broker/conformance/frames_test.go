package conformance_test

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

func encode(req kmsg.Request, correlation int32, opts ...kmsg.RequestFormatterOpt) []byte {
	return kmsg.NewRequestFormatter(opts...).AppendRequest(nil, req, correlation)
}

// TCP knows no frames: a request may come in pieces, and several at once.
func TestFramesInPieces(t *testing.T) {
	c := start(t).Dial(t)
	req := metadataRequest(9)
	for _, b := range encode(req, -5) {
		_, err := c.Write([]byte{b})
		require.NoError(t, err)
	}
	_, id := c.Receive(req)
	require.Equal(t, int32(-5), id, "a correlation id is anything")
	_, err := c.Write(append(append(encode(req, 1), encode(req, 2)...), encode(req, 3)...))
	require.NoError(t, err)
	for want := int32(1); want <= 3; want++ {
		_, id := c.Receive(req)
		require.Equal(t, want, id)
	}
}

func metadataRequest(version int16) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.Version, req.Topics = version, []kmsg.MetadataRequestTopic{}
	return req
}

// The client id may be null.
func TestClientIDMayBeNull(t *testing.T) {
	c := start(t).Dial(t)
	for _, version := range []int16{1, 9} {
		req := metadataRequest(version)
		_, err := c.Write(encode(req, 7))
		require.NoError(t, err)
		resp, id := c.Receive(req)
		require.Equal(t, int32(7), id)
		require.Len(t, resp.(*kmsg.MetadataResponse).Brokers, 1)
	}
}

// Tags that nobody knows are skipped (KIP-482), in the header and in the body.
func TestUnknownTagsAreIgnored(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	req := metadataRequest(9)
	one := kmsg.NewMetadataRequestTopic()
	one.Topic = &tp.Name
	one.UnknownTags.Set(99, []byte("in the topic"))
	req.Topics = append(req.Topics, one)
	req.UnknownTags.Set(100, []byte("in the body"))
	frame := encode(req, 8, kmsg.FormatterClientID("test"))
	// The header's tags come behind its client id.
	const header = 4 + 2 + 2 + 4 + 2 + len("test")
	require.Zero(t, frame[header])
	frame = append(append(append([]byte{}, frame[:header]...), 1, 101, 2, 'x', 'y'), frame[header+1:]...)
	binary.BigEndian.PutUint32(frame, uint32(len(frame)-4))
	_, err := c.Write(frame)
	require.NoError(t, err)
	resp, _ := c.Receive(req)
	require.Len(t, resp.(*kmsg.MetadataResponse).Topics, 1)
	require.Zero(t, resp.(*kmsg.MetadataResponse).Topics[0].ErrorCode)
}

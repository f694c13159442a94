package conformance_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

func apiVersionsRequest(version int16) *kmsg.ApiVersionsRequest {
	req := kmsg.NewPtrApiVersionsRequest()
	req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = version, "test", "1.0"
	return req
}

func TestApiVersionsUnknownVersion(t *testing.T) {
	c := start(t).Dial(t)
	// The answer to a version that the broker does not know is in v0 (KIP-511).
	_, err := c.Write([]byte{0, 0, 0, 15, 0, 18, 0, 77, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 0})
	require.NoError(t, err)
	v0 := apiVersionsRequest(0)
	resp, id := c.Receive(v0)
	require.Equal(t, int32(1), id)
	versions := resp.(*kmsg.ApiVersionsResponse)
	require.Equal(t, int16(35), versions.ErrorCode)
	require.Len(t, versions.ApiKeys, 1)
	require.Equal(t, int16(18), versions.ApiKeys[0].ApiKey)
	require.Equal(t, int16(4), versions.ApiKeys[0].MaxVersion)
	require.Zero(t, raw.Do[*kmsg.ApiVersionsResponse](c, apiVersionsRequest(3)).ErrorCode, "the connection goes on")
}

func TestApiVersionsBadSoftware(t *testing.T) {
	b := start(t)
	for _, name := range []string{"", "-x", "x-", "a b", "a/b"} {
		req := apiVersionsRequest(3)
		req.ClientSoftwareName = name
		require.Equal(t, int16(42), raw.Do[*kmsg.ApiVersionsResponse](b.Dial(t), req).ErrorCode, "%q", name)
	}
}

func TestOtherUnknownVersionsClose(t *testing.T) {
	b := start(t)
	for name, frame := range map[string][]byte{
		"metadata v99":   {0, 0, 0, 10, 0, 3, 0, 99, 0, 0, 0, 1, 0, 0},
		"unknown API":    {0, 0, 0, 10, 3, 3, 0, 0, 0, 0, 0, 1, 0, 0},
		"produce v2":     {0, 0, 0, 10, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0},
		"oversized":      {0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 1, 0, 0, 0, 1},
		"malformed body": {0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0, 0, 0x7f, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c := b.Dial(t)
			_, err := c.Write(frame)
			require.NoError(t, err)
			c.RequireClosed()
		})
	}
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	slow := raw.FetchFrom(tp, 0, 12)
	slow.MaxWaitMillis = 100
	sent := []kmsg.Request{slow, apiVersionsRequest(3), raw.ProduceTo(tp, 0, 9, raw.Seal(raw.NewBatch(raw.KV("k", "v")))), apiVersionsRequest(0)}
	var ids []int32
	for _, req := range sent {
		ids = append(ids, c.Send(req))
	}
	for i, req := range sent {
		_, id := c.Receive(req)
		require.Equal(t, ids[i], id)
	}
}

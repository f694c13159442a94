package conformance_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// TestFrameOverTheLimitCloses: socket.request.max.bytes is 100 MiB, and one of just that size may come.
func TestFrameOverTheLimitCloses(t *testing.T) {
	const limit = 100 << 20
	for name, size := range map[string]uint32{"one byte over": limit + 1, "negative": 1 << 31} {
		c := start(t).Dial(t)
		_, err := c.Write(binary.BigEndian.AppendUint32(nil, size))
		require.NoError(t, err, name)
		c.RequireClosed()
	}
	c := start(t).Dial(t)
	_, err := c.Write(binary.BigEndian.AppendUint32(nil, limit))
	require.NoError(t, err)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(300*time.Millisecond)))
	_, err = c.Read(make([]byte, 1))
	require.ErrorContains(t, err, "timeout", "the broker waits for it")
}

// TestManyFramesAtOnce: more than are worked on at a time.
func TestManyFramesAtOnce(t *testing.T) {
	c := start(t).Dial(t)
	req := apiVersionsRequest(3)
	const n = 200
	var all []byte
	for i := range int32(n) {
		all = append(all, encode(req, i)...)
	}
	_, err := c.Write(all)
	require.NoError(t, err)
	for i := range int32(n) {
		_, id := c.Receive(req)
		require.Equal(t, i, id)
	}
}

// TestAcks0BetweenOthers: no answer takes its place.
func TestAcks0BetweenOthers(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	var waiting []int32
	for range 20 {
		silent := raw.ProduceTo(tp, 0, 9, raw.Seal(raw.NewBatch(raw.KV("k", "v"))))
		silent.Acks = 0
		c.Send(silent)
		waiting = append(waiting, c.Send(apiVersionsRequest(0)))
	}
	for _, id := range waiting {
		_, got := c.Receive(apiVersionsRequest(0))
		require.Equal(t, id, got)
	}
	require.Eventually(t, func() bool { return raw.ListOffset(c, tp, 0, -1).Offset == 20 }, time.Minute, time.Millisecond)
}

// TestClosedConnectionLeavesOthersAlone: what one client sends wrong is its own trouble.
func TestClosedConnectionLeavesOthersAlone(t *testing.T) {
	b := start(t)
	good, bad := b.Dial(t), b.Dial(t)
	tp := raw.CreateTopic(good, 1)
	waiting := raw.FetchFrom(tp, 0, 12)
	waiting.MaxWaitMillis = 200
	good.Send(waiting)
	_, err := bad.Write([]byte{0xff, 0xff, 0xff, 0xff})
	require.NoError(t, err)
	bad.RequireClosed()
	resp, _ := good.Receive(waiting)
	require.Zero(t, resp.(*kmsg.FetchResponse).Topics[0].Partitions[0].ErrorCode)
}

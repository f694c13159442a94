package conformance_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestFrameOverTheLimitCloses: socket.request.max.bytes is 100 MiB, and one of just that size may come.
func TestFrameOverTheLimitCloses(t *testing.T) {
	const limit = 100 << 20
	for name, size := range map[string]uint32{"one byte over": limit + 1, "negative": 1 << 31} {
		c := start(t).dial(t)
		_, err := c.Write(binary.BigEndian.AppendUint32(nil, size))
		require.NoError(t, err, name)
		c.requireClosed()
	}
	c := start(t).dial(t)
	_, err := c.Write(binary.BigEndian.AppendUint32(nil, limit))
	require.NoError(t, err)
	require.NoError(t, c.SetReadDeadline(time.Now().Add(300*time.Millisecond)))
	_, err = c.Read(make([]byte, 1))
	require.ErrorContains(t, err, "timeout", "the broker waits for it")
}

// TestManyFramesAtOnce: more than are worked on at a time.
func TestManyFramesAtOnce(t *testing.T) {
	c := start(t).dial(t)
	req := apiVersionsRequest(3)
	const n = 200
	var all []byte
	for i := range int32(n) {
		all = append(all, encode(req, i)...)
	}
	_, err := c.Write(all)
	require.NoError(t, err)
	for i := range int32(n) {
		_, id := c.receive(req)
		require.Equal(t, i, id)
	}
}

// TestAcks0BetweenOthers: no answer takes its place.
func TestAcks0BetweenOthers(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1)
	var waiting []int32
	for range 20 {
		silent := produceTo(tp, 0, 9, seal(newBatch(kv("k", "v"))))
		silent.Acks = 0
		c.send(silent)
		waiting = append(waiting, c.send(apiVersionsRequest(0)))
	}
	for _, id := range waiting {
		_, got := c.receive(apiVersionsRequest(0))
		require.Equal(t, id, got)
	}
	require.Eventually(t, func() bool { return listOffset(c, tp, 0, -1).Offset == 20 }, 10*time.Second, time.Millisecond)
}

// TestClosedConnectionLeavesOthersAlone: what one client sends wrong is its own trouble.
func TestClosedConnectionLeavesOthersAlone(t *testing.T) {
	b := start(t)
	good, bad := b.dial(t), b.dial(t)
	tp := createTopic(good, 1)
	waiting := fetchFrom(tp, 0, 12)
	waiting.MaxWaitMillis = 200
	good.send(waiting)
	_, err := bad.Write([]byte{0xff, 0xff, 0xff, 0xff})
	require.NoError(t, err)
	bad.requireClosed()
	resp, _ := good.receive(waiting)
	require.Zero(t, resp.(*kmsg.FetchResponse).Topics[0].Partitions[0].ErrorCode)
}

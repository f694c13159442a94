package wire

import (
	"context"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

// TestPeersDoNotMakeSeries: whatever keys and versions are asked for, the series are those of the table and one more.
func TestPeersDoNotMakeSeries(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := start(t, Config{Metrics: reg, Handler: handlerFunc(func(_ context.Context, r *Request) Response {
		if r.Unsupported {
			return Response{Close: "unsupported"}
		}
		return Reply(answer(r))
	})})
	for i := range 20 {
		frame := binary.BigEndian.AppendUint32(nil, minFrameBytes)
		frame = binary.BigEndian.AppendUint16(frame, uint16(12+i%2*1000))
		frame = binary.BigEndian.AppendUint16(frame, uint16(1000+i))
		c := s.dial(t)
		_, err := c.Write(append(frame, 0, 0, 0, 1))
		require.NoError(t, err)
		requireClosed(t, c)
	}
	c := s.dial(t)
	send(t, c, 1, heartbeat("g"))
	receive(t, c)
	const name = "keyframe_kafka_requests_total"
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP keyframe_kafka_requests_total Kafka requests answered, by API and version.
# TYPE keyframe_kafka_requests_total counter
keyframe_kafka_requests_total{api="Heartbeat",version="3"} 1
keyframe_kafka_requests_total{api="unsupported",version="unsupported"} 20
`), name))
}

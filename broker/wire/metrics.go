package wire

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// metrics of the Kafka listener.
type metrics struct {
	requests    *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
	bytesIn     prometheus.Counter
	bytesOut    prometheus.Counter
	connections prometheus.Gauge
	refused     prometheus.Counter
	closed      prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keyframe_kafka_requests_total", Help: "Kafka requests answered, by API and version."}, []string{"api", "version"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "keyframe_kafka_request_seconds", Help: "Time from the last byte of a Kafka request to its answer being ready, its waits included.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 4, 10)}, []string{"api"}),
		bytesIn:     prometheus.NewCounter(prometheus.CounterOpts{Name: "keyframe_kafka_received_bytes_total", Help: "Bytes received on Kafka connections."}),
		bytesOut:    prometheus.NewCounter(prometheus.CounterOpts{Name: "keyframe_kafka_sent_bytes_total", Help: "Bytes sent on Kafka connections."}),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{Name: "keyframe_kafka_connections", Help: "Open Kafka connections."}),
		refused:     prometheus.NewCounter(prometheus.CounterOpts{Name: "keyframe_kafka_connections_refused_total", Help: "Kafka connections refused: too many, or too often from one address."}),
		closed:      prometheus.NewCounter(prometheus.CounterOpts{Name: "keyframe_kafka_connections_closed_total", Help: "Kafka connections closed because of what the peer sent."}),
	}
	if reg != nil {
		reg.MustRegister(m.requests, m.seconds, m.bytesIn, m.bytesOut, m.connections, m.refused, m.closed)
	}
	return m
}

// request counts an answered request. What is not supported shares one label: key and version are any number a peer likes,
// and each pair of labels is kept for good.
func (m *metrics) request(r *Request, now time.Time) {
	api, version := "unsupported", "unsupported"
	if !r.Unsupported {
		api, version = kmsg.NameForKey(r.Key), strconv.Itoa(int(r.Version))
	}
	m.requests.WithLabelValues(api, version).Inc()
	m.seconds.WithLabelValues(api).Observe(now.Sub(r.Received).Seconds())
}

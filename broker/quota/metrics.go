package quota

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	count   *prometheus.CounterVec
	seconds *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		count: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keyframe_kafka_throttled_total", Help: "Requests and connections that were over a quota, by quota."}, []string{"quota"}),
		seconds: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keyframe_kafka_throttle_seconds_total", Help: "Time for which clients were told to wait, by quota."}, []string{"quota"}),
	}
	if reg != nil {
		reg.MustRegister(m.count, m.seconds)
	}
	return m
}

func (m *metrics) throttled(quota string, wait time.Duration) {
	m.count.WithLabelValues(quota).Inc()
	m.seconds.WithLabelValues(quota).Add(wait.Seconds())
}

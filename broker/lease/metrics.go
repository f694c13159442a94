package lease

import "github.com/prometheus/client_golang/prometheus"

var (
	descOut   = prometheus.NewDesc("keyframe_leases", "Leases that are out.", nil, nil)
	descEnded = prometheus.NewDesc("keyframe_leases_ended_total",
		"Leases that ended, by reason (expired, released, replaced, revoked, topic_deleted).", []string{"reason"}, nil)
)

// collector reads a desk's counts.
type collector struct{ d *Desk }

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	out <- descOut
	out <- descEnded
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	leave := c.d.enter()
	n, counts := len(c.d.m.leases), c.d.m.counts
	leave()
	out <- prometheus.MustNewConstMetric(descOut, prometheus.GaugeValue, float64(n))
	for why, count := range counts {
		out <- prometheus.MustNewConstMetric(descEnded, prometheus.CounterValue, float64(count), endNames[why])
	}
}

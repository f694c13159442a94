package repair

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	scanSeconds prometheus.Histogram
	corrupt     prometheus.Counter
	refused     *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer, d *Desk) *metrics {
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "keyframe_repair_" + name, Help: help}, value)
	}
	m := &metrics{
		scanSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "keyframe_repair_scan_seconds", Help: "Time of reading a whole frame back before repairs from it.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		}),
		corrupt: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "keyframe_repair_corrupt_total", Help: "Frames that replicas wanted to be repaired from, and whose rows are not what was published.",
		}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keyframe_repair_refused_total", Help: "Requests of repairs that were refused, by reason (corrupt, disputed, busy, large, other).",
		}, []string{"reason"}),
	}
	if r != nil {
		r.MustRegister(m.scanSeconds, m.corrupt, m.refused,
			gauge("frames", "Frames that are held for repairs.", func() float64 { n, _ := d.held(); return float64(n) }),
			gauge("held_bytes", "Memory of the frames that are held for repairs.", func() float64 { _, b := d.held(); return float64(b) }))
	}
	return m
}

func (m *metrics) refuse(err error) {
	reason := "other"
	for _, x := range []struct {
		err    error
		reason string
	}{{ErrCorrupt, "corrupt"}, {ErrDisputed, "disputed"}, {ErrBusy, "busy"}, {ErrTooLarge, "large"}} {
		if errors.Is(err, x.err) {
			reason = x.reason
			break
		}
	}
	m.refused.WithLabelValues(reason).Inc()
}

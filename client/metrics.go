package client

import (
	"errors"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts verdicts and events; nil counts nothing.
type metrics struct {
	verdicts *prometheus.CounterVec
	events   *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	if reg == nil {
		return nil
	}
	return &metrics{
		verdicts: counter(reg, "keyframe_replica_verdicts_total", "Comparisons of a partition with the log, by outcome.", "outcome"),
		events:   counter(reg, "keyframe_replica_events_total", "Bootstraps, resets, failures of a partition, by kind.", "kind"),
	}
}

// counter registers a vector, or finds the one that another replica of the process registered.
func counter(reg prometheus.Registerer, name, help, label string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"topic", "partition", label})
	var twice prometheus.AlreadyRegisteredError
	if err := reg.Register(c); errors.As(err, &twice) {
		if first, ok := twice.ExistingCollector.(*prometheus.CounterVec); ok {
			return first
		}
	}
	return c
}

func (m *metrics) verdict(v Verdict) {
	if m != nil {
		m.verdicts.WithLabelValues(v.Topic, strconv.Itoa(int(v.Partition)), v.Outcome.String()).Inc()
	}
}

func (m *metrics) event(e Event) {
	if m != nil {
		m.events.WithLabelValues(e.Topic, strconv.Itoa(int(e.Partition)), e.Kind.String()).Inc()
	}
}

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
	repairs  *prometheus.CounterVec
	keys     *prometheus.CounterVec
	bytes    *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	if reg == nil {
		return nil
	}
	return &metrics{
		verdicts: counter(reg, "keyframe_replica_verdicts_total", "Comparisons of a partition with the log, by outcome.", "outcome"),
		events:   counter(reg, "keyframe_replica_events_total", "Bootstraps, resets, failures of a partition, by kind.", "kind"),
		repairs:  counter(reg, "keyframe_replica_repairs_total", "Repairs of a partition, by the method that found the difference.", "method"),
		keys:     counter(reg, "keyframe_replica_repaired_keys_total", "Keys that differed from the log and were put right, by method.", "method"),
		bytes:    counter(reg, "keyframe_replica_repair_bytes_total", "Bytes received for repairs, by method.", "method"),
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

func (m *metrics) repaired(topic string, partition int32, r RepairResult) {
	if m != nil {
		labels := []string{topic, strconv.Itoa(int(partition)), string(r.Method)}
		m.repairs.WithLabelValues(labels...).Inc()
		m.keys.WithLabelValues(labels...).Add(float64(r.Keys))
		m.bytes.WithLabelValues(labels...).Add(float64(r.Bytes))
	}
}

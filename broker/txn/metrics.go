package txn

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics of a coordinator. The gauge is read from the transactions when somebody asks.
type metrics struct {
	ends     *prometheus.CounterVec
	timeouts prometheus.Counter
	all      []prometheus.Collector
}

func newMetrics(reg prometheus.Registerer, c *Coordinator) *metrics {
	m := &metrics{
		ends:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "keyframe_transactions_ended_total", Help: "Transactions that were ended, by result."}, []string{"result"}),
		timeouts: prometheus.NewCounter(prometheus.CounterOpts{Name: "keyframe_transactions_timed_out_total", Help: "Transactions that were aborted since they took longer than their time-out."}),
	}
	m.all = []prometheus.Collector{m.ends, m.timeouts, gauge{c}}
	if reg != nil {
		reg.MustRegister(m.all...)
	}
	return m
}

func (m *metrics) ended(commit bool) {
	result := "abort"
	if commit {
		result = "commit"
	}
	m.ends.WithLabelValues(result).Inc()
}

func (m *metrics) unregister(reg prometheus.Registerer) {
	for _, c := range m.all {
		reg.Unregister(c)
	}
}

// gauge counts transactional ids.
type gauge struct{ c *Coordinator }

func (gauge) desc() *prometheus.Desc {
	return prometheus.NewDesc("keyframe_transactional_ids", "Transactional ids, by the state of their transaction.", []string{"state"}, nil)
}

// Describe implements prometheus.Collector.
func (g gauge) Describe(ch chan<- *prometheus.Desc) { ch <- g.desc() }

// Collect implements prometheus.Collector.
func (g gauge) Collect(ch chan<- prometheus.Metric) {
	var states [Dead]int
	g.c.mu.Lock()
	all := g.c.entriesLocked()
	g.c.mu.Unlock()
	for _, e := range all {
		e.mu.Lock()
		if e.txn != nil && e.txn.state < Dead {
			states[e.txn.state]++
		}
		e.mu.Unlock()
	}
	for s, n := range states {
		ch <- prometheus.MustNewConstMetric(g.desc(), prometheus.GaugeValue, float64(n), State(s).String())
	}
}

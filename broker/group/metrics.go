package group

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyframelog/keyframe/broker/group/consumer"
)

// metrics of a coordinator. The gauges are read from the groups when somebody asks.
type metrics struct {
	rebalances prometheus.Counter
	commits    prometheus.Counter
	expired    prometheus.Counter
	all        []prometheus.Collector
}

func newMetrics(reg prometheus.Registerer, c *Coordinator) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &metrics{
		rebalances: counter("keyframe_group_rebalances_total", "Generations of consumer groups that were begun."),
		commits:    counter("keyframe_group_offset_commits_total", "Offsets of consumer groups that were committed."),
		expired:    counter("keyframe_group_offsets_expired_total", "Offsets of consumer groups that were dropped when their retention was over."),
	}
	m.all = []prometheus.Collector{m.rebalances, m.commits, m.expired, gauges{c}}
	if reg != nil {
		reg.MustRegister(m.all...)
	}
	return m
}

func (m *metrics) unregister(reg prometheus.Registerer) {
	for _, c := range m.all {
		reg.Unregister(c)
	}
}

// gauges counts groups, members and offsets.
type gauges struct{ c *Coordinator }

func (gauges) descs() (groups, members, offsets *prometheus.Desc) {
	return prometheus.NewDesc("keyframe_groups", "Consumer groups, by type and state.", []string{"type", "state"}, nil),
		prometheus.NewDesc("keyframe_group_members", "Members of consumer groups.", nil, nil),
		prometheus.NewDesc("keyframe_group_offsets", "Committed offsets of consumer groups.", nil, nil)
}

// Describe implements prometheus.Collector.
func (g gauges) Describe(ch chan<- *prometheus.Desc) {
	groups, members, offsets := g.descs()
	ch <- groups
	ch <- members
	ch <- offsets
}

// Collect implements prometheus.Collector.
func (g gauges) Collect(ch chan<- prometheus.Metric) {
	type kind struct{ typ, state string }
	states := map[kind]int{}
	for s := Empty; s < Dead; s++ {
		states[kind{ClassicType, s.String()}] = 0
	}
	for _, s := range []consumer.State{consumer.Empty, consumer.Assigning, consumer.Reconciling, consumer.Stable} {
		states[kind{ConsumerType, string(s)}] = 0
	}
	var members, offsets int
	g.c.mu.Lock()
	for _, e := range g.c.entries {
		if e.group == nil {
			continue
		}
		l := e.group.listing()
		if l.State == Dead.String() {
			continue
		}
		states[kind{l.Type, l.State}]++
		members += e.group.size()
		offsets += len(e.offsets)
	}
	g.c.mu.Unlock()
	gd, md, od := g.descs()
	for k, n := range states {
		ch <- prometheus.MustNewConstMetric(gd, prometheus.GaugeValue, float64(n), k.typ, k.state)
	}
	ch <- prometheus.MustNewConstMetric(md, prometheus.GaugeValue, float64(members))
	ch <- prometheus.MustNewConstMetric(od, prometheus.GaugeValue, float64(offsets))
}

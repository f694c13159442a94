package replicas

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	api "github.com/keyframelog/keyframe/proto/state"
)

// counts are the counters of one partition.
type counts struct {
	verdicts                    [outcomes]uint64
	repairs, repaired, repBytes uint64
}

const outcomes = 5 // of api.Outcome

func outcomeLabel(o int) string {
	return [outcomes]string{"", "equal", "drifted", "inconclusive", "error"}[o]
}

func (t *topic) countsOf(partition int32) *counts {
	c := t.counts[partition]
	if c == nil {
		c = &counts{}
		t.counts[partition] = c
	}
	return c
}

// said identifies a verdict: the same one is reported again and again, until there is another.
type said struct {
	incarnation string
	outcome     api.Outcome
	at, timeMs  int64
}

func verdict(x *api.ReplicaPartition) said {
	return said{string(x.GetIncarnation()), x.GetOutcome(), x.GetCompared().GetOffset(), x.GetComparedMs()}
}

// add counts what happened between two reports of a replica. What had happened before the first was counted by who heard it, or by nobody:
// a broker that starts must not count it again.
func (c *counts) add(before, now *api.ReplicaPartition) {
	if v := verdict(now); v.outcome > 0 && int(v.outcome) < outcomes && (before == nil || verdict(before) != v) {
		c.verdicts[v.outcome]++
	}
	if before == nil {
		return
	}
	repairs := now.Repairs - before.Repairs
	if repairs < 0 { // another run
		repairs = now.Repairs
	}
	if repairs > 0 {
		c.repairs += uint64(repairs)
		c.repaired += uint64(max(now.Repair.GetKeys(), 0))
		c.repBytes += uint64(max(now.Repair.GetBytes(), 0))
	}
}

// metrics are read from the registry when they are collected, so that they go with the topics.
type metrics struct{ r *Registry }

func description(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("keyframe_replicas"+name, help, labels, nil)
}

var (
	replicaCount = description("", "Replicas that report, by processes.", "topic", "partition")
	drifted      = description("_drifted", "Replicas whose latest comparison proved that they differ from the log.", "topic", "partition")
	lagRecords   = description("_lag_records_max", "Offsets up to the last stable one that the replica furthest behind lacks, aborted records and the markers of transactions included.", "topic", "partition")
	lagSeconds   = description("_lag_seconds_max", "For how long the first offset that a replica lacks has been there, of all replicas the longest.", "topic", "partition")
	disputed     = description("_disputed",
		"1: replicas agree with one another and not with the broker, and nothing is repaired from the partition; see the log.", "topic", "partition")
	verdicts      = description("_verdicts_total", "Comparisons that replicas reported, by outcome.", "topic", "partition", "outcome")
	repairs       = description("_repairs_total", "Repairs that replicas reported.", "topic", "partition")
	repairedKeys  = description("_repaired_keys_total", "Keys that differed in the repairs reported.", "topic", "partition")
	repairedBytes = description("_repaired_bytes_total", "Bytes that the repairs reported took.", "topic", "partition")
	sharedNames   = description("_shared_names", "Names that several processes report under: copies of one directory, or one name given twice; see the log.", "topic")
	refused       = description("_refused_total", "Reports refused because as many replicas report as are kept.")
	keptBytes     = description("_bytes", "Estimate of the memory of what is kept of reports.")
)

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{replicaCount, drifted, lagRecords, lagSeconds, disputed, verdicts, repairs, repairedKeys, repairedBytes, sharedNames, refused, keptBytes} {
		ch <- d
	}
}

// summary is the gauges of one partition.
type summary struct {
	replicas, drifted, lagRecords, lagMs int64
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	type key struct {
		topic     string
		partition int32
	}
	gauges := map[key]*summary{}
	for _, rep := range m.r.Replicas("") { // the lag of those that are overdue is looked up, so without the lock
		for _, x := range rep.Partitions {
			k := key{rep.Topic, x.Partition}
			if gauges[k] == nil {
				gauges[k] = &summary{}
			}
			gauges[k].add(x)
		}
	}
	m.r.mu.Lock()
	defer m.r.mu.Unlock()
	number := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	number(refused, prometheus.CounterValue, float64(m.r.refused))
	number(keptBytes, prometheus.GaugeValue, float64(m.r.bytes))
	for _, t := range m.r.topics {
		shared := 0
		for _, n := range t.replicas {
			if len(n.all) > 1 {
				shared++
			}
		}
		number(sharedNames, prometheus.GaugeValue, float64(shared), t.Name)
		for no, c := range t.counts {
			labels := []string{t.Name, strconv.Itoa(int(no))}
			var g summary
			if s := gauges[key{t.Name, no}]; s != nil {
				g = *s
			}
			isDisputed := 0.0
			if t.disputes[no] != nil {
				isDisputed = 1
			}
			number(replicaCount, prometheus.GaugeValue, float64(g.replicas), labels...)
			number(drifted, prometheus.GaugeValue, float64(g.drifted), labels...)
			number(lagRecords, prometheus.GaugeValue, float64(g.lagRecords), labels...)
			number(lagSeconds, prometheus.GaugeValue, float64(g.lagMs)/1000, labels...)
			number(disputed, prometheus.GaugeValue, isDisputed, labels...)
			for o := 1; o < outcomes; o++ {
				number(verdicts, prometheus.CounterValue, float64(c.verdicts[o]), append(labels[:2:2], outcomeLabel(o))...)
			}
			number(repairs, prometheus.CounterValue, float64(c.repairs), labels...)
			number(repairedKeys, prometheus.CounterValue, float64(c.repaired), labels...)
			number(repairedBytes, prometheus.CounterValue, float64(c.repBytes), labels...)
		}
	}
}

func (s *summary) add(x *api.ReplicaPartition) {
	s.replicas++
	if x.Outcome == api.Outcome_OUTCOME_DRIFTED {
		s.drifted++
	}
	s.lagRecords, s.lagMs = max(s.lagRecords, x.LagRecords), max(s.lagMs, x.LagMs)
}

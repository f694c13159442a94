package broker

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyframelog/keyframe/storage/engine"
)

// storageMetrics publishes the numbers of the data directory; they are taken when they are asked for.
type storageMetrics struct{ dir *engine.Dir }

// storageMetric is one number of a database.
type storageMetric struct {
	name, help string
	kind       prometheus.ValueType
	value      func(*engine.DBMetrics) float64
}

func storageMetricTable() []storageMetric {
	return []storageMetric{
		{"stalls_total", "Writes that Pebble held back.", prometheus.CounterValue, func(m *engine.DBMetrics) float64 { return float64(m.Stalls) }},
		{"stall_seconds_total", "Time for which Pebble held writes back.", prometheus.CounterValue, func(m *engine.DBMetrics) float64 { return m.StallSeconds }},
		{"flushes_total", "Memtable flushes.", prometheus.CounterValue, func(m *engine.DBMetrics) float64 { return float64(m.Flushes) }},
		{"compactions_total", "Compactions.", prometheus.CounterValue, func(m *engine.DBMetrics) float64 { return float64(m.Compactions) }},
		{"blob_rewrite_bytes_total", "Blob file bytes written again to free garbage.", prometheus.CounterValue, func(m *engine.DBMetrics) float64 { return float64(m.BlobRewriteOut) }},
		{"corruptions_total", "Damaged blocks met by reads and compactions.", prometheus.CounterValue, func(m *engine.DBMetrics) float64 { return float64(m.Corruptions) }},
		{"background_failures_total", "Flushes and compactions that failed and are retried.", prometheus.CounterValue, func(m *engine.DBMetrics) float64 { return float64(m.BackgroundFails) }},
		{"disk_bytes", "Size of all files, the write-ahead log included.", prometheus.GaugeValue, func(m *engine.DBMetrics) float64 { return float64(m.DiskBytes) }},
		{"wal_bytes", "Size of the write-ahead log.", prometheus.GaugeValue, func(m *engine.DBMetrics) float64 { return float64(m.WALBytes) }},
		{"memtable_bytes", "Memory of memtables.", prometheus.GaugeValue, func(m *engine.DBMetrics) float64 { return float64(m.MemTableBytes) }},
		{"read_amplification", "Sorted runs that a read may have to look into.", prometheus.GaugeValue, func(m *engine.DBMetrics) float64 { return float64(m.ReadAmp) }},
	}
}

func (m storageMetric) desc() *prometheus.Desc {
	return prometheus.NewDesc("keyframe_storage_"+m.name, m.help, []string{"database"}, nil)
}

func (s *storageMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, m := range storageMetricTable() {
		out <- m.desc()
	}
}

func (s *storageMetrics) Collect(out chan<- prometheus.Metric) {
	now := s.dir.Metrics()
	for _, m := range storageMetricTable() {
		out <- prometheus.MustNewConstMetric(m.desc(), m.kind, m.value(&now.Log), "log")
		out <- prometheus.MustNewConstMetric(m.desc(), m.kind, m.value(&now.Table), "table")
	}
}

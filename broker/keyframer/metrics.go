package keyframer

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/log"
	"github.com/keyframelog/keyframe/storage/table"
)

// metrics are counted as things happen, and read from the partitions when they are collected.
type metrics struct {
	k *Keyframer

	foldSeconds   prometheus.Histogram
	verifySeconds prometheus.Histogram
	folds         *prometheus.CounterVec
	foldedKeys    prometheus.Counter

	scrubbedRows, scrubs, scrubCorrupt prometheus.Counter
}

// partitionCounts are the counters of one partition. They are its own, so that they go with it: a vector would keep the labels
// of every topic that ever was.
type partitionCounts struct {
	trims, verifyFailed, staleFetches atomic.Uint64
}

var byPartition = []string{"topic", "partition"}

func newMetrics(k *Keyframer) *metrics {
	seconds := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "keyframe_" + name, Help: help, Buckets: prometheus.ExponentialBuckets(0.001, 2, 16),
		})
	}
	return &metrics{
		k:             k,
		foldSeconds:   seconds("fold_commit_seconds", "Time of one commit of folds, which partitions share."),
		verifySeconds: seconds("frame_verify_seconds", "Time of reading a frame back before a trim."),
		folds: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "keyframe_folds_total", Help: "Folds of partitions by result (frame, fold, error).",
		}, []string{"result"}),
		foldedKeys: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "keyframe_folded_keys_total", Help: "Keys touched by folds.",
		}),
		scrubbedRows: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "keyframe_scrubbed_rows_total", Help: "Rows that were read back in the background and hashed.",
		}),
		scrubs: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "keyframe_scrubs_total", Help: "Frames of partitions that were read back in the background, and are what was folded.",
		}),
		scrubCorrupt: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "keyframe_scrub_corrupt_total", Help: "How often rows of a partition were found damaged on disk, in the background or by who read them, see the log.",
		}),
	}
}

// committed counts one commit.
func (m *metrics) committed(folds []table.Fold, took time.Duration, err error) {
	m.foldSeconds.Observe(took.Seconds())
	for i := range folds {
		switch {
		case err != nil:
			m.folds.WithLabelValues("error").Inc()
			continue
		case folds[i].Cut:
			m.folds.WithLabelValues("frame").Inc()
		default:
			m.folds.WithLabelValues("fold").Inc()
		}
		m.foldedKeys.Add(float64(len(folds[i].Changes)))
	}
}

func description(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("keyframe_"+name, help, labels, nil)
}

var (
	lagRecords      = description("keyframer_lag_records", "Committed records that are not applied yet.", byPartition...)
	lagSeconds      = description("keyframer_lag_seconds", "How long committed records have been waiting to be applied.", byPartition...)
	positionOffset  = description("keyframer_position", "End of what is applied.", byPartition...)
	foldedOffset    = description("keyframer_folded_position", "End of what is folded to disk.", byPartition...)
	deltaStart      = description("delta_start_offset", "From here on raw deltas are kept; below it only rows.", byPartition...)
	frameCount      = description("frames", "Key frames that are retained.", byPartition...)
	rowCount        = description("rows", "Live rows of the folded table.", byPartition...)
	intervalBytes   = description("keyframer_interval_bytes", "Memory of the open interval.", byPartition...)
	failedPartition = description("keyframer_failed", "1: the partition cannot be folded, see the log.", byPartition...)
	rejected        = description("fold_rejected_total", "Deltas that the fold skipped because of the state they met.",
		append([]string{"reason"}, byPartition...)...)
	trims        = description("trims_total", "Moves of the delta start offset.", byPartition...)
	verifyFailed = description("frame_verify_failed_total",
		"Frames that did not hash to their digest when read back. Not 0: nothing of the partition is trimmed any more.", byPartition...)
	rottenRows   = description("rows_damaged", "1: rows are damaged on disk, and nothing of the partition is trimmed any more.", byPartition...)
	staleFetches = description("stale_fetches_total", "Fetches below the tombstone horizon, which may miss deletes.", byPartition...)
	heldBack     = description("keyframer_held_back_seconds",
		"Age of the transaction that holds back folding and cuts, in partitions where one does.", append([]string{"producer_id"}, byPartition...)...)

	memoryBytes = description("keyframer_memory_bytes", "Memory of all open intervals.")
	memoryLimit = description("keyframer_memory_limit_bytes", "What open intervals may take.")
)

func (m *metrics) counted() []prometheus.Collector {
	return []prometheus.Collector{m.foldSeconds, m.verifySeconds, m.folds, m.foldedKeys, m.scrubbedRows, m.scrubs, m.scrubCorrupt}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.counted() {
		c.Describe(ch)
	}
	for _, d := range []*prometheus.Desc{lagRecords, lagSeconds, positionOffset, foldedOffset, deltaStart, frameCount, rowCount,
		intervalBytes, failedPartition, rejected, trims, verifyFailed, rottenRows, staleFetches, heldBack, memoryBytes, memoryLimit} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range m.counted() {
		c.Collect(ch)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(memoryBytes, float64(m.k.memory.usedBytes()))
	gauge(memoryLimit, float64(m.k.memory.limit))
	for _, t := range *m.k.topics.Load() {
		for _, p := range t.Partitions() {
			p.collect(ch, gauge)
		}
	}
}

func (p *Partition) collect(ch chan<- prometheus.Metric, gauge func(*prometheus.Desc, float64, ...string)) {
	topic, partition := p.topic.Name, p.label()
	failed := 0.0
	if p.Failure() != nil {
		failed = 1
	}
	gauge(failedPartition, failed, topic, partition)
	rotten := 0.0
	if p.rotten.Load() {
		rotten = 1
	}
	gauge(rottenRows, rotten, topic, partition)
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	counter(trims, p.counts.trims.Load(), topic, partition)
	counter(verifyFailed, p.counts.verifyFailed.Load(), topic, partition)
	counter(staleFetches, p.counts.staleFetches.Load(), topic, partition)
	t, err := p.Table()
	if err != nil {
		return
	}
	lag := p.Lag()
	gauge(lagRecords, float64(lag.Records), topic, partition)
	gauge(lagSeconds, lag.For.Seconds(), topic, partition)
	gauge(positionOffset, float64(p.Position()), topic, partition)
	gauge(foldedOffset, float64(t.Position()), topic, partition)
	gauge(deltaStart, float64(p.log.Bounds().DeltaStart), topic, partition)
	gauge(frameCount, float64(len(t.Frames())), topic, partition)
	gauge(rowCount, float64(t.Digest().Count), topic, partition)
	gauge(intervalBytes, float64(p.intervalBytes()), topic, partition)
	if open, age, ok := p.heldBack(); ok {
		gauge(heldBack, age.Seconds(), strconv.FormatInt(open.ProducerID, 10), topic, partition)
	}
	for reason, n := range t.Rejected() {
		if n > 0 {
			counter(rejected, n, fold.Rejection(reason).String(), topic, partition)
		}
	}
}

// heldBack is the transaction that keeps durable records from being folded, and with them the next cut.
func (p *Partition) heldBack() (oldest log.OpenTxn, age time.Duration, ok bool) {
	open, b := p.log.OpenTxns(), p.log.Bounds()
	if len(open) == 0 || b.LastStable >= b.HighWatermark {
		return log.OpenTxn{}, 0, false
	}
	return open[0], time.Duration(max(p.k.nowMs()-open[0].SinceMs, 0)) * time.Millisecond, true
}

func (p *Partition) label() string { return strconv.Itoa(int(p.Index)) }

// Lag is how far a partition is behind its log.
type Lag struct {
	Records int64
	For     time.Duration // since when records have been waiting
}

// Lag returns how far the partition is behind its log.
func (p *Partition) Lag() Lag {
	end := p.log.Bounds().LastStable
	nowMs := p.k.nowMs()
	p.mu.Lock()
	defer p.mu.Unlock()
	l := Lag{Records: max(end-p.positionLocked(), 0)}
	if l.Records > 0 && p.behindMs != 0 {
		l.For = time.Duration(max(nowMs-p.behindMs, 0)) * time.Millisecond
	}
	return l
}

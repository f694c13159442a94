package main

import (
	"slices"
	"time"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/consume"
	"github.com/keyframelog/keyframe/bench/footprint"
	"github.com/keyframelog/keyframe/bench/latency"
	"github.com/keyframelog/keyframe/bench/many"
	"github.com/keyframelog/keyframe/bench/produce"
	"github.com/keyframelog/keyframe/bench/target"
)

// row is one of the table.
type row struct {
	name         string // of -only
	title        string
	kafka        setup
	starts       bool // the workload starts its brokers itself: no others run meanwhile
	ours, theirs bench.Workload
	aims         []aim
	bounds       []bound
}

// aim is what a figure is to reach: so many times better than the peer's, the least; or none, and it is told.
type aim struct {
	figure string
	times  float64
}

// bound is what a figure of ours is to be at most, whatever the peer's.
type bound struct {
	figure string
	most   float64
}

// setup is how the peer is started.
type setup string

const (
	byDefault setup = ""      // as it comes
	eager     setup = "eager" // its log cleaner runs as soon as there is something to clean
)

// Bound to what a figure may cost in place of how many times better it is: at most so much of the peer's.
func atMost(ratio float64) float64 { return 1 / ratio }

// footprintRow is about what a broker needs.
func footprintRow() row {
	cfg := footprint.DefaultConfig()
	cfg.Starts, cfg.Idle, cfg.Bytes = 5, 30*time.Second, 1_000_000_000
	return row{
		name: "footprint", title: "start on an empty directory; idle RSS after 30 s; 1 GB of 1 KiB records", starts: true, ours: cfg, theirs: cfg,
		aims: []aim{{"start", 20}, {"idle RSS", 6}, {"loaded RSS", 0}, {"disk per byte", 0}, {"start with data", 0}, {"start after kill -9", 0}},
	}
}

// rows are all, in the order of the table.
func rows() []row {
	var out []row
	add := func(name, title string, ours, theirs bench.Workload, aims ...aim) {
		out = append(out, row{name: name, title: title, ours: ours, theirs: theirs, aims: aims})
	}
	write := func(valueBytes int, flush target.Flush) produce.Config {
		cfg := produce.DefaultConfig()
		cfg.ValueBytes, cfg.Flush, cfg.Duration, cfg.Settle = valueBytes, flush, time.Minute, true
		return cfg
	}
	add("produce-1k", "produce 1 KiB, acks=all; Kafka page cache, we fsync", write(1024, ""), write(1024, ""),
		aim{"throughput", 1.2}, aim{"settled throughput", 1.2}, aim{"broker CPU", atMost(1)})
	add("produce-100b", "produce 100 B, the same", write(100, ""), write(100, ""), aim{"records", 1.2}, aim{"settled throughput", 0}, aim{"broker CPU", 0})
	add("produce-1k-fsync", "produce 1 KiB, both fsync", write(1024, ""), write(1024, target.FlushEach), aim{"throughput", 1.4}, aim{"settled throughput", 0})
	add("produce-100b-fsync", "produce 100 B, both fsync", write(100, ""), write(100, target.FlushEach), aim{"throughput", 1.4}, aim{"settled throughput", 0})

	flights := func(partitions int32, flush target.Flush) many.Config {
		cfg := many.DefaultConfig()
		cfg.Partitions, cfg.Flush = partitions, flush
		return cfg
	}
	for _, m := range []struct {
		name, title string
		partitions  int32
		fsync, page float64
	}{{"many-1", "one record in flight on 1 partition", 1, 1, 0}, {"many-100", "on each of 100", 100, 10, 0.5}, {"many-1000", "on each of 1,000", 1000, 30, 0}} {
		add(m.name+"-fsync", m.title+", both fsync", flights(m.partitions, ""), flights(m.partitions, target.FlushEach), aim{"records", m.fsync})
		if m.partitions < 1000 {
			add(m.name, m.title+"; Kafka page cache, we fsync", flights(m.partitions, ""), flights(m.partitions, ""), aim{"records", m.page})
		}
	}

	at := func(rate int64, flush target.Flush) latency.Config {
		cfg := latency.DefaultConfig()
		cfg.Rate, cfg.Flush, cfg.Warmup = rate, flush, 5*time.Second
		if flush != target.FlushSystem {
			cfg.Disk = 10 * time.Second
		}
		return cfg
	}
	alone := aim{"the disk alone p99", 0} // nobody who syncs before acknowledging is faster
	for _, l := range []struct {
		name, title string
		rate        int64
	}{{"latency-20k", "end to end, 20 k/s of 1 KiB", 20_000}, {"latency-100k", "end to end, 100 k/s of 1 KiB", 100_000}} {
		add(l.name+"-fsync", l.title+", both fsync", at(l.rate, ""), at(l.rate, target.FlushEach), aim{"end to end p99", atMost(0.1)}, aim{"end to end p50", 0}, alone)
		add(l.name, l.title+"; Kafka page cache, we fsync", at(l.rate, ""), at(l.rate, ""), aim{"end to end p50", atMost(1.5)}, aim{"end to end p99", atMost(2)}, alone)
		add(l.name+"-written", l.title+", both acknowledged once written", at(l.rate, target.FlushSystem), at(l.rate, target.FlushSystem),
			aim{"end to end p50", atMost(0.7)}, aim{"end to end p99", atMost(0.7)})
	}

	read := consume.DefaultConfig()
	read.Bytes, read.Cold = 4_000_000_000, true
	add("catch-up", "catch-up read of 4 GB, 1 KiB", read, read, aim{"warm throughput", 1}, aim{"warm broker CPU", 0}, aim{"cold throughput", 1})
	return slices.Concat(out, stateRows(), jetstreamRows(), []row{footprintRow()}, scaleRows())
}

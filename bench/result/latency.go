package result

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latency is how long something took, over all the times that it was done.
type Latency struct {
	Name  string  `json:"name"`
	Count int64   `json:"count"`
	P50   float64 `json:"p50_ms"`
	P95   float64 `json:"p95_ms"`
	P99   float64 `json:"p99_ms"`
	P999  float64 `json:"p99_9_ms"`
	Max   float64 `json:"max_ms"`
	// Distribution has a point for each step of an HDR histogram: so many percent took no longer.
	Distribution []Quantile `json:"distribution"`
}

// Quantile is one point of a distribution.
type Quantile struct {
	Percent float64 `json:"percent"`
	Ms      float64 `json:"ms"`
}

// Histogram counts durations from 1 us to 10 min to three digits. It is not safe for concurrent use: each goroutine has its own, and they are added up.
//
// Where work is sent at a rate, a duration begins when it was due, not when it went out: else a target that stalls the sender would not be
// blamed for what was not sent meanwhile (coordinated omission).
type Histogram struct {
	h *hdrhistogram.Histogram
}

const longest = 10 * time.Minute

// NewHistogram is empty.
func NewHistogram() *Histogram {
	return &Histogram{hdrhistogram.New(1, longest.Microseconds(), 3)}
}

// Record counts one duration; what is longer than 10 minutes counts as that.
func (h *Histogram) Record(d time.Duration) {
	_ = h.h.RecordValue(min(max(d, time.Microsecond), longest).Microseconds()) // in range
}

// Add counts everything of another as well.
func (h *Histogram) Add(other *Histogram) { h.h.Merge(other.h) }

// Reset forgets everything.
func (h *Histogram) Reset() { h.h.Reset() }

// Latency is what was counted.
func (h *Histogram) Latency(name string) Latency {
	ms := func(us int64) float64 { return float64(us) / 1000 }
	l := Latency{
		Name: name, Count: h.h.TotalCount(), Max: ms(h.h.Max()),
		P50: ms(h.h.ValueAtQuantile(50)), P95: ms(h.h.ValueAtQuantile(95)), P99: ms(h.h.ValueAtQuantile(99)), P999: ms(h.h.ValueAtQuantile(99.9)),
	}
	for _, b := range h.h.CumulativeDistributionWithTicks(5) {
		l.Distribution = append(l.Distribution, Quantile{b.Quantile, ms(b.ValueAt)})
	}
	return l
}

// Latencies adds a distribution, and its percentiles as figures: NAME p50, p95, p99, p99.9 and max, in milliseconds.
func (r *Result) Latencies(l Latency) {
	r.Latency = append(r.Latency, l)
	for _, f := range []struct {
		name string
		ms   float64
	}{{"p50", l.P50}, {"p95", l.P95}, {"p99", l.P99}, {"p99.9", l.P999}, {"max", l.Max}} {
		r.Add(l.Name+" "+f.name, f.ms, "ms", Lower)
	}
}

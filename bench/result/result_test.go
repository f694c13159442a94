package result

import (
	"encoding/json"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPercentiles(t *testing.T) {
	a, b := NewHistogram(), NewHistogram()
	for i := 1; i <= 1000; i++ {
		h := a
		if i%2 == 0 {
			h = b
		}
		h.Record(time.Duration(i) * time.Millisecond)
	}
	a.Add(b)
	l := a.Latency("ack")
	require.EqualValues(t, 1000, l.Count)
	for _, want := range []struct{ got, ms float64 }{{l.P50, 500}, {l.P95, 950}, {l.P99, 990}, {l.P999, 999}, {l.Max, 1000}} {
		require.InEpsilon(t, want.ms, want.got, 0.002, "three digits")
	}
	require.InDelta(t, 100, l.Distribution[len(l.Distribution)-1].Percent, 1e-9)
	r := New("latency", nil)
	r.Latencies(l)
	p99, ok := r.Figure("ack p99")
	require.True(t, ok)
	require.Equal(t, Figure{"ack p99", l.P99, "ms", Lower}, p99)
	a.Record(time.Hour)
	require.InEpsilon(t, longest.Seconds()*1000, a.Latency("").Max, 0.002, "what is longer counts as the longest")
	a.Reset()
	require.Zero(t, a.Latency("").Count)
}

func TestCountIsExact(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1k", 1234: "1234", 10_000: "10k", 1_500_000: "1500k", 30_000_000: "30M", 2_000_000_000: "2G"} {
		require.Equal(t, want, Count(n))
	}
}

func TestSamplerMakesRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		s := Sample(time.Second, func() float64 { return float64(n.Load()) })
		synctest.Wait()
		for range 3 {
			n.Add(500)
			time.Sleep(time.Second)
			synctest.Wait()
		}
		rates := s.Rates("x", "1/s")
		require.Len(t, rates.Y, 3)
		for i, y := range rates.Y {
			require.InDelta(t, 500, y, 1e-6)
			require.InDelta(t, float64(i+1), rates.X[i], 1e-6)
		}
	})
}

// The JSON is a contract: a reader of a stored result finds what was measured, where, and what it means.
func TestJSON(t *testing.T) {
	r := New("produce", map[string]int{"partitions": 8})
	r.Add("throughput", 300, "MB/s", Higher)
	r.End(Target{Name: "keyframe", Durability: "fsync before the acknowledgement"})
	data, err := json.Marshal(r)
	require.NoError(t, err)
	var back struct {
		Schema   int
		Workload string
		Config   map[string]int
		Target   struct{ Name, Durability string }
		Machine  struct {
			OS    string
			Cores int
			Go    string
		}
		Figures []struct {
			Name, Unit, Better string
			Value              float64
		}
	}
	require.NoError(t, json.Unmarshal(data, &back))
	require.Equal(t, Schema, back.Schema)
	require.Equal(t, 8, back.Config["partitions"])
	require.Equal(t, "fsync before the acknowledgement", back.Target.Durability)
	require.NotEmpty(t, back.Machine.Go)
	require.Positive(t, back.Machine.Cores)
	require.Equal(t, "throughput", back.Figures[0].Name)
	require.False(t, math.IsNaN(back.Figures[0].Value))
}

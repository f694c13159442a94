package quota

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestRateIsOverAllWindows: a burst counts as much as the same in a steady stream.
func TestRateIsOverAllWindows(t *testing.T) {
	var r Rate
	r.Record(10_000, 5_000)
	rate, over := r.PerSecond(5_000)
	require.Equal(t, 1000.0, rate, "ten windows at least")
	require.Equal(t, int64(10_000), over)

	r = Rate{}
	for ms := int64(0); ms < 60_000; ms += 100 {
		r.Record(100, ms)
	}
	rate, _ = r.PerSecond(59_900)
	require.InDelta(t, 1000, rate, 20)
	rate, _ = r.PerSecond(71_000)
	require.Zero(t, rate, "all of it is over")
}

func TestRateWaitsUntilItIsAtItsBound(t *testing.T) {
	var r Rate
	r.Record(20_000, 0)
	require.Equal(t, 10*time.Second, r.Wait(1000, 0), "20,000 at 1,000 a second are 20 s, of which 10 are given at once")
	require.Zero(t, r.Wait(2000, 0))
	require.Equal(t, 5*time.Second, r.Wait(1000, 0)/2)
	r.Record(-20_000, 0)
	require.Zero(t, r.Wait(1000, 0))
}

// TestRateHolds: whoever waits as told stays at the bound, as long as a request is not more than the bound gives in all windows.
func TestRateHolds(t *testing.T) {
	for _, size := range []float64{1, 100, 1_000, 5_000} {
		var r Rate
		const bound = 1000.0
		nowMs, sent := int64(0), 0.0
		for nowMs < 600_000 {
			r.Record(size, nowMs)
			sent += size
			nowMs += 1 + r.Wait(bound, nowMs).Milliseconds()
		}
		require.InDelta(t, bound*float64(nowMs)/1000, sent, bound*float64(nowMs)/1000/10+bound*windows, "requests of %g", size)
	}
}

func TestWaitFitsAnAnswer(t *testing.T) {
	var r Rate
	r.Record(1e18, 0)
	require.Equal(t, waitMax, r.Wait(1e-9, 0))
}

func TestBucket(t *testing.T) {
	var b Bucket
	require.True(t, b.Take(11, 1, true, 1_000), "it is full at first")
	require.Zero(t, b.Wait(1, 1_000))
	require.True(t, b.Take(4, 1, true, 1_000), "whoever finds one may take more")
	require.Equal(t, 4*time.Second, b.Wait(1, 1_000))
	require.False(t, b.Take(1, 1, true, 2_000))
	require.Equal(t, 3*time.Second, b.Wait(1, 2_000), "a refusal takes nothing")
	require.True(t, b.Take(1, 1, false, 2_000), "of an old client, which does not know the refusal")
	require.Equal(t, 4*time.Second, b.Wait(1, 2_000))
	require.True(t, b.Take(1, 1, true, 6_000))
	require.True(t, b.Take(12, 1, true, 3_600_000))
	require.Equal(t, time.Second, b.Wait(1, 3_600_000), "it holds no more than eleven seconds")
}

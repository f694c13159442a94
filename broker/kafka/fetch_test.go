package kafka_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// TestFetchTakesTheMemoryOfItsResponse: records are not copied on their way out, and what does not fit is not read.
func TestFetchTakesTheMemoryOfItsResponse(t *testing.T) {
	c := startOwn(t, options{}).Dial(t)
	const n, size = 32, 1 << 20
	tp := raw.CreateTopic(c, n)
	big := raw.Seal(raw.NewBatch(raw.KV("a", string(make([]byte, size-1000)))))
	req := raw.FetchFrom(tp, 0, 12)
	req.Topics[0].Partitions = nil
	for i := range int32(n) {
		p := raw.ProduceAs(c, raw.ProduceTo(tp, i, 9, append([]byte{}, big...)))
		raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, raw.FetchPartition(i, 0))
	}
	allocated := func(maxBytes int32, partitions int) int {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.GC() // pools are empty
		runtime.ReadMemStats(&before)
		req.MaxBytes = maxBytes
		got := 0
		for _, p := range raw.Do[*kmsg.FetchResponse](c, req).Topics[0].Partitions {
			if len(p.RecordBatches) > 0 {
				got++
			}
		}
		runtime.ReadMemStats(&after)
		require.Equal(t, partitions, got)
		return int(after.TotalAlloc - before.TotalAlloc)
	}
	less := func(maxBytes int32, partitions, than int) { // at some time, without what the database does beside it, a flush for one
		t.Helper()
		require.Eventually(t, func() bool { return allocated(maxBytes, partitions) < than }, time.Minute, time.Millisecond)
	}
	// What the client reads is one of each.
	less(size+1000, 1, n*size) // one, and many that did not fit
	less(50<<20, n, 3*n*size/2)
}

// TestFetchRotates: a client that always asks in the same order and never has room for everything still gets everything.
func TestFetchRotates(t *testing.T) {
	c := startOwn(t, options{}).Dial(t)
	const n = 4
	tp := raw.CreateTopic(c, n)
	for i := range int32(n) {
		raw.ProduceAs(c, raw.ProduceTo(tp, i, 9, raw.Seal(raw.NewBatch(raw.KV("a", string(make([]byte, 10_000)))))))
	}
	seen := map[int32]bool{}
	for range n {
		req := raw.FetchFrom(tp, 0, 12)
		req.MaxBytes = 1
		req.Topics[0].Partitions = nil
		for i := range int32(n) {
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, raw.FetchPartition(i, 0))
		}
		for _, p := range raw.Do[*kmsg.FetchResponse](c, req).Topics[0].Partitions {
			if len(p.RecordBatches) > 0 {
				seen[p.Partition] = true
			}
		}
	}
	require.Len(t, seen, n)
}

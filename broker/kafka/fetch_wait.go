package kafka

import (
	"context"
	"time"
)

// await returns when the fetch can be answered: enough bytes, an error, the time is up, the connection is gone or the server
// is closing.
func (f *fetching) await(ctx context.Context, draining <-chan struct{}, wait time.Duration) {
	if wait <= 0 || f.ready() {
		return
	}
	woken := make(chan struct{}, 1)
	wake := func() {
		select {
		case woken <- struct{}{}:
		default:
		}
	}
	if f.session != nil {
		f.session.await(woken) // its partitions are watched as long as it lives
		defer f.session.awaited(woken)
	} else {
		for _, fp := range f.partitions {
			cancel := fp.p.Log.Watch(wake)
			defer cancel()
		}
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	// What was appended before the watches were set woke nobody: look once more before waiting.
	for !f.ready() {
		select {
		case <-woken:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		case <-draining:
			return
		}
	}
}

// ready says whether an answer is due: min_bytes are there, or something else that the client has to know.
func (f *fetching) ready() bool {
	if f.session != nil && !f.session.joined(f) {
		return true
	}
	sum := 0
	for _, fp := range f.partitions {
		if f.check(fp) != none {
			return true
		}
		if _, diverges := f.diverges(fp); diverges {
			return true
		}
		n, ok := f.count(fp, int(f.req.MinBytes)-sum)
		if !ok {
			return true
		}
		if sum += n; sum >= int(f.req.MinBytes) {
			return true
		}
	}
	return len(f.partitions) == 0 && f.session == nil || f.req.MinBytes <= 0
}

// count returns how many bytes the partition could give, at most its own limit. Only batches that came since the last call
// are looked at, and none when a single byte is enough. false: reading it tells more (rows, or an error).
func (f *fetching) count(fp *fetchPartition, need int) (int, bool) {
	b := fp.p.Log.Bounds()
	end := f.end(b)
	if fp.counted >= end {
		return fp.available, true
	}
	if fp.counted < b.DeltaStart {
		return 0, false
	}
	if need-fp.available <= 1 {
		return fp.available + 1, true
	}
	limit := int(fp.req.PartitionMaxBytes)
	for fp.counted < end && fp.available < limit {
		run, err := fp.p.Log.Locate(fp.counted, end, limit-fp.available)
		if err != nil {
			return 0, false
		}
		n := run.Len()
		fp.counted = run.Next()
		if run.Close(); n == 0 {
			return 0, false
		}
		fp.available += n
	}
	return fp.available, true
}

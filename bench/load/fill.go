package load

import (
	"context"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Fill sends so many records through a client, flat out, and waits until all are acknowledged. acked counts them as they are; progress is told how
// many were sent, now and then. Errors: that of the first record that was refused.
func Fill(ctx context.Context, cl *kgo.Client, n int64, next func(i int64) *kgo.Record, acked *atomic.Int64, progress func(sent int64)) error {
	var failed atomic.Pointer[error]
	done := func(_ *kgo.Record, err error) {
		if err != nil {
			failed.CompareAndSwap(nil, &err)
			return
		}
		acked.Add(1)
	}
	for i := range n {
		if i%4096 == 0 {
			if failed.Load() != nil || ctx.Err() != nil {
				break
			}
			progress(i)
		}
		cl.Produce(ctx, next(i), done)
	}
	if err := cl.Flush(ctx); err != nil {
		return err
	}
	if err := failed.Load(); err != nil {
		return *err
	}
	return ctx.Err()
}

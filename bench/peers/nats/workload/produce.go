package workload

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/load"
	"github.com/keyframelog/keyframe/bench/peers/nats/kv"
	"github.com/keyframelog/keyframe/bench/result"
)

// Produce is the workload that puts random keys, flat out.
type Produce struct {
	Bucket
	load.Shape
	Duration time.Duration `json:"duration_ns"`
	Settle   bool          `json:"settle"` // measure also how long the server works on afterwards
}

// DefaultProduce is puts of a million keys.
func DefaultProduce() Produce {
	return Produce{Bucket: Bucket{Name: "bench-produce"}, Shape: load.Shape{ValueBytes: 100, Keys: 1_000_000}, Duration: 30 * time.Second}
}

// Validate refuses what makes no sense.
func (c Produce) Validate() error {
	if c.Duration <= 0 || c.Keys <= 0 {
		return errors.New("duration and keys are above zero")
	}
	return errors.Join(c.Bucket.Validate(), c.Shape.Validate())
}

// Run implements Workload. A put that the server refuses, or acknowledges and does not have, fails it.
func (c Produce) Run(ctx context.Context, p Peer, progress bench.Progress) (*result.Result, error) {
	return c.run(ctx, p, "produce", c, func(bucket *kv.Bucket, r *result.Result) error { return c.on(ctx, p, bucket, r, progress) })
}

// on is the run on its bucket.
func (c Produce) on(ctx context.Context, p Peer, bucket *kv.Bucket, r *result.Result, progress bench.Progress) error {
	tables, err := c.Tables()
	if err != nil {
		return err
	}
	meter, err := p.Target.Meter()
	if err != nil {
		return err
	}
	progress.Phase("produce", int64(c.Duration.Seconds()), "s")
	var acked atomic.Int64
	throughput := result.Sample(time.Second, func() float64 { return float64(acked.Load()*c.RecordBytes()) / 1e6 })
	began := time.Now() // the first record, once it is connected
	err = bucket.Put(ctx, c.Publish, c.forDuration(&began, tables.Records(1)), &acked)
	elapsed, rates := time.Since(began), throughput.Rates("acknowledged", "MB/s")
	if err := errors.Join(err, meter.Stop()); err != nil {
		return err
	}
	_, put, err := bucket.Stored(ctx)
	if err == nil && int64(put) != acked.Load() {
		err = fmt.Errorf("%d puts were acknowledged, the bucket has had %d", acked.Load(), put)
	}
	if err != nil {
		return err
	}
	bytes := acked.Load() * c.RecordBytes()
	r.Add("throughput", float64(bytes)/1e6/elapsed.Seconds(), "MB/s", result.Higher)
	r.Add("records", float64(acked.Load())/elapsed.Seconds(), "records/s", result.Higher)
	if c.Settle {
		progress.Phase("settle", 0, "")
		took, ok, err := p.Target.SettleIn(ctx, p.Dir)
		if err != nil {
			return err
		}
		if ok {
			r.Add("settled throughput", float64(bytes)/1e6/(elapsed+took).Seconds(), "MB/s", result.Higher)
			r.Add("settling", took.Seconds(), "s", result.Lower)
		}
		if err := meter.Stop(); err != nil {
			return err
		}
	}
	meter.Add(r, bytes)
	r.Series = append(r.Series, rates)
	return nil
}

// lookEvery is how many records are made between two looks at the clock.
const lookEvery = 256

// forDuration has records for a while, and tells when it began.
func (c Produce) forDuration(began *time.Time, records *load.Records) kv.Next {
	return func(i int64) *kgo.Record {
		switch {
		case i == 0:
			*began = time.Now()
		case i%lookEvery == 0 && time.Since(*began) >= c.Duration:
			return nil
		}
		return records.Next()
	}
}

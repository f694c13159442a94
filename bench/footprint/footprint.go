// Package footprint is the workload of a broker that has nothing to do, and of one that was given something: how long it takes to start, what memory it
// needs, what it makes of bytes on disk, and how long it takes to start with them.
//
//	cfg := footprint.DefaultConfig()
//	cfg.Start = launch.Parse("bench/peers/kafka/kafka.sh up --port {port} --dir {dir}")
//	r, err := cfg.Run(ctx, footprint.Target("kafka"), bench.Silent)
//
// It starts its brokers itself, each on a directory of its own, by a command. A start is measured from the start of the process until its first answer.
package footprint

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/compare"
	"github.com/keyframelog/keyframe/bench/launch"
	"github.com/keyframelog/keyframe/bench/load"
	"github.com/keyframelog/keyframe/bench/probe"
	"github.com/keyframelog/keyframe/bench/result"
	"github.com/keyframelog/keyframe/bench/target"
)

// Config is the workload.
type Config struct {
	target.Topic
	load.Shape
	load.Producer
	Start  launch.Command `json:"start"`
	Starts int            `json:"starts"`        // on empty directories; the median counts
	Idle   time.Duration  `json:"idle_ns"`       // how long it has had nothing to do when its memory is looked at
	Bytes  int64          `json:"bytes"`         // of keys and values, that it is given
	Dir    string         `json:"dir,omitempty"` // where directories are made; "": the system's
}

// DefaultConfig gives it 256 MB. Start is to be set.
func DefaultConfig() Config {
	return Config{Shape: load.Shape{ValueBytes: 1024}, Producer: load.DefaultProducer(), Topic: target.Topic{Name: "bench-footprint", Partitions: 8},
		Starts: 3, Idle: 5 * time.Second, Bytes: 256_000_000}
}

// Target is what Run is given in place of a broker that runs: a name, or none.
func Target(name string) *target.Target { return &target.Target{Config: target.Config{Name: name}} }

// StartedBy is the same of another broker.
func (c Config) StartedBy(command launch.Command) bench.Workload {
	c.Start = command
	return c
}

// Validate refuses what makes no sense.
func (c Config) Validate() error {
	switch {
	case c.Starts <= 0:
		return errors.New("starts are above zero")
	case c.Idle < 0:
		return fmt.Errorf("idle for %s", c.Idle)
	case c.Bytes < c.RecordBytes():
		return fmt.Errorf("%d bytes: a record has %d", c.Bytes, c.RecordBytes())
	case c.Acks == "0":
		return errors.New("acks 0 does not tell what there is after a start")
	}
	return errors.Join(c.Start.Validate(), c.Topic.Validate(), c.Shape.Validate(), c.Producer.Validate())
}

// Run implements bench.Workload. A record that is not there after a start fails it.
func (c Config) Run(ctx context.Context, t *target.Target, p bench.Progress) (r *result.Result, err error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	r = result.New("footprint", c)
	dir, err := os.MkdirTemp(c.Dir, "keyframe-footprint-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b, err := c.startEmpty(ctx, r, dir, p)
	if err != nil {
		return nil, err
	}
	run := &run{Config: c, Broker: b, dir: filepath.Join(dir, strconv.Itoa(c.Starts)), name: t.Name, result: r}
	defer func() { err = errors.Join(err, run.end()) }()
	if err := run.all(ctx, p); err != nil {
		return nil, err
	}
	return r.End(run.described), nil
}

// startEmpty starts a broker on several empty directories in turn, and leaves the last one running.
func (c Config) startEmpty(ctx context.Context, r *result.Result, dir string, p bench.Progress) (b *launch.Broker, err error) {
	var took []float64
	p.Phase("start", int64(c.Starts), "starts")
	for i := range c.Starts {
		if b != nil {
			if err := b.Stop(); err != nil {
				return nil, err
			}
			if err := os.RemoveAll(filepath.Join(dir, strconv.Itoa(i))); err != nil {
				return nil, err
			}
		}
		own := filepath.Join(dir, strconv.Itoa(i+1))
		if err := os.Mkdir(own, 0o755); err != nil {
			return nil, err
		}
		if b, err = launch.Start(ctx, c.Start, own); err != nil {
			return nil, err
		}
		took = append(took, ms(b.Took))
		p.At(int64(i + 1))
	}
	spread := compare.SpreadOf(took)
	r.Add("start", spread.Median, "ms", result.Lower)
	r.Add("slowest start", spread.Max, "ms", result.Lower)
	return b, nil
}

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }

// run is what happens to one broker.
type run struct {
	Config
	*launch.Broker
	dir, name string
	result    *result.Result
	described result.Target
	records   int64 // that it has acknowledged
}

// end ends the broker, if it runs.
func (r *run) end() error {
	if r.Broker == nil {
		return nil
	}
	b := r.Broker
	r.Broker = nil
	return b.Stop()
}

func (r *run) all(ctx context.Context, p bench.Progress) error {
	p.Phase("idle", 0, "")
	if err := r.idle(ctx); err != nil {
		return err
	}
	if err := r.load(ctx, p); err != nil {
		return err
	}
	p.Phase("start with data", 0, "")
	if err := r.end(); err != nil {
		return err
	}
	if err := r.again(ctx, "start with data"); err != nil {
		return err
	}
	r.Kill()
	return r.again(ctx, "start after kill -9")
}

// idle waits, and looks what the broker uses.
func (r *run) idle(ctx context.Context) error {
	before, err := r.Process.Usage()
	if err != nil {
		return err
	}
	timer := time.NewTimer(r.Idle)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
	}
	after, err := r.Process.Usage()
	if err != nil {
		return err
	}
	r.result.Add("idle RSS", float64(after.RSS)/1e6, "MB", result.Lower)
	if r.Idle > 0 {
		r.result.Add("idle CPU", 100*(after.CPU-before.CPU).Seconds()/r.Idle.Seconds(), "% of a core", result.Lower)
	}
	return nil
}

// load gives the broker its bytes, and looks what they take.
func (r *run) load(ctx context.Context, p bench.Progress) error {
	t, err := r.Open(ctx)
	if err != nil {
		return err
	}
	defer t.Close()
	if r.name != "" {
		t.Name = r.name
	}
	topic, err := t.Create(ctx, r.Topic)
	if err != nil {
		return err
	}
	r.described = t.Describe(topic.Durability)
	before, err := probe.DiskBytes(r.dir)
	if err != nil {
		return err
	}
	if err := r.produce(ctx, t, p); err != nil {
		return err
	}
	p.Phase("settle", 0, "")
	if _, _, err := t.Settle(ctx); err != nil {
		return err
	}
	after, err := probe.DiskBytes(r.dir)
	if err != nil {
		return err
	}
	r.result.Add("disk per byte", float64(after-before)/float64(r.records*r.RecordBytes()), "bytes", result.Lower)
	return nil
}

func (r *run) produce(ctx context.Context, t *target.Target, p bench.Progress) error {
	tables, err := r.Tables()
	if err != nil {
		return err
	}
	cl, err := t.Client(r.Options(r.Name)...)
	if err != nil {
		return err
	}
	defer cl.Close()
	_ = r.Process.ResetPeak() // of another user's process the peak since it began is told
	n, acked := r.Bytes/r.RecordBytes(), atomic.Int64{}
	p.Phase("produce", n, "records")
	memory := result.Sample(time.Second, func() float64 {
		u, _ := r.Process.Usage() // that it is gone the producer is told
		return float64(u.RSS) / 1e6
	})
	records := tables.Records(1)
	err = load.Fill(ctx, cl, n, func(int64) *kgo.Record { return records.Next() }, &acked, p.At)
	r.result.Series = append(r.result.Series, memory.Values("RSS while it is given data", "MB"))
	if err != nil {
		return err
	}
	u, err := r.Process.Usage()
	if err != nil {
		return err
	}
	r.records = acked.Load()
	r.result.Add("loaded RSS", float64(u.RSS)/1e6, "MB", result.Lower)
	r.result.Add("peak RSS", float64(u.PeakRSS)/1e6, "MB", result.Lower)
	return nil
}

// again starts the broker on what it has, and looks whether it is all there.
func (r *run) again(ctx context.Context, figure string) (err error) {
	if r.Broker, err = launch.Start(ctx, r.Start, r.dir); err != nil {
		return err
	}
	r.result.Add(figure, ms(r.Took), "ms", result.Lower)
	t, err := r.Open(ctx)
	if err != nil {
		return err
	}
	defer t.Close()
	listed, err := t.Admin().ListEndOffsets(ctx, r.Name)
	if err := errors.Join(err, listed.Error()); err != nil {
		return err
	}
	there := int64(0)
	for _, o := range listed.Offsets().Sorted() {
		there += o.At
	}
	if there != r.records {
		return fmt.Errorf("%s: of %d records that were acknowledged %d are there", figure, r.records, there)
	}
	return nil
}

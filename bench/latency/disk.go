package latency

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/load"
	"github.com/keyframelog/keyframe/bench/probe"
	"github.com/keyframelog/keyframe/bench/result"
	"github.com/keyframelog/keyframe/bench/target"
)

const (
	ticks     = 1000     // a second: at each something is due
	diskBytes = 64 << 20 // of the file
)

// disk is what the disk below a broker takes for the same bytes, with nothing else to do: a file that is there already is written over, at the rate, and
// synced, whatever was due meanwhile together. No log that syncs before it acknowledges is faster. Each tick counts from when it was due until it was synced.
type disk struct {
	f     *os.File
	due   []byte // of a tick
	at    int64
	taken *result.Histogram
}

// openDisk begins a file where the broker has its data.
func (c Config) openDisk(ctx context.Context, t *target.Target) (d *disk, err error) {
	dir, err := t.DataDir(ctx)
	if err != nil {
		return nil, fmt.Errorf("the disk below the broker: %w", err)
	}
	f, err := os.CreateTemp(dir, "bench-disk-*.tmp")
	if err != nil {
		return nil, err
	}
	d = &disk{f: f, due: make([]byte, min(max(c.Rate*c.RecordBytes()/ticks, 1), diskBytes)), taken: result.NewHistogram()}
	_, err = f.Write(make([]byte, diskBytes))
	if err := errors.Join(err, f.Sync()); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (d *disk) close() error { return errors.Join(d.f.Close(), os.Remove(d.f.Name())) }

// run writes for so long.
func (d *disk) run(ctx context.Context, long time.Duration) error {
	pace := load.Pace{Began: time.Now(), Rate: ticks}
	for tick, end := int64(0), int64(long.Seconds()*ticks); tick < end; {
		if err := pace.Wait(ctx, tick); err != nil {
			return err
		}
		first := tick
		for now := time.Now(); tick == first || tick < end && !pace.Due(tick).After(now); tick++ {
			if d.at+int64(len(d.due)) > diskBytes {
				d.at = 0
			}
			if _, err := d.f.WriteAt(d.due, d.at); err != nil {
				return err
			}
			d.at += int64(len(d.due))
		}
		if err := probe.SyncData(d.f); err != nil {
			return err
		}
		for synced := time.Now(); first < tick; first++ {
			d.taken.Record(synced.Sub(pace.Due(first)))
		}
	}
	return nil
}

// besideDisk is the run, and what the disk takes before and after it.
func (c Config) besideDisk(ctx context.Context, t *target.Target, r *result.Result, p bench.Progress) (err error) {
	d, err := c.openDisk(ctx, t)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	p.Phase("the disk alone", 0, "")
	if err := d.run(ctx, c.Disk/2); err != nil {
		return err
	}
	if err := c.on(ctx, t, r, p); err != nil {
		return err
	}
	p.Phase("the disk alone", 0, "")
	if err := d.run(ctx, c.Disk/2); err != nil {
		return err
	}
	r.Latencies(d.taken.Latency("the disk alone"))
	return nil
}

package target

import (
	"context"
	"time"

	"github.com/keyframelog/keyframe/bench/probe"
	"github.com/keyframelog/keyframe/bench/result"
)

// Meter measures what the broker uses for something. Of a broker elsewhere it measures nothing, and adds no figure.
type Meter struct {
	p      *probe.Process
	before probe.Usage
	after  probe.Usage
}

// Meter begins to measure. Errors: the process is gone.
func (t *Target) Meter() (*Meter, error) {
	m := &Meter{p: t.Process}
	if m.p == nil {
		return m, nil
	}
	_ = m.p.ResetPeak() // of another user's process the peak since it began is told
	var err error
	m.before, err = m.p.Usage()
	return m, err
}

// Stop ends what is measured. Errors: the process is gone.
func (m *Meter) Stop() (err error) {
	if m.p != nil {
		m.after, err = m.p.Usage()
	}
	return err
}

// CPU is the processor time between Meter and Stop.
func (m *Meter) CPU() time.Duration { return m.after.CPU - m.before.CPU }

// Add adds the figures of the broker to a result: processor time for each 10^9 bytes that were moved, and memory.
func (m *Meter) Add(r *result.Result, bytes int64) { m.AddAs(r, "", bytes) }

// AddAs is Add of one of several parts of a run, whose figures begin with its name.
func (m *Meter) AddAs(r *result.Result, prefix string, bytes int64) {
	if m.p == nil {
		return
	}
	if bytes > 0 {
		r.Add(prefix+"broker CPU", m.CPU().Seconds()/(float64(bytes)/1e9), "s/GB", result.Lower)
	}
	r.Add(prefix+"broker RSS", float64(m.after.RSS)/1e6, "MB", result.Lower)
	r.Add(prefix+"broker peak RSS", float64(m.after.PeakRSS)/1e6, "MB", result.Lower)
}

// quiet is how long a broker must have done nothing to be taken for settled, and settleMax how long that may take.
const (
	quiet     = time.Second
	settleMax = 5 * time.Minute
)

// Settle waits until the broker has nothing more to do for what it acknowledged, and until the system has written its files to disk. It returns how long
// that took. Of a broker elsewhere nothing can be told: ok is false. Errors: it is busy for more than 5 minutes, the context's.
func (t *Target) Settle(ctx context.Context) (took time.Duration, ok bool, err error) {
	if t.Process == nil {
		return 0, false, nil
	}
	dir, err := t.DataDir(ctx)
	if err != nil {
		return 0, false, err
	}
	return t.SettleIn(ctx, dir)
}

// SettleIn is Settle of a broker that is known to keep its data in a directory.
func (t *Target) SettleIn(ctx context.Context, dir string) (took time.Duration, ok bool, err error) {
	if t.Process == nil {
		return 0, false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, settleMax)
	defer cancel()
	began := time.Now()
	if err := probe.Sync(dir); err != nil {
		return 0, false, err
	}
	synced := time.Since(began)
	busy, err := t.Process.Quiet(ctx, quiet)
	if err != nil || busy == 0 {
		return synced, err == nil, err
	}
	if err := probe.Sync(dir); err != nil {
		return 0, false, err
	}
	return time.Since(began) - quiet, true, nil
}

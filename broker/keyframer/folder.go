package keyframer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/keyframelog/keyframe/storage/table"
)

// job is the fold of one partition, on its way to the table.
type job struct {
	p      *Partition
	fold   table.Fold
	finish func(error)
}

// folder commits folds. All that wait when a commit begins share it.
type folder struct {
	tables  *table.DB
	metrics *metrics
	now     func() time.Time
	arrived chan struct{}

	mu      sync.Mutex
	waiting []job // guarded by mu; at most one a partition
	closed  bool  // guarded by mu
}

func newFolder(tables *table.DB, m *metrics, now func() time.Time) *folder {
	return &folder{tables: tables, metrics: m, now: now, arrived: make(chan struct{}, 1)}
}

func (f *folder) add(j job) {
	f.mu.Lock()
	closed := f.closed
	if !closed {
		f.waiting = append(f.waiting, j)
	}
	f.mu.Unlock()
	if closed {
		j.end(ErrClosed)
		return
	}
	select {
	case f.arrived <- struct{}{}:
	default:
	}
}

func (f *folder) take(last bool) []job {
	f.mu.Lock()
	defer f.mu.Unlock()
	jobs := f.waiting
	f.waiting = nil
	f.closed = f.closed || last
	return jobs
}

// run commits until ctx ends; what still waits then is read from the log again at the next start.
func (f *folder) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			for _, j := range f.take(true) {
				j.end(ErrClosed)
			}
			return
		case <-f.arrived:
		}
		if jobs := f.take(false); len(jobs) > 0 {
			f.commit(context.WithoutCancel(ctx), jobs)
		}
	}
}

// commit folds all jobs at once, or, if that fails, each alone, so that one damaged table does not hold up the others.
func (f *folder) commit(ctx context.Context, jobs []job) {
	err := f.fold(ctx, jobs)
	if err == nil || len(jobs) == 1 || !ofOneTable(err) {
		for _, j := range jobs {
			j.end(err)
		}
		return
	}
	for _, j := range jobs {
		j.end(f.fold(ctx, []job{j}))
	}
}

func (f *folder) fold(ctx context.Context, jobs []job) error {
	folds := make([]table.Fold, len(jobs))
	for i, j := range jobs {
		folds[i] = j.fold
	}
	start := f.now()
	err := f.tables.Commit(ctx, folds)
	f.metrics.committed(folds, f.now().Sub(start), err)
	return err
}

// ofOneTable says whether the error is one of a table's data, which trying again does not cure.
func ofOneTable(err error) bool {
	for _, e := range []error{table.ErrCorrupt, table.ErrDigest, table.ErrFold, table.ErrVersion, table.ErrClosed, table.ErrIdentity} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// end tells the partition how its fold went.
func (j job) end(err error) {
	j.finish(err)
	j.p.folded(j.fold, err)
}

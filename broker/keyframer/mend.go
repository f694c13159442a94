package keyframer

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/keyframelog/keyframe/storage/table"
)

// isDamage says whether an error is about what a table stores, and not about reading it at this moment. Damage of a log is none.
func isDamage(err error) bool {
	return errors.Is(err, table.ErrCorrupt) || errors.Is(err, table.ErrDigest)
}

// Damaged is told what a read of the partition's rows has failed with, and returns it. Where rows are damaged on disk, it is dealt with as if a
// scrub had found them, and the error is ErrDamaged, and says what is done about it.
func (p *Partition) Damaged(err error) error {
	said := p.describe(err)
	if isDamage(err) && !errors.Is(err, ErrDamaged) {
		p.k.rot(p, err)
	}
	return said
}

// failFor ends folding for an error, and then has damage dealt with: who waits for a fold is told why it failed, and not that the topic is opened again.
func (p *Partition) failFor(err error) {
	p.fail(p.describe(err))
	_ = p.Damaged(err)
}

// describe says of damage that it is ErrDamaged, and what is done about it.
func (p *Partition) describe(err error) error {
	if !isDamage(err) || errors.Is(err, ErrDamaged) {
		return err
	}
	advice := "its log no longer has them: its operator runs keyframe check, and restores them from a backup"
	switch {
	case p.unmendable.Load():
		advice = "they could not be folded from its log again, which its operator is told: a replica can follow the log from its start"
	case rebuildable(p.log.Bounds()):
		advice = "they are folded from its log again: try again"
	}
	return fmt.Errorf("%w: %s/%d: %s: %w", ErrDamaged, p.topic.Name, p.Index, advice, err)
}

// DamagedFrame is Damaged for a read of the frame at a cut, or of what changed in it since an offset (-1: all of it). Retained.Sound passes it over from now on.
func (p *Partition) DamagedFrame(cut, since int64, err error) error {
	if isDamage(err) {
		p.retaining.Lock()
		if p.spoilt == nil {
			p.spoilt = map[int64]int64{}
		}
		p.spoilt[cut] = max(p.spoilt[cut], since)
		p.retaining.Unlock()
	}
	return p.Damaged(err)
}

// rot is told that a partition's rows are damaged on disk, by whoever comes upon it; the first one is heard. Nothing is trimmed any more: the log may be
// needed. Where it reaches back to its start, the rows are folded from it again.
func (k *Keyframer) rot(p *Partition, why error, attrs ...any) {
	if p.rotten.Swap(true) {
		return
	}
	k.metrics.scrubCorrupt.Inc()
	attrs = append(attrs, "error", why)
	var where *table.CorruptError
	if errors.As(why, &where) && where.Offset >= 0 {
		attrs = append(attrs, "offset", where.Offset)
	}
	if !rebuildable(p.log.Bounds()) {
		p.tellLost(attrs...)
		return
	}
	p.logger.Error("rows are damaged on disk: they are folded from the log again, which has all of them", attrs...)
	k.mender.add(p)
}

func (p *Partition) tellLost(attrs ...any) {
	p.logger.Error("rows are damaged on disk, and nothing of this partition is trimmed any more: stop the broker, let keyframe check say what is damaged, "+
		"and restore it from a backup; replace the disk first", attrs...)
}

// mender is the partitions that wait to be folded again: each once, as rot sees to.
type mender struct {
	arrived chan struct{}
	mu      sync.Mutex
	waiting []*Partition // guarded by mu
}

func newMender() *mender { return &mender{arrived: make(chan struct{}, 1)} }

func (m *mender) add(p *Partition) {
	m.mu.Lock()
	m.waiting = append(m.waiting, p)
	m.mu.Unlock()
	select {
	case m.arrived <- struct{}{}:
	default:
	}
}

func (m *mender) take() []*Partition {
	m.mu.Lock()
	defer m.mu.Unlock()
	waiting := m.waiting
	m.waiting = nil
	return waiting
}

// mend folds damaged tables again, one after the other.
func (k *Keyframer) mend(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.mender.arrived:
		}
		for _, p := range k.mender.take() {
			k.mendPartition(ctx, p)
		}
	}
}

func (k *Keyframer) mendPartition(ctx context.Context, p *Partition) {
	cut := p.newestCut()
	err := p.readLog(ctx)
	if err == nil {
		err = k.refold(ctx, p)
	}
	switch {
	case ctx.Err() != nil:
	case err != nil:
		p.tellLost("refold", err)
		k.giveUp(p)
	case cut > 0 && !p.topic.Settings().Paused && !k.cutsAgain(p):
		k.running.Go(func() { k.recut(ctx, p, cut) })
	}
}

// giveUp notes that what was tried to mend a partition was in vain: it is not tried at each read again, nor is anything trimmed.
func (k *Keyframer) giveUp(was *Partition) {
	now, err := k.Partition(was.topic.Name, was.Index)
	if err != nil || now.topic.ID != was.topic.ID {
		return
	}
	now.rotten.Store(true)
	now.unmendable.Store(true)
}

// readLog reads the log from its start to its end: a table is not dropped for a log that cannot replace it.
func (p *Partition) readLog(ctx context.Context) error {
	for from, end := int64(0), p.log.Bounds().LastStable; from < end; {
		batches, err := p.log.Batches(from, end, stepBytes)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("read the log at offset %d: %w", from, err)
		}
		if len(batches) == 0 {
			return nil
		}
		from = batches[len(batches)-1].NextOffset()
	}
	return nil
}

func (p *Partition) newestCut() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lastCut
}

// refold drops the partition's table and opens its topic anew, which folds the log from its start. Damaged frames are of no use to those who hold
// them, so they go as well, and their holders are told.
func (k *Keyframer) refold(ctx context.Context, p *Partition) error {
	if err := k.changes.lock(ctx); err != nil {
		return err
	}
	defer k.changes.Unlock()
	if now, ok := k.Topic(p.topic.Name); k.closed || !ok || now != p.topic {
		return nil // gone, or opened anew meanwhile
	}
	return k.reopenLocked(p.topic, p.topic.spec(), *p.topic.Settings(), func() error {
		if b := p.log.Bounds(); !rebuildable(b) {
			return fmt.Errorf("the log was trimmed to %d meanwhile", b.DeltaStart)
		}
		if err := k.cfg.Tables.Separable(p.ordinal); err != nil {
			return err // what can be read of the table is better than nothing
		}
		had := p.frames()
		if err := k.cfg.Tables.Drop(ctx, p.ordinal); err != nil {
			return err
		}
		p.cutAgain(ctx, had)
		if err := k.cfg.Holds.Lost(p.topic.ID, p.Index); err != nil {
			p.logger.Error("replicas that hold frames which are gone find out when they ask for them", "error", err)
		}
		return nil
	})
}

// recut sees to a key frame in place of those that went with a damaged table, when the log has been folded again as far as they were.
func (k *Keyframer) recut(ctx context.Context, was *Partition, cut int64) {
	p, err := k.Partition(was.topic.Name, was.Index)
	if err == nil {
		err = p.WaitApplied(ctx, cut)
	}
	if err == nil {
		_, err = k.CutAt(ctx, was.topic.Name, was.Index, cut)
	}
	if err != nil && ctx.Err() == nil {
		was.logger.Warn("no key frame was cut of what was folded again: the next one is due as ever", "error", err)
	}
}

// spec is what the topic was added with, and grew to.
func (t *Topic) spec() TopicSpec {
	spec := TopicSpec{Name: t.Name, ID: t.ID, Fold: t.Fold}
	for _, p := range t.Partitions() {
		spec.Partitions = append(spec.Partitions, PartitionSpec{
			Index: p.Index, Ordinal: p.ordinal, Incarnation: p.Incarnation, Log: p.log, RenewIncarnation: p.renewIncarnation,
		})
	}
	return spec
}

// lock is a mutex that can be waited for with a context: Close holds it while it waits for who would wait for it.
type lock chan struct{}

func newLock() lock { return make(lock, 1) }

// Lock and Unlock are as those of a sync.Mutex.
func (l lock) Lock() { l <- struct{}{} }

// Unlock lets the next one in.
func (l lock) Unlock() { <-l }

func (l lock) lock(ctx context.Context) error {
	select {
	case l <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

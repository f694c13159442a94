package keyframer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/keyframelog/keyframe/storage/table"
)

const (
	// scrubPiece is how many rows are read at a time, or KiB; a piece costs a seek in each deletion vector.
	scrubPiece = 4096
	// scrubPause is how long a round takes at least: small tables need not be read again and again.
	scrubPause = 10 * time.Minute
	// scrubPauseMin is what lies between two rounds in any case, or there would be no end where there is nothing to read.
	scrubPauseMin = time.Millisecond
)

// scrub re-reads the rows of a frame of each partition, one partition after the other, at Config.ScrubRows a second, a
// KiB counting as a row: rows that rot on disk are found
// while there is a copy to restore, and not when they are asked for.
func (k *Keyframer) scrub(ctx context.Context) {
	for {
		start := time.Now()
		for _, t := range *k.topics.Load() {
			for _, p := range t.Partitions() {
				k.scrubPartition(ctx, p)
			}
		}
		if !pause(ctx, max(k.cfg.ScrubPause-time.Since(start), scrubPauseMin)) {
			return
		}
	}
}

// pause waits; false: ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (k *Keyframer) scrubPartition(ctx context.Context, p *Partition) {
	tab, err := p.Table()
	if err != nil {
		return
	}
	s := tab.ScrubFrame()
	for done := false; !done; {
		if _, err := p.Table(); err != nil || p.rotten.Load() {
			return // gone, or known to be rotten
		}
		piece, err := s.Next(ctx, scrubPiece)
		k.metrics.scrubbedRows.Add(float64(piece.Rows))
		switch {
		case ctx.Err() != nil || errors.Is(err, table.ErrClosed):
			return
		case errors.Is(err, table.ErrCorrupt) || errors.Is(err, table.ErrDigest):
			k.rot(ctx, p, s, err)
			return
		case err != nil:
			p.logger.Error("a scrub failed, and is tried again in the next round", "error", err)
			return
		}
		rows := max(int64(piece.Rows), piece.Bytes>>10, 1)
		if done = piece.Done; !done && !pause(ctx, time.Duration(rows)*time.Second/time.Duration(k.cfg.ScrubRows)) {
			return
		}
	}
	if _, begun := s.Cut(); begun {
		k.metrics.scrubs.Inc()
	}
}

// rot tells that a partition's rows are damaged on disk. Nothing is trimmed any more: the log may be needed. Where it reaches back to its start,
// the rows are folded from it again.
func (k *Keyframer) rot(ctx context.Context, p *Partition, s *table.Scrub, why error) {
	cut, _ := s.Cut()
	attrs := []any{"cut", cut, "error", why}
	var where *table.CorruptError
	if errors.As(why, &where) && where.Offset >= 0 {
		attrs = append(attrs, "offset", where.Offset)
	}
	p.rotten.Store(true)
	k.metrics.scrubCorrupt.Inc()
	if rebuildable(p.log.Bounds()) {
		p.logger.Error("rows are damaged on disk: they are folded from the log again, which has all of them", attrs...)
		err := k.refold(ctx, p)
		if err == nil {
			return
		}
		attrs = append(attrs, "refold", err)
	}
	p.logger.Error("rows are damaged on disk, and nothing of this partition is trimmed any more: stop the broker, let keyframe check say what is damaged, "+
		"and restore it from a backup; replace the disk first", attrs...)
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
		if err := k.cfg.Tables.Drop(ctx, p.ordinal); err != nil {
			return err
		}
		if err := k.cfg.Holds.Lost(p.topic.ID, p.Index); err != nil {
			p.logger.Error("replicas that hold frames which are gone find out when they ask for them", "error", err)
		}
		return nil
	})
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

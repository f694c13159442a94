package keyframer

import (
	"context"
	"errors"
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
		case isDamage(err):
			cut, _ := s.Cut()
			k.rot(p, err, "cut", cut)
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

package keyframer

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/live"
	"github.com/keyframelog/keyframe/storage/log"
	"github.com/keyframelog/keyframe/storage/table"
)

// open opens the table and makes it agree with the log. The table is derived data as long as the log reaches back to its
// start, and is then dropped and rebuilt rather than repaired. Afterwards rows below the delta start offset are the only
// copy, and whatever does not fit is an error.
func (p *Partition) open(ctx context.Context) error {
	bounds := p.log.Bounds()
	t, err := p.openTable(ctx, bounds)
	if err != nil {
		return err
	}
	if t, err = p.agree(ctx, t, bounds); err != nil {
		return err
	}
	if start := t.Start(); start > p.log.Bounds().LogStart {
		// The log start is seen a moment before it is durable, and a crash came between: the rows below it have left already.
		if err := p.log.HideBelow(ctx, start); err != nil {
			return fmt.Errorf("move the log start to %d, below which rows have expired: %w", start, err)
		}
	}
	p.table = t
	p.live = live.New(t, live.Config{
		MaxIntervalBytes: p.k.cfg.MemoryBytes, MaxDecompressed: p.k.cfg.MaxDecompressed,
		Now: p.k.cfg.Now, Logger: p.logger,
	})
	return p.resume(ctx, t)
}

// rebuildable says whether the log holds everything that was ever in it.
func rebuildable(b log.Bounds) bool { return b.DeltaStart == 0 }

func (p *Partition) openTable(ctx context.Context, bounds log.Bounds) (*table.Table, error) {
	t, err := p.k.cfg.Tables.Table(p.ordinal, p.identity())
	switch {
	case err == nil:
		return t, nil
	case errors.Is(err, table.ErrIdentity), errors.Is(err, table.ErrCorrupt):
		if errors.Is(err, table.ErrIdentity) && !rebuildable(bounds) {
			return nil, fmt.Errorf("the table is not of this life of the log, which has lost records that the table holds: restore both from one backup: %w", err)
		}
		if !rebuildable(bounds) {
			return nil, err
		}
		why := err.Error()
		if errors.Is(err, table.ErrCorrupt) {
			why += "; which key frames it had cannot be read: the names of cuts that were taken before are not good any more"
		}
		return p.rebuild(ctx, why)
	}
	return nil, err
}

func (p *Partition) identity() table.Identity {
	return table.Identity{TopicID: p.topic.ID, Partition: p.Index, Incarnation: p.Incarnation, Fold: p.topic.Fold}
}

func (p *Partition) rebuild(ctx context.Context, why string) (*table.Table, error) {
	p.logger.Warn("the table is dropped and folded from the log again", "reason", why)
	return p.create(ctx, nil)
}

// create drops the partition's table and makes an empty one. between runs when neither is there; nil: nothing does.
func (p *Partition) create(ctx context.Context, between func() error) (*table.Table, error) {
	if err := p.k.cfg.Tables.Drop(ctx, p.ordinal); err != nil {
		return nil, fmt.Errorf("drop the table: %w", err)
	}
	if between != nil {
		if err := between(); err != nil {
			return nil, err
		}
	}
	return p.k.cfg.Tables.Table(p.ordinal, p.identity())
}

// beginAnew makes an empty table for a log whose start has moved. Where deltas are no whole values, what those above it were folded onto depends
// on the offset at which rows left the former table, and that went with it: the state at an offset is another one than it was. So is the
// incarnation then, or replicas would be told that they have drifted. A crash on the way leaves no table, or an empty one: all of it is done
// again.
func (p *Partition) beginAnew(ctx context.Context, empty *table.Table) (*table.Table, error) {
	if p.topic.Fold.WholeValues() || p.renewIncarnation == nil {
		return empty, nil
	}
	return p.create(ctx, func() error {
		incarnation, err := p.renewIncarnation(ctx)
		if err != nil {
			return fmt.Errorf("draw another incarnation: %w", err)
		}
		p.logger.Info("the log has another incarnation: what its deltas were folded onto is not known any more",
			"was", hex.EncodeToString(p.Incarnation[:]), "incarnation", hex.EncodeToString(incarnation[:]))
		p.Incarnation = incarnation
		return nil
	})
}

// renew draws another incarnation for a log that has lost records which somebody may have read: others will have their offsets. It is
// durable before the table goes, since the table alone shows the loss. After a crash in between, the table is one of another
// incarnation, and is rebuilt as such.
func (p *Partition) renew(ctx context.Context) error {
	if p.renewIncarnation == nil {
		return errors.New("its log cannot be given another incarnation")
	}
	incarnation, err := p.renewIncarnation(ctx)
	if err != nil {
		return fmt.Errorf("draw another incarnation: %w", err)
	}
	p.logger.Error("records that were readable are lost: the log has another incarnation from now on, and replicas begin anew",
		"was", hex.EncodeToString(p.Incarnation[:]), "incarnation", hex.EncodeToString(incarnation[:]))
	p.Incarnation = incarnation
	return nil
}

// lost tells how the table shows that the log has lost records: it is folded further than the log reaches, or, where others have taken
// their offsets since, from a batch of another leader epoch. Empty: it does not. Only committed records are folded.
func (p *Partition) lost(t *table.Table, b log.Bounds) string {
	position, epoch := t.Position(), t.LeaderEpoch()
	if position > b.LastStable {
		return fmt.Sprintf("it is folded to offset %d, but the log ends at %d", position, b.LastStable)
	}
	if position == 0 || epoch < 0 {
		return ""
	}
	if is := p.log.EpochAt(position - 1); is >= 0 && is != epoch {
		return fmt.Sprintf("it is folded to offset %d in leader epoch %d, but there the log has epoch %d", position, epoch, is)
	}
	return ""
}

// agree compares the table's position and frames with the log's bounds.
func (p *Partition) agree(ctx context.Context, t *table.Table, b log.Bounds) (*table.Table, error) {
	position := t.Position()
	if why := p.lost(t, b); why != "" {
		p.logger.Error("the table is ahead of its log: the end of the log is gone, and acknowledged records may be lost: "+damage.Advice, "reason", why)
		// Also where nothing can be rebuilt: the log goes on, and must not grow into the table unseen.
		if err := p.renew(ctx); err != nil {
			return nil, fmt.Errorf("the table is ahead of its log: %s: %w", why, err)
		}
		if !rebuildable(b) {
			return nil, fmt.Errorf("the table is ahead of its log: %s, and starts at %d: restore both from one backup", why, b.DeltaStart)
		}
		return p.rebuild(ctx, why)
	}
	if rebuildable(b) {
		if position == 0 && b.LogStart > 0 {
			return p.beginAnew(ctx, t)
		}
		return t, nil
	}
	if _, err := t.Frame(b.DeltaStart); position != 0 && b.LogStart == b.DeltaStart && (position < b.DeltaStart || errors.Is(err, table.ErrNoFrame)) {
		// While the topic was not key-framed, retention passed all rows: none of them can be read any more.
		if t, err = p.rebuild(ctx, fmt.Sprintf("retention has moved the log start to %d meanwhile, above all rows", b.LogStart)); err != nil {
			return nil, err
		}
		position = 0
	}
	if position < b.DeltaStart {
		// Nothing is missing if records were only ever dropped by retention: the topic was not key-framed then.
		if b.LogStart < b.DeltaStart || position != 0 {
			return nil, fmt.Errorf("the table is folded to offset %d, but the log keeps deltas from %d only: restore it from a backup",
				position, b.DeltaStart)
		}
		t, err := p.beginAnew(ctx, t)
		if err != nil {
			return nil, err
		}
		err = p.k.cfg.Tables.Commit(ctx, []table.Fold{{
			Table: t, End: b.DeltaStart, LeaderEpoch: -1, Cut: true, CutTimeMs: p.k.nowMs(), Start: min(b.LogStart, b.DeltaStart),
		}})
		return t, err
	}
	if _, err := t.Frame(b.DeltaStart); err != nil {
		return nil, fmt.Errorf("no key frame at the delta start offset %d: %w", b.DeltaStart, err)
	}
	if frames := t.Frames(); frames[0].Cut < b.DeltaStart {
		// A crash came between the log's trim and the table's.
		err := t.Trim(ctx, b.DeltaStart)
		if isDamage(err) {
			p.k.rot(p, fmt.Errorf("trim the table to %d: %w", b.DeltaStart, err)) // no reason not to show what can be read: nothing is trimmed any more
			err = nil
		}
		return t, err
	}
	return t, nil
}

// resume sets what is known of the interval since the newest cut from what is durable: what was folded without a cut. The rest
// is counted as it is read again.
func (p *Partition) resume(ctx context.Context, t *table.Table) error {
	if frames := t.Frames(); len(frames) > 0 {
		newest := frames[len(frames)-1]
		p.lastCut, p.lastCutMs = newest.Cut, newest.CutTimeMs
	}
	p.resumeDue(t)
	cut, position := max(p.lastCut, 0), t.Position()
	if cut == position {
		return nil
	}
	fromCut, err := p.log.BytesFrom(ctx, cut)
	if err != nil {
		return fmt.Errorf("size of what was folded since the cut at %d: %w", cut, err)
	}
	left, err := p.log.BytesFrom(ctx, position)
	if err != nil {
		return fmt.Errorf("size of what is not folded from %d on: %w", position, err)
	}
	p.since = interval{records: position - cut, bytes: fromCut - left, firstMs: p.k.nowMs()}
	return nil
}

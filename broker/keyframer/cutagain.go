package keyframer

import (
	"context"

	"github.com/keyframelog/keyframe/storage/table"
)

// A table that is folded again gets the frames that the damaged one had: at the same cuts, of the same log starts and times, and kept if they were. So
// the names of cuts are good as before, and thinning and trimming go on where they were. What was is known from the damaged table's meta; it is noted in
// the new one before anything is folded, so that a crash on the way changes nothing. No other frame comes before the last of these: times ascend.

// frames are those that the table has, and those that are due to it.
func (p *Partition) frames() []table.Frame {
	if p.table == nil {
		return nil
	}
	return p.table.Named()
}

// cutAgain makes an empty table for a partition, whose table was dropped, to which the frames are due.
func (p *Partition) cutAgain(ctx context.Context, frames []table.Frame) {
	if len(frames) == 0 {
		return
	}
	if p.log.Bounds().LogStart > 0 && !p.topic.Fold.WholeValues() {
		p.logger.Warn("the names of cuts are not good any more: what deltas were folded onto depended on when rows had expired, which is not known any more")
		return // the log gets another incarnation, see beginAnew
	}
	t, err := p.k.cfg.Tables.Table(p.ordinal, p.identity())
	if err == nil {
		err = t.CutAgain(context.WithoutCancel(ctx), frames)
	}
	if err != nil {
		p.logger.Error("the names of cuts are not good any more: the key frames of the table that was dropped could not be noted", "error", err)
	}
}

// cutsAgain tells whether frames are due to the partition that has taken the place of one.
func (k *Keyframer) cutsAgain(was *Partition) bool {
	p, err := k.Partition(was.topic.Name, was.Index)
	if err != nil {
		return false
	}
	t, err := p.Table()
	return err == nil && len(t.Due()) > 0
}

// resumeDue reads which frames are due. One above the end of the log cannot be cut: the log has lost what it had.
func (p *Partition) resumeDue(t *table.Table) {
	end := p.log.Bounds().LastStable
	for _, f := range t.Due() {
		p.lastCutMs = max(p.lastCutMs, f.CutTimeMs)
		if f.Cut <= end {
			p.due = append(p.due, f)
		}
	}
}

// nextDueLocked returns the frame that is to be cut at or behind a position before any other; nil: there is none.
func (p *Partition) nextDueLocked(position int64) *table.Frame {
	p.passDueLocked(position - 1)
	if len(p.due) == 0 {
		return nil
	}
	f := p.due[0]
	return &f
}

// passDueLocked forgets the frames up to a cut.
func (p *Partition) passDueLocked(cut int64) {
	for len(p.due) > 0 && p.due[0].Cut <= cut {
		p.due = p.due[1:]
	}
}

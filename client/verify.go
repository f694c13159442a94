package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/table"
)

func (p *partition) verdict(at int64, o Outcome, ours, logs digest.Digest, reason string, err error) Verdict {
	return Verdict{
		Topic: p.r.cfg.Topic, Partition: p.no, At: at, Outcome: o, Ours: ours, Logs: logs, Reason: reason, Err: err, Time: p.r.cfg.Now(),
		start: p.start.Load(),
	}
}

// judgeLocked compares our digest at a frame's cut with the frame's.
func (p *partition) judgeLocked(f plane.Frame, ours digest.Digest) Verdict {
	if p.overwrittenLocked(p.knownRot(), ours, f.Digest) {
		ours = f.Digest
	}
	switch {
	case ours == f.Digest:
		p.start.Store(max(f.Start, p.start.Load())) // without rows of ours that it passes
		if p.rot() == nil {
			p.verifiedLocked(point{f.Cut, ours, f.Start})
		}
		return p.verdict(f.Cut, Equal, ours, f.Digest, "", nil)
	case f.Start != p.start.Load():
		// Retention took rows out of the frame that no record tells us of: we need the frame.
		p.restartLocked(restart{event: OutOfRange, err: fmt.Errorf("%w: log start moved from %d to %d", errOutOfRange, p.start.Load(), f.Start)})
		return p.verdict(f.Cut, Inconclusive, ours, f.Digest, "the log start moved: rows expired", nil)
	}
	return p.judged(p.verdict(f.Cut, Drifted, ours, f.Digest, differs(ours, f.Digest), nil))
}

// foldedOnLocked tells whether a state at a frame's cut had rows, folded on, that the frame's log start had passed: it may have taken effect at an earlier
// frame, which was thinned before we heard of it. Such a state is not the frame's without the rows that leave, and what is stored must not say that it
// respects the log start: whoever opens it later would take it for drifted. without is its digest without these rows.
func (p *partition) foldedOnLocked(s rows, f plane.Frame) (is bool, without digest.Digest, err error) {
	if s.kind().WholeValues() {
		return false, without, nil
	}
	without, _, err = s.digest()
	if err != nil {
		return false, without, err
	}
	if d, ok := s.(*dirRows); ok && p.rot() != nil {
		d.yieldApplied(func(row *table.LostRow, failed error) bool {
			if err = failed; err == nil && row.Offset < f.Start {
				without.Sub(row.Entry)
			}
			return true
		})
		return without != f.Digest, without, err
	}
	var h digest.Hasher
	for row, err := range s.all() {
		if err != nil {
			return false, without, err
		}
		if row.Offset < f.Start {
			without.Sub(h.Entry(row.Key, row.Value))
		}
	}
	return without != f.Digest, without, nil
}

func outOfRangeAt(f plane.Frame) restart {
	return restart{event: OutOfRange, err: fmt.Errorf("%w: rows below %d have expired at %d or below", errOutOfRange, f.Start, f.Cut)}
}

// letExpireLocked lets the rows go that the log start of a frame has passed. stale, whether it is known before or seen here: a delta may have been folded
// onto one of them, and a frame is needed, which is asked for; without is the digest that the others have. Where some cannot be read, and the policy leaves
// them as they are, they go all the same, as they do where it was known before: it is told, and the state is followed on.
func (p *partition) letExpireLocked(s rows, f plane.Frame, known bool) (stale bool, without digest.Digest, err error) {
	stale, without, err = p.tryExpireLocked(s, f, known)
	var rot error
	if unreadable(err) && p.r.cfg.OnDrift == Report && p.rot() == nil {
		rot = fmt.Errorf("%w: %w", ErrCorrupt, err)
		p.rotted(s, scrubbed{damage: rot})
		stale, without, err = p.tryExpireLocked(s, f, known)
	}
	switch {
	case err != nil:
	case stale && rot != nil:
		p.restartLocked(restart{event: CorruptionFound, err: errors.Join(rot, outOfRangeAt(f).err)})
	case stale:
		p.restartLocked(outOfRangeAt(f))
	case rot != nil:
		p.restartLocked(restart{event: CorruptionFound, err: rot, goOn: true})
	}
	return stale, without, err
}

// tryExpireLocked lets rows go unless the state is stale, both as in letExpireLocked. It fails where a row that goes cannot be read, unless that is known.
func (p *partition) tryExpireLocked(s rows, f plane.Frame, known bool) (stale bool, without digest.Digest, err error) {
	if stale = known; !stale {
		if stale, without, err = p.foldedOnLocked(s, f); err != nil {
			return false, without, err
		}
	}
	if !stale {
		err = p.expireLocked(s, f.Start)
	}
	return stale, without, err
}

// expireLocked lets the rows go that the log start has passed: at a cut, or behind it where that makes no difference.
func (p *partition) expireLocked(s rows, start int64) error {
	var gone func(frame.Row)
	var held []Change // at most one: who has the last of them has all
	id, at, before := s.identity(), s.position(), p.start.Load()
	if s.perRecord() || p.watched {
		gone = func(row frame.Row) {
			row = kept(row)
			row.Value, row.Headers, row.Tombstone, row.Offset = nil, nil, true, at-1
			c := toChange(id, &row, Position{id.Incarnation, at, before})
			c.Expired, c.start = true, start
			for _, c := range held {
				p.history.add(c)
			}
			held = append(held[:0], c)
		}
	}
	err := s.expire(start, p.rot() != nil, gone)
	if err == nil {
		p.start.Store(start)
	}
	for _, c := range held {
		if err == nil {
			c.Next.Start = start
		}
		p.history.add(c)
	}
	p.r.changed.notify() // on an idle topic nothing else comes that would wake who watches
	return err
}

// startPassedLocked learns of a log start at or behind the cut at which it took effect. Where every delta is a whole value, rows may leave later
// as well: none that was touched since lies below it. Else a delta may have been folded onto a row that was gone, and the frame is needed.
func (p *partition) startPassedLocked(s rows, f plane.Frame) {
	p.compared = max(p.compared, f.Cut)
	stale, _, err := p.letExpireLocked(s, f, s.position() != f.Cut && !s.kind().WholeValues())
	if err != nil {
		p.restartLocked(p.unapplied(err))
	}
	if err != nil || stale {
		return
	}
	d, at, err := s.digest()
	if err != nil {
		p.restartLocked(p.unapplied(err))
		return
	}
	p.ring.reset(s.perRecord()) // the digests in it are of states with those rows
	p.ring.add(at, d)
	p.askNow()
}

// learnStart is told that the log's state at an offset respects another log start than ours did. It asks for the frames that were cut at or
// below the offset: rows of ours leave with them. Where none has this log start any more, we need a frame.
func (p *partition) learnStart(ctx context.Context, at, logs int64) {
	learnt := false
	err := p.r.plane.Frames(ctx, &p.no, false, func(_ []plane.Partition, frames []plane.Frame) error {
		for _, f := range frames {
			if f.Partition == p.no && f.Cut <= at && f.Start >= logs {
				learnt = true
				p.announce(f)
			}
		}
		return nil
	})
	if err == nil && !learnt {
		p.restartWith(restart{event: OutOfRange, err: fmt.Errorf("%w: rows below %d have expired at or below %d", errOutOfRange, logs, at)})
	}
}

func differs(ours, logs digest.Digest) string {
	if ours.Count != logs.Count {
		return fmt.Sprintf("%s here, %d in the log", counted(ours.Count, "row"), logs.Count)
	}
	return counted(ours.Count, "row") + " in both, but at least one value differs"
}

// counted is a number of things.
func counted[N int | int64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// compareNow compares at the partition's own position with what the log says of that offset.
func (p *partition) compareNow(ctx context.Context) Verdict {
	p.mu.Lock()
	s := p.rows()
	if s == nil {
		p.mu.Unlock()
		return p.verdict(0, Inconclusive, digest.Digest{}, digest.Digest{}, "there is no state yet", nil)
	}
	ours, at, err := s.digest()
	incarnation, start, was := s.identity().Incarnation, p.start.Load(), p.knownRot()
	p.mu.Unlock()
	is := func(o Outcome, logs digest.Digest, reason string, err error) Verdict {
		v := p.verdict(at, o, ours, logs, reason, err)
		v.start = start // the state may respect another by now
		return v
	}
	if unreadable(err) {
		p.restartWith(p.unapplied(err))
	}
	if err != nil {
		return is(Error, digest.Digest{}, "our own digest cannot be read", err)
	}
	if p.r.plane == nil {
		return is(Inconclusive, digest.Digest{}, "no state plane to compare with", ErrNoStatePlane)
	}
	logs, logStart, err := p.r.plane.DigestAt(ctx, p.no, incarnation, at)
	switch {
	case errors.Is(err, plane.ErrOtherIncarnation):
		p.restartWith(restart{event: NewIncarnation, err: err})
		return is(Inconclusive, logs, "the log is of another incarnation", err)
	case errors.Is(err, plane.ErrNotComparable):
		return is(Inconclusive, logs, "the log does not know its digest at this offset", err)
	case err != nil:
		return is(Error, logs, "the state plane did not answer", err)
	}
	p.mu.Lock()
	if p.overwrittenLocked(was, ours, logs) {
		ours = logs
	}
	p.mu.Unlock()
	switch {
	case ours != logs && start != logStart:
		if start < logStart {
			p.learnStart(ctx, at, logStart)
		}
		return is(Inconclusive, logs, "the log start moved: rows expired", nil)
	case ours != logs:
		return cmp.Or(was, p.knownRot()).judge(is(Drifted, logs, differs(ours, logs), nil)) // more may have been overwritten by now
	}
	if p.rot() == nil {
		p.verifiedHere(s, point{at, ours, start})
	}
	return p.judged(is(Equal, logs, "", nil))
}

// publish tells of verdicts, and acts on drift as the policy says. Not to be called with mu held.
func (p *partition) publish(verdicts ...Verdict) {
	for _, v := range verdicts {
		p.tell(v)
		if v.Outcome == Drifted {
			p.act(restart{event: DriftFound, err: driftError(v), drift: &v}, v, repairOrder{})
		} else if p.moreDiffer(&v) {
			p.restartWith(moreKeys(&v))
		}
	}
}

// publishAnd is publish where following ended at the last of the verdicts, and that is why; nil: it did not.
func (p *partition) publishAnd(why *restart, verdicts []Verdict) {
	if why == nil {
		p.publish(verdicts...)
		p.pauseIfBehind()
		return
	}
	last := len(verdicts) - 1
	p.publish(verdicts[:last]...)
	p.tell(verdicts[last])
	p.restartWith(*why)
}

// pauseIfBehind has run's goroutine wait, and nothing applied, while there is too much to tell: no other partition waits.
func (p *partition) pauseIfBehind() {
	if !p.r.callbacks.full(p.no) {
		return
	}
	p.unfollow()
	select { // not among the reasons to restart: of those the first counts
	case p.behind <- struct{}{}:
	default:
	}
}

// tell makes a verdict known and does nothing about it. Not to be called with mu held.
func (p *partition) tell(v Verdict) {
	v = p.judged(v)
	if v.Outcome == Equal && !v.Scrub {
		p.equalAt(v.At)
	}
	p.r.publishVerdict(v)
}

// act does what the policy says about a state that is wrong, or whose rows are.
func (p *partition) act(why restart, v Verdict, o repairOrder) {
	switch p.r.cfg.OnDrift {
	case Repair:
		why.repair = &o
	case Halt:
		why.halt = true
	case Rebootstrap:
	default:
		if n := p.named(&v); n != nil {
			p.r.event(Event{Kind: why.event, Partition: p.no, Offset: v.At, Err: why.err})
			p.nameAgain(v.At, n)
			return
		}
		why.goOn = true
	}
	p.restartWith(why)
}

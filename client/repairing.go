package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/proto/state"
)

// repairTurns is how often in a row a frame is asked for without a repair that ended well; then the whole of one is loaded.
const repairTurns = 3

// repairOrder asks for a state to be made equal to a key frame.
type repairOrder struct {
	frame *plane.Frame // at whose cut the state stands; nil: one at or above the position is to be asked for
	// rehash: the rows are to be hashed anew at that cut though the digest that was kept of them agrees: some are rotten.
	rehash bool
}

// stopHereLocked tells why following ends at the cut of a frame that has just been compared; nil: it goes on.
func (p *partition) stopHereLocked(f plane.Frame, v Verdict) *restart {
	rotten := p.rehash && (v.Outcome == Equal || v.Outcome == Error)
	if rotten || v.Outcome == Drifted {
		p.rehash = false
	}
	why := restart{event: DriftFound, err: driftError(v), drift: &v, repair: &repairOrder{frame: &f}}
	switch policy := p.r.cfg.OnDrift; {
	case policy == Repair && v.Outcome == Drifted:
	case policy == Repair && rotten:
		why.event, why.repair.rehash = 0, true // it has been told
	case policy == Halt && v.Outcome == Drifted:
		why.repair, why.halt = nil, true
	case policy == Rebootstrap && v.Outcome == Drifted:
		why.repair = nil
	case policy == Report && v.Outcome == Drifted && p.named(&v) == nil:
		why.repair, why.goOn = nil, true
	case p.moreDiffer(&v):
		why = moreKeys(&v)
	default:
		return nil
	}
	p.following = false
	return &why
}

func driftError(v Verdict) error {
	return fmt.Errorf("%w at offset %d: %s", ErrDrifted, v.At, v.Reason)
}

// repair makes the state equal to a frame: at once, if it stands at the cut of one, else when it gets there. kept is false if that is not
// possible, and another state is to be had. It runs while nothing is applied to the state; afterwards it is followed on.
func (p *partition) repair(ctx context.Context, why restart) (kept bool) {
	p.mending.Store(true)
	defer p.mending.Store(false)
	if why.repair.rehash && p.reindexed() {
		p.followOn()
		p.askNow()
		return true
	}
	if p.r.plane == nil {
		return false
	}
	o, asOf := *why.repair, p.beginRepair()
	wasAway := false
	for turn := 0; ; turn++ {
		if o.frame == nil {
			goOn, err := p.seek(ctx, &o)
			switch {
			case ctx.Err() != nil:
				return true
			case err != nil:
				return p.unrepaired(err, why, asOf)
			case goOn:
				return true
			}
		}
		c := p.comparison(p.rows(), *o.frame)
		c.patience = p.patience()
		c.names = &namer{p: p}
		err := p.repairAt(ctx, c, o.rehash)
		if errors.Is(err, plane.ErrNoFrame) && turn < repairTurns {
			o.frame = nil // it was thinned or superseded meanwhile
			continue
		}
		if err == nil || ctx.Err() != nil {
			return true
		}
		away := plane.Away(err) // or this call alone has no answer
		if !away && p.unrepaired(err, why, asOf) {
			return true
		}
		if refusal := p.mayReplace(ctx); refusal != nil && p.unrepaired(refusal, why, asOf) {
			return true
		}
		if away && !wasAway {
			wasAway = true // it is back
			continue
		}
		if err = p.repairByFrame(ctx, c, err); err == nil {
			return true
		}
		return ctx.Err() != nil || plane.Away(err) && p.unrepaired(err, why, asOf)
	}
}

// patience is that of a repair with a broker that is busy. Nothing is applied meanwhile, so what came to nothing before is not waited for again: it
// is tried, and the state is followed on.
func (p *partition) patience() *plane.Patience {
	if p.unmended > 0 {
		return plane.NoPatience(p.r.cfg.Retry, p.r.cfg.Now)
	}
	return plane.NewPatience(p.r.cfg.Retry, p.r.cfg.Now)
}

// reindexed makes what leads to the rows anew where that is what is wrong, and all rows are as they were applied: whatever the log has. Else false.
func (p *partition) reindexed() bool {
	began, s := p.r.cfg.Now(), p.rows()
	done, err := s.reindex()
	if err != nil {
		p.log.Warn("what leads to the rows cannot be made anew", "err", err)
	}
	if !done {
		return false
	}
	p.mu.Lock()
	p.patched.Add(1)
	p.rotten.Store(nil)
	p.mu.Unlock()
	p.tellMended(p.note(RepairResult{Cut: s.position(), Cause: LocalCorruption, Method: ByRows}, began))
	return true
}

// followOn follows the log again from where the state stands, after it was looked at: what was asked for before that is done.
func (p *partition) followOn() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.followOnLocked()
}

func (p *partition) followOnLocked() {
	p.compared = max(p.compared, p.rows().position())
	p.forgetRestartLocked()
	p.followLocked()
}

// seek asks for a frame at or above the position. Where it lies above, following goes on to its cut: goOn. Else the state is compared with it, and
// either differs, so that o has the frame, or goOn.
func (p *partition) seek(ctx context.Context, o *repairOrder) (goOn bool, err error) {
	s := p.rows()
	at := s.position()
	var a plane.Answer
	patience := p.patience()
	for _, naming := range []bool{false, true} { // in a dispute what differs is named at least
		var own error // of our rows: they do not become readable by asking again
		err = patience.Call(ctx, func(ctx context.Context) (err error) {
			if a, err = p.askLog(ctx, standing{rows: s, shown: true}, &wanted{repairAt: at, naming: naming}); unreadable(err) {
				own, err = err, nil
			}
			return err
		})
		if err = cmp.Or(err, own); !plane.Disputed(err) {
			break
		}
	}
	switch {
	case err != nil:
		return false, err
	case a.Kind == state.Answer_ANSWER_RESET:
		return false, &a.Reason
	case a.Frame == nil || a.Frame.Incarnation != s.identity().Incarnation || a.Frame.Cut < at:
		return false, fmt.Errorf("%w: %v without a frame at or above %d", plane.ErrBadAnswer, a.Kind, at)
	}
	f := *a.Frame
	p.hold(ctx, a)
	p.mu.Lock()
	p.rehash = o.rehash
	if f.Cut > at {
		p.waitForLocked(f)
		p.followOnLocked()
		p.mu.Unlock()
		if !p.holds() {
			p.log.Warn("the lease on a frame to be repaired with has ended", "cut", f.Cut, "err", p.lease.over)
		}
		return true, nil
	}
	p.pending = slices.Insert(slices.DeleteFunc(p.pending, func(x plane.Frame) bool { return x.Cut <= at }), 0, f)
	v, err := p.comparePendingLocked(s)
	var why *restart
	if err == nil {
		why = p.stopHereLocked(f, v)
	}
	if err == nil && why == nil && len(p.restart) == 0 {
		p.followOnLocked()
	}
	p.mu.Unlock()
	if err != nil {
		return false, err
	}
	if why == nil {
		p.tell(v)
		return true, nil
	}
	o.frame = &f // that it differs has been told: it is why we ask
	return false, nil
}

// repairAt finds what differs from the frame, at whose cut the state stands, and puts it right. told: that rows are rotten is known.
func (p *partition) repairAt(ctx context.Context, c *comparison, told bool) error {
	began, f := p.r.cfg.Now(), c.plane.Of
	told = told || p.rot() != nil
	err := c.rehash()
	if err != nil {
		p.corruption(c.s, f.Cut, fmt.Errorf("%w: they cannot be read: %w", ErrCorrupt, err))
		if p.reindexed() {
			err = c.rehash()
		}
	}
	if err != nil {
		return err
	}
	switch n := len(c.lost); {
	case told:
	case n > 0:
		p.corruption(c.s, f.Cut, fmt.Errorf("%w: %d of them cannot be read", ErrCorrupt, n))
	case c.stored != c.kept:
		p.corruption(c.s, f.Cut, fmt.Errorf("%w: %s", ErrCorrupt, differs(c.stored, c.kept)))
	}
	done := RepairResult{Cut: f.Cut, Cause: c.cause()}
	d, method, err := c.mend(ctx, p.patch)
	if plane.Disputed(err) {
		if n := p.namedAs(c.stored, f.Digest); n != nil {
			p.nameAgain(f.Cut, n)
		} else {
			p.nameDifferences(ctx, p.rows())
		}
	}
	if err != nil {
		return err
	}
	done.Method, done.Bytes, done.RoundTrips = method, c.plane.Bytes, c.plane.Trips
	done.Keys = int64(len(d.keys))
	if done.Cause == LogicalDrift && done.Keys == 0 {
		p.sane(f)
		return nil
	}
	p.repaired(done, began, f)
	return nil
}

// patch applies a difference, as one with what watchers and the ring know, if the rows are the frame's afterwards. That nobody resumes at the cut is stored
// before: no crash may leave rows that were put right and nothing that says so. Where the rows stay as they are, it is true all the same.
func (p *partition) patch(c *comparison, d findings) error {
	if err := c.s.remember(c.s.position()); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	position := p.position()
	if err := c.s.patch(d.puts, d.deletes, c.plane.Of.Digest); err != nil {
		return err
	}
	p.patched.Add(1)
	p.rotten.Store(nil)
	if c.s.perRecord() || p.watched {
		p.history.replace(p.way(d, c.s.identity(), position), position, position)
	} // else the first watcher begins the history
	p.history.distrust(position)
	p.ring.reset(c.s.perRecord()) // the digests in it are of states that were wrong, or may have been
	p.ring.add(position.Offset, c.plane.Of.Digest)
	p.verifiedLocked(point{position.Offset, c.plane.Of.Digest, c.plane.Of.Start})
	return nil
}

// way is what a holder of the wrong state must change. Who has only some of it begins anew.
func (p *partition) way(d findings, id identity, at Position) *transition {
	way, left := newTransition(p.r.cfg.WatchChanges), len(d.puts)+len(d.deletes)
	next := func() Position {
		if left--; left == 0 {
			return at
		}
		return Position{at.Incarnation, nowhere, at.Start}
	}
	for i := range d.puts {
		way.add(toChange(id, &d.puts[i], next()))
	}
	for _, key := range d.deletes {
		gone := frame.Row{Key: key, Offset: at.Offset - 1, Timestamp: p.r.cfg.Now().UnixMilli(), Tombstone: true}
		way.add(toChange(id, &gone, next()))
	}
	return way
}

// compareWith takes a frame at or above the position for announced, also where the state at its cut was compared before.
func (p *partition) compareWith(f plane.Frame) {
	p.mu.Lock()
	p.compared = min(p.compared, f.Cut-1)
	p.mu.Unlock()
	p.announce(f)
}

// repaired tells what was done, and that the state is equal now.
func (p *partition) repaired(done RepairResult, began time.Time, f plane.Frame) {
	p.mend(done, began)
	v := p.verdict(f.Cut, Equal, f.Digest, f.Digest, "", nil)
	v.start = f.Start // rows may have left at the cut by now
	p.tell(v)
}

// sane tells that all rows are what was applied, and the frame's, after they were looked at: what was wrong with them was put right or overwritten before.
func (p *partition) sane(f plane.Frame) {
	p.unmended = 0
	p.followOn()
	p.moved.notify()
	p.r.changed.notify()
	for _, scrub := range []bool{true, false} {
		v := p.verdict(f.Cut, Equal, f.Digest, f.Digest, "", nil)
		v.start, v.Scrub = f.Start, scrub
		p.tell(v)
	}
}

// mend tells what was done, and follows on.
func (p *partition) mend(done RepairResult, began time.Time) {
	done = p.note(done, began)
	p.followOn()
	p.tellMended(done)
}

// note notes what was done.
func (p *partition) note(done RepairResult, began time.Time) RepairResult {
	p.unmended = 0
	done.Time = p.r.cfg.Now()
	done.Duration = done.Time.Sub(began)
	p.repairs.Add(1)
	p.mended.Store(&done)
	return done
}

func (p *partition) tellMended(done RepairResult) {
	p.moved.notify()
	p.r.changed.notify()
	p.log.Warn("repaired", "cut", done.Cut, "cause", done.Cause.String(), "keys", done.Keys, "method", string(done.Method), "bytes", done.Bytes,
		"round_trips", done.RoundTrips, "took", done.Duration)
	p.r.metrics.repaired(p.r.cfg.Topic, p.no, done)
	p.r.event(Event{Kind: Repaired, Partition: p.no, Offset: done.Cut, Rows: done.Keys, Repair: &done})
}

// distrust notes that what was told up to the position was wrong, where that is why following ended: who resumes there begins anew.
func (p *partition) distrust(why restart) {
	if why.wrong() && !why.goOn {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.history.distrust(p.position())
	}
}

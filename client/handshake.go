package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/storage/memory"
	"github.com/keyframelog/keyframe/storage/table"
)

// errAskAgain says that the answer left nothing to go on with: the log is asked once more, without a state.
var errAskAgain = errors.New("the state is of no use, the log is asked for another")

// standing is what a partition comes with: rows that it shows, stored ones that nobody has seen yet, or none of use.
type standing struct {
	rows  rows
	shown bool
	// doubted: there are no rows of use because those that are shown differ from the log. It may be the log that is wrong, so they are
	// replaced only if nothing is said against it.
	doubted bool
	// judged: rows are what the log says has changed, on what was here before, and are to be compared with the log at once.
	judged bool
}

// stands returns what the partition comes with; why: of the state that it has shown so far, if there is one.
func (p *partition) stands(why restart) (standing, error) {
	if s := p.rows(); s != nil {
		if !why.resume {
			return standing{doubted: why.wrong()}, nil
		}
		return standing{rows: s, shown: true}, nil
	}
	s, ok, err := p.r.stores.open(p.no)
	if err != nil || !ok {
		return standing{}, err
	}
	return standing{rows: s}, nil
}

// establish gives the partition a state to follow from; why: of the former one. It tries until it has one, ctx ends, or trying is of no use;
// every failed attempt is an event.
func (p *partition) establish(ctx context.Context, why restart) error {
	have, err := p.stands(why)
	if err != nil {
		return err
	}
	stored, asOf := have, p.beginRepair()
	if p.unseen = nil; !have.shown {
		p.unseen = have.rows
	}
	for try := 0; ; try++ {
		p.awaitTold(toldBehind)
		err := p.become(ctx, &have)
		if err == nil {
			p.unseen = nil
			p.dropUnseen(stored)
			return nil
		}
		p.letGo()
		if have.doubted && errors.Is(err, ErrUnrepairable) && p.unrepaired(err, why, asOf) {
			return nil
		}
		var refused *ReplaceRefusedError
		if errors.As(err, &refused) || errors.Is(err, ErrCorrupt) {
			return err
		}
		p.failed(ctx, err)
		if errors.Is(err, ErrRefused) || errors.Is(err, ErrPartitions) {
			return err
		}
		if damagedBeside(err) {
			return errors.Join(fmt.Errorf("%w: %w: %w", ErrCorrupt, err, ErrReopen), p.r.stores.keepDamaged(err))
		}
		if err := plane.Wait(ctx, p.r.cfg.Retry<<min(try, 5)); err != nil {
			return err
		}
	}
}

// dropUnseen removes a stored state that another took the place of before anybody saw it.
func (p *partition) dropUnseen(stored standing) {
	if stored.rows == nil || stored.shown || p.rows() == stored.rows {
		return
	}
	if err := stored.rows.discard(); err != nil {
		p.log.Warn("removing the stored state", "err", err)
	}
}

func (p *partition) failed(ctx context.Context, err error) {
	p.r.fail(p.no, err)
	var ended *ReasonError
	switch {
	case ctx.Err() != nil || errors.Is(err, errAskAgain) || errors.As(err, &ended):
		return // it was told, or nobody need be
	case rejected(err):
		p.r.event(Event{Kind: FrameRejected, Partition: p.no, Err: err})
	default:
		p.r.event(Event{Kind: BootstrapFailed, Partition: p.no, Err: err})
	}
}

// become asks the log how the partition becomes current, and does that.
func (p *partition) become(ctx context.Context, have *standing) error {
	if err := p.sameTopic(ctx); err != nil {
		return err
	}
	if p.r.plane == nil || p.r.cfg.From == FromEarliest && have.rows == nil && p.rows() == nil {
		return p.alone(ctx, *have)
	}
	a, err := p.askHow(ctx, *have)
	switch {
	case errors.Is(err, plane.ErrNoHandshake):
		return p.alone(ctx, *have)
	case err != nil && have.rows != nil && !have.shown && ctx.Err() == nil: // a plane that is down must not keep a stored replica from opening
		p.log.Warn("replica: the state plane did not answer, the stored state is followed as it is", "err", err)
		return p.alone(ctx, *have)
	case err != nil:
		return err
	}
	p.hold(ctx, a)
	if err := p.carryOut(ctx, a, have); err != nil {
		return err
	}
	p.checks.Add(1) // else it would be followed for a moment as if nothing were due
	defer p.checked()
	p.follow()
	if have.judged || have.rows != nil && a.Kind == state.Answer_ANSWER_REPAIR && a.Frame != nil { // it goes on with its own rows
		have.judged = false
		p.compareWith(*a.Frame)
	}
	if a.Kind == state.Answer_ANSWER_DELTA {
		p.repairRot()
	}
	if p.holds() {
		return nil
	}
	p.unfollow()
	*have = standing{rows: p.rows(), shown: true}
	return &ReasonError{Reason: p.lease.over.Reason, Why: "the lease ended on the way: " + p.lease.over.Why}
}

// sameTopic returns ErrPartitions where the topic was created anew with other partitions.
func (p *partition) sameTopic(ctx context.Context) error {
	if p.replaced {
		if err := p.r.checkPartitions(ctx); err != nil {
			return err
		}
		p.replaced = false
	}
	return nil
}

// askHow asks how the partition becomes current. What takes the place of a doubted state must be fit to be repaired with.
func (p *partition) askHow(ctx context.Context, have standing) (plane.Answer, error) {
	s := p.rows()
	if !have.doubted || s == nil {
		return p.askLog(ctx, have, nil)
	}
	at := s.position()
	a, err := p.askLog(ctx, standing{rows: s, shown: true}, &wanted{repairAt: at})
	if unreadable(err) {
		return p.askLog(ctx, standing{}, nil) // nothing better than the log's can be had of it
	}
	return a, plane.ClassifyRepair(err)
}

// wanted is a frame to be repaired with.
type wanted struct {
	repairAt int64 // at or above which it is
	naming   bool  // what differs is only named
}

// askLog tells the log what the partition has, and returns what it is to do.
func (p *partition) askLog(ctx context.Context, have standing, repair *wanted) (plane.Answer, error) {
	req := &state.ResumeRequest{Topic: p.r.cfg.Topic, Partition: p.no, Replica: p.r.name, Instance: p.r.instance[:], LeaderEpoch: -1}
	if repair != nil {
		req.RepairAt, req.Naming = &repair.repairAt, repair.naming
	}
	if s := have.rows; s != nil {
		id := s.identity()
		points, err := p.points(have)
		if err != nil {
			return plane.Answer{}, err
		}
		req.Incarnation, req.LeaderEpoch = id.Incarnation[:], s.epoch()
		for _, x := range points {
			sum := x.digest.Sum.Bytes()
			req.Points = append(req.Points, &state.Point{Offset: x.offset, Count: x.digest.Count, Sum: sum[:], Start: x.start})
		}
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return p.r.plane.Resume(ctx, req)
}

// points are what the log is asked about: the position, then the cuts below it at which the state was verified.
func (p *partition) points(have standing) ([]point, error) {
	verified, err := p.r.stores.verified(p.no)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	d, at, err := have.rows.digest()
	if err != nil {
		return nil, err
	}
	start := have.rows.logStart()
	if have.shown {
		verified, start = p.verified, max(start, p.start.Load())
	}
	points := []point{{at, d, start}}
	for _, x := range verified {
		if x.offset < at && len(points) < pointsMax {
			points = append(points, x.point)
		}
	}
	return points, nil
}

// carryOut does what the log answered. Afterwards the partition shows a state that can be followed.
func (p *partition) carryOut(ctx context.Context, a plane.Answer, have *standing) error {
	s := have.rows
	if id := a.Info; s != nil && a.Kind != state.Answer_ANSWER_RESET && a.Kind != state.Answer_ANSWER_FRAME &&
		(s.identity().TopicID != id.TopicID || s.identity().Incarnation != id.Incarnation) {
		a.Kind, a.Reason = state.Answer_ANSWER_RESET, ReasonError{Reason: state.Reason_REASON_OTHER_INCARNATION, Why: "the topic is another one"}
	}
	switch a.Kind {
	case state.Answer_ANSWER_CONTINUE:
		if s == nil {
			if err := p.mayTakePlace(a.Info, nil, false); err != nil {
				return err
			}
			return p.beginEmpty(a)
		}
		return p.goOn(*have)
	case state.Answer_ANSWER_DELTA:
		if !have.shown {
			if err := p.show(s, 0, Event{Kind: Resumed}); err != nil {
				return err
			}
			have.shown = true
		}
		err := p.catchUp(ctx, a, s, false)
		wrong := ctx.Err() == nil && (errors.Is(err, memory.ErrDigest) || errors.Is(err, table.ErrDigest))
		if wrong && a.Frame.Start > p.start.Load() && !s.kind().WholeValues() {
			// A delta below the position may have been folded onto a row that was gone: that is no drift, and what changed since does not mend it.
			p.r.event(Event{Kind: OutOfRange, Partition: p.no, Offset: s.position(), Err: outOfRangeAt(*a.Frame).err})
			*have = standing{}
			return errAskAgain
		}
		if wrong {
			// What came was damaged on its way, or the state was wrong before. It is loaded again, and then judged as any state is at a frame's cut.
			err = p.catchUp(ctx, a, s, true)
			have.judged = err == nil
		}
		if ctx.Err() == nil && unreadable(err) {
			return p.unappliedSince(ctx, have, err)
		}
		if err != nil && ctx.Err() == nil && useless(err) {
			*have = standing{} // the whole frame helps
		}
		return err
	case state.Answer_ANSWER_RESET:
		p.reset(a, s)
		have.rows, have.shown = nil, false
		if err := p.sameTopic(ctx); err != nil {
			return err
		}
	case state.Answer_ANSWER_REPAIR:
		if s != nil && reaches(&a, s.position()) {
			return p.goOn(*have) // what differs is dealt with at the frame's cut, or where the comparison at the position finds it
		}
		if s != nil {
			if p.r.cfg.OnDrift == Halt {
				p.keepHalted(s.position())
			}
			refused := p.mayTakePlace(a.Info, a.Frame, true)
			if p.nameTaken(ctx, s, refused); refused != nil {
				return refused
			}
			p.history.distrust(Position{s.identity().Incarnation, s.position(), s.logStart()})
		}
		have.rows, have.shown = nil, false // the frame makes it right
	case state.Answer_ANSWER_FRAME:
		if err := p.mayTakePlace(a.Info, a.Frame, false); err != nil {
			return err
		}
		if s != nil && !have.shown {
			p.r.event(Event{Kind: OutOfRange, Partition: p.no, Offset: s.position(), Err: fmt.Errorf("%w: %s", errOutOfRange, a.Reason.Why)})
		}
	}
	if a.Frame == nil {
		return errAskAgain
	}
	if err := p.mayTakePlace(a.Info, a.Frame, false); err != nil {
		return err
	}
	return p.loadFrame(ctx, *a.Frame)
}

// useless tells whether a delta will not do, however often it is asked for.
func useless(err error) bool {
	return errors.Is(err, memory.ErrDigest) || errors.Is(err, table.ErrDigest) || errors.Is(err, memory.ErrFrame) || errors.Is(err, errNoDelta)
}

// reaches tells whether a state at an offset can follow the log to the frame of the answer, if there is one.
func reaches(a *plane.Answer, at int64) bool {
	return max(a.Info.DeltaStart, a.Info.LogStart) <= at && (a.Frame == nil || at <= a.Frame.Cut)
}

// reset tells why the log has no use for a state; nil: for the one that is shown.
func (p *partition) reset(a plane.Answer, s rows) {
	if s == nil {
		s = p.rows()
	}
	at := Position{s.identity().Incarnation, s.position(), s.logStart()}
	kind := OutOfRange
	switch a.Reason.Reason {
	case state.Reason_REASON_OTHER_INCARNATION, state.Reason_REASON_TOPIC_DELETED:
		kind = NewIncarnation
		p.replaced = true
	case state.Reason_REASON_FUTURE_POSITION, state.Reason_REASON_DIVERGED:
		p.history.distrust(at) // the log has other records there, or will have
	case state.Reason_REASON_LEASE_EXPIRED, state.Reason_REASON_LEASE_REVOKED:
		kind = LeaseEnded
	}
	p.r.event(Event{Kind: kind, Partition: p.no, Offset: at.Offset, Err: &a.Reason})
}

// goOn shows a state that is followed on.
func (p *partition) goOn(have standing) error {
	p.askNow()
	if !have.shown {
		return p.show(have.rows, 0, Event{Kind: Resumed})
	}
	p.r.event(Event{Kind: Resumed, Partition: p.no, Offset: have.rows.position()})
	return nil
}

// beginEmpty begins without rows, where the log has no frame yet.
func (p *partition) beginEmpty(a plane.Answer) error {
	kind, err := fold.ParseKind(a.Info.Fold)
	if err != nil {
		return fmt.Errorf("%w: %w", plane.ErrBadAnswer, err)
	}
	s, err := p.r.stores.empty(identity{TopicID: a.Info.TopicID, Partition: p.no, Incarnation: a.Info.Incarnation}, a.From, kind)
	if err != nil {
		return err
	}
	return p.show(s, a.From, Event{Kind: Bootstrapped})
}

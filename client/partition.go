package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/memory"
)

// pendingFrames bounds the announced frames that a partition remembers, and those above its position that wait to be compared.
const pendingFrames = 64

// followedWell is after how long a state counts as good: a restart before it comes with a pause.
const followedWell = 10 * time.Second

// partition is one partition of a replica. Its life: establish a state (stored, frame or earliest), follow the tail until something
// calls for a restart, again. run owns that; the replica's tail goroutine applies segments; the replica's frame follower announces frames.
type partition struct {
	r   *Replica
	no  int32
	log *slog.Logger

	history *history
	moved   notifier      // position or state changed, or the partition stopped
	ready   chan struct{} // closed once there is a state
	stopped chan struct{} // closed when run has ended
	restart chan restart  // capacity 1: the first reason counts
	ask     chan struct{} // capacity 1: compare at the own position
	keep    chan struct{} // capacity 1: there is a verified cut to store

	// Of run's goroutine.
	replaced bool    // the topic was created anew, and may have other partitions now
	told     bool    // that the stored state is of no use
	lease    *keeper // nil: none is kept

	current atomic.Pointer[rows] // for readers; nil before ready
	start   atomic.Int64         // log start offset in force at our state; written under mu

	mended  atomic.Pointer[RepairResult] // the latest repair; nil: there was none
	mending atomic.Bool                  // a repair is under way: nothing is applied
	repairs atomic.Int64                 // how many there were

	mu sync.Mutex
	// Guarded by mu, which is held while a segment is applied.
	following bool
	// A segment is applied only if the tail was assigned for the state that is there now: states are numbered, and the tail's
	// goroutine notes the number of its latest assignment. Else a segment of a former assignment, already on its way, could be
	// applied to a new state, with a gap before it.
	generation, attached int
	ring                 ring
	pending              []plane.Frame // ascending by cut, all above the position
	known                []plane.Frame // the latest announced, for a state that is yet to come
	compared             int64         // frames at or below were compared or never will be
	verified             []point       // cuts at which the state was equal to the log's, newest first
	rehash               bool          // the rows are to be hashed anew at the next frame, see repairOrder
	info                 *plane.Partition
	gathering            *gathering // what is read while there is no state to follow; nil mostly
	watched              bool       // somebody watches, or did: history is recorded
	err                  error
}

// restart says why following ends. A nil halt means: establish a new state.
type restart struct {
	event  EventKind // 0: none, it has been told
	err    error
	halt   bool
	resume bool // the state is right as far as is known: the log is asked how it becomes current again
	// repair, if not nil: the state that is there is to be repaired; with halt it stays as it is.
	repair *repairOrder
}

// wrong tells whether the state is not, or was not, what the log has: what watchers were told of it is not to be built on.
func (why restart) wrong() bool {
	return errors.Is(why.err, ErrDrifted) || errors.Is(why.err, ErrCorrupt) || errors.Is(why.err, errDiverged)
}

func newPartition(r *Replica, no int32) *partition {
	return &partition{
		r: r, no: no, log: r.cfg.Logger.With("topic", r.cfg.Topic, "partition", no),
		history: newHistory(r.cfg.WatchChanges),
		ready:   make(chan struct{}), stopped: make(chan struct{}),
		restart: make(chan restart, 1), ask: make(chan struct{}, 1), keep: make(chan struct{}, 1),
		ring: ring{capacity: r.cfg.RingEntries},
	}
}

func (p *partition) rows() rows {
	if s := p.current.Load(); s != nil {
		return *s
	}
	return nil
}

func (p *partition) position() Position {
	start := p.start.Load() // first: the rows may respect a higher one already
	s := p.rows()
	if s == nil {
		return Position{}
	}
	return Position{s.identity().Incarnation, s.position(), start}
}

// run is the partition's goroutine.
func (p *partition) run(ctx context.Context) {
	defer close(p.stopped)
	defer p.moved.notify()
	defer p.keepVerified()
	defer p.letGo()
	var why restart // of the state that is there
	for quick := 0; ; quick++ {
		if quick > 0 && why.repair == nil && plane.Wait(ctx, p.r.cfg.Retry<<min(quick-1, 6)) != nil {
			return
		}
		if why.repair != nil && p.repair(ctx, *why.repair) {
			p.holds() // a lease that the frame came with has served: it ends where the log did
		} else if err := p.establish(ctx, why); err != nil {
			p.stop(ctx, err)
			return
		}
		p.mu.Lock()
		s := p.rows()
		o := order{partition: p.no, offset: s.position(), epoch: s.epoch(), generation: p.generation}
		p.mu.Unlock()
		p.r.order(o)
		began := p.r.cfg.Now()
		var ok bool
		why, ok = p.wait(ctx)
		p.r.order(order{partition: p.no, remove: true})
		p.unfollow()
		if !ok {
			return
		}
		if why.event != 0 {
			p.r.event(Event{Kind: why.event, Partition: p.no, Offset: p.position().Offset, Err: why.err})
		}
		if why.event == DriftFound {
			p.r.reporter.await(ctx)
		}
		p.distrust(why)
		if why.halt {
			if why.repair != nil && why.repair.frame != nil {
				p.nameDifferences(ctx, *why.repair.frame)
			}
			p.stop(ctx, why.err)
			return
		}
		if why.repair == nil { // else it may hold the frame that the state is repaired with
			p.letGo()
		}
		p.replaced = p.replaced || why.event == NewIncarnation
		if p.r.cfg.Now().Sub(began) > followedWell {
			quick = -1
		}
	}
}

// wait runs comparisons until a restart is asked for; false when the replica closes.
func (p *partition) wait(ctx context.Context) (restart, bool) {
	for {
		select {
		case <-ctx.Done():
			return restart{}, false
		case why := <-p.restart:
			return why, true
		case <-p.keep:
			p.keepVerified()
		case <-p.ask:
			if v := p.compareNow(ctx); ctx.Err() == nil {
				p.publish(v)
			}
		}
	}
}

func (p *partition) stop(ctx context.Context, err error) {
	if ctx.Err() != nil {
		err = ErrClosed
	}
	err = &PartitionError{Topic: p.r.cfg.Topic, Partition: p.no, Offset: p.position().Offset, Err: err}
	p.mu.Lock()
	p.err = err
	p.mu.Unlock()
	if ctx.Err() == nil {
		p.r.event(Event{Kind: Stopped, Partition: p.no, Offset: p.position().Offset, Err: err})
	}
}

func (p *partition) failure() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// restartWith ends following at once and asks run for a new state, or to halt; a reason that is already waiting stays.
func (p *partition) restartWith(why restart) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.restartLocked(why)
}

func (p *partition) restartLocked(why restart) {
	p.following = false
	select {
	case p.restart <- why:
	default:
	}
}

// forgetRestartLocked drops a reason that was one for the former state, or for this one before it was put right. That the topic has grown stays true.
func (p *partition) forgetRestartLocked() {
	select {
	case why := <-p.restart:
		if why.event == TopicGrew {
			p.restart <- why // there is room: whoever else sends holds mu
		}
	default:
	}
}

func (p *partition) askNow() {
	select {
	case p.ask <- struct{}{}:
	default:
	}
}

// follow lets what the tail reads from now on be applied to the state that is there.
func (p *partition) follow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.followLocked()
}

// followLocked follows unless there is a reason to restart already, which run sees next.
func (p *partition) followLocked() {
	s := p.rows()
	at := s.position()
	p.pending = slices.DeleteFunc(p.pending, func(f plane.Frame) bool { return f.Cut <= at })
	p.following = len(p.restart) == 0
	p.recallLocked(s)
	p.generation++
}

func (p *partition) unfollow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.following = false
}

// attach notes which state the tail reads for. It is called by the tail goroutine alone.
func (p *partition) attach(generation int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.attached = generation
}

// apply takes a segment of the tail. It is called by the tail goroutine alone.
func (p *partition) apply(ctx context.Context, seg segment) {
	if p.mending.Load() {
		return // on its way since before; other partitions do not wait for the repair
	}
	if s, missing := p.missing(seg); missing {
		if err := p.deltasKept(ctx, s); err != nil {
			seg = segment{partition: p.no, err: err}
		}
		if ctx.Err() != nil {
			return
		}
	}
	p.mu.Lock()
	if g := p.gathering; g != nil && p.attached == p.generation {
		g.take(seg)
		p.mu.Unlock()
		p.moved.notify()
		return
	}
	if !p.following || p.attached != p.generation {
		p.mu.Unlock()
		return
	}
	if seg.err != nil {
		kind := OutOfRange
		if errors.Is(seg.err, errTopicReplace) || errors.Is(seg.err, plane.ErrOtherIncarnation) {
			kind = NewIncarnation
		}
		p.restartLocked(restart{event: kind, err: seg.err, resume: kind == OutOfRange})
		p.mu.Unlock()
		return
	}
	verdicts, why, err := p.applyLocked(seg)
	if err != nil {
		p.restartLocked(restart{event: TailFailed, err: err, halt: true})
	}
	p.mu.Unlock()
	p.moved.notify()
	p.r.changed.notify()
	p.publishAnd(why, verdicts)
}

// applyLocked folds a segment, stopping at the cut of each announced frame to compare with it. why says that it went no further than the last
// of these.
func (p *partition) applyLocked(seg segment) (verdicts []Verdict, why *restart, err error) {
	s := p.rows()
	var changed memory.Applied
	if s.perRecord() || p.watched {
		changed = p.recordLocked(s)
	}
	records := seg.records
	for {
		next, rest := seg.next, records[len(records):]
		if len(p.pending) > 0 && p.pending[0].Cut < seg.next {
			next = max(p.pending[0].Cut, s.position())
			n := 0
			for n < len(records) && records[n].Offset < next {
				n++
			}
			records, rest = records[:n], records[n:]
		}
		if err := s.apply(records, next, seg.epoch, changed); err != nil {
			return verdicts, nil, err
		}
		for len(p.pending) > 0 && p.pending[0].Cut <= next {
			f := p.pending[0]
			v, err := p.comparePendingLocked(s)
			if err != nil {
				return verdicts, nil, err
			}
			verdicts = append(verdicts, v)
			if why := p.stopHereLocked(f, v); why != nil {
				return verdicts, why, nil
			}
		}
		if records = rest; next >= seg.next {
			return verdicts, nil, nil
		}
	}
}

// recordLocked returns what keeps the ring and the history while records are applied to s.
func (p *partition) recordLocked(s rows) memory.Applied {
	id, start := s.identity(), p.start.Load()
	return func(offset int64, d digest.Digest, row *frame.Row) {
		if s.perRecord() {
			p.ring.add(offset+1, d)
		}
		if row != nil {
			p.history.add(toChange(id, row, Position{id.Incarnation, offset + 1, start}))
		}
	}
}

// comparePendingLocked compares with the lowest pending frame, whose cut is the position of s.
func (p *partition) comparePendingLocked(s rows) (Verdict, error) {
	f := p.pending[0]
	p.pending = p.pending[1:]
	p.compared = max(p.compared, f.Cut)
	judge := p.judgeLocked
	if f.Start > p.start.Load() && s.position() == f.Cut {
		judge = func(f plane.Frame, ours digest.Digest) Verdict { return p.judgeExpiredLocked(s, f, ours) }
		if err := p.expireLocked(s, f.Start); err != nil {
			return Verdict{}, err
		}
	}
	d, at, err := s.digest()
	if err != nil {
		return Verdict{}, err
	}
	if !s.perRecord() {
		p.ring.add(at, d)
	}
	if at != f.Cut {
		p.askNow()
		return p.verdict(f.Cut, Inconclusive, d, f.Digest, fmt.Sprintf("position is %d when the frame is due", at), nil), nil
	}
	return judge(f, d), nil
}

// announce tells the partition of a frame of the log, new or old.
func (p *partition) announce(f plane.Frame) {
	p.mu.Lock()
	if p.known = append(p.known, f); len(p.known) > pendingFrames {
		p.known = p.known[1:]
	}
	s := p.rows()
	if s == nil || !p.following {
		p.mu.Unlock()
		return
	}
	if f.Incarnation != s.identity().Incarnation {
		p.restartLocked(restart{event: NewIncarnation, err: fmt.Errorf("%w: frame %d is of %x, ours is %x", plane.ErrOtherIncarnation, f.Cut, f.Incarnation, s.identity().Incarnation)})
		p.mu.Unlock()
		return
	}
	var verdicts []Verdict
	var why *restart
	switch position := s.position(); {
	case f.Cut <= position && f.Start > p.start.Load():
		p.startPassedLocked(s, f)
	case f.Cut <= p.compared:
	case f.Cut > position:
		p.waitForLocked(f)
	default:
		p.compared = f.Cut
		d, ok := p.ring.digestAt(f.Cut)
		if !ok && position == f.Cut {
			var err error
			d, _, err = s.digest()
			ok = err == nil
		}
		if ok {
			v := p.judgeLocked(f, d)
			if verdicts = append(verdicts, v); position == f.Cut {
				why = p.stopHereLocked(f, v)
			}
		} else {
			p.askNow() // passed, and no longer known: compare where we are
		}
	}
	p.mu.Unlock()
	p.publishAnd(why, verdicts)
}

// recallLocked takes up the frames that were announced before the state that is there was followed: those that are still to be compared, and the
// log start that they have moved.
func (p *partition) recallLocked(s rows) {
	incarnation, position := s.identity().Incarnation, s.position()
	passed := plane.Frame{Start: p.start.Load()}
	for _, f := range p.known {
		switch {
		case f.Incarnation != incarnation:
		case f.Cut > position:
			p.waitForLocked(f)
		case f.Start > passed.Start:
			passed = f
		}
	}
	if passed.Start > p.start.Load() {
		p.startPassedLocked(s, passed)
	}
}

// waitForLocked keeps a frame to be compared when its cut is reached; of two of one cut that which supersedes the other, of too many the
// earliest go.
func (p *partition) waitForLocked(f plane.Frame) {
	i := len(p.pending)
	for i > 0 && p.pending[i-1].Cut >= f.Cut {
		if p.pending[i-1].Cut == f.Cut {
			if f.Start > p.pending[i-1].Start {
				p.pending[i-1] = f
			}
			return
		}
		i--
	}
	p.pending = append(p.pending[:i], append([]plane.Frame{f}, p.pending[i:]...)...)
	if len(p.pending) > pendingFrames {
		p.pending = p.pending[1:]
	}
}

// observe takes what the state plane says about the partition's log.
func (p *partition) observe(info plane.Partition) {
	p.mu.Lock()
	p.info = &info
	defer p.mu.Unlock()
	if s := p.rows(); s != nil && p.following {
		if why, bad := unfit(s, info); bad {
			p.restartLocked(why)
		}
	}
}

// unfit tells why a state cannot follow the log that info describes.
func unfit(s rows, info plane.Partition) (restart, bool) {
	id, at := s.identity(), s.position()
	switch {
	case id.Incarnation != info.Incarnation || id.TopicID != info.TopicID:
		return restart{event: NewIncarnation, err: fmt.Errorf("%w: the log is %x, ours is %x", plane.ErrOtherIncarnation, info.Incarnation, id.Incarnation)}, true
	case at < info.DeltaStart && at < info.Horizon:
		return restart{event: OutOfRange, resume: true, err: fmt.Errorf("%w: at %d, but what was deleted below %d is no longer known", errOutOfRange, at, info.Horizon)}, true
	}
	return restart{}, false
}

func toChange(id identity, row *frame.Row, next Position) Change {
	return Change{
		Partition: id.Partition, Offset: row.Offset, Timestamp: row.Timestamp, Key: row.Key, Value: row.Value,
		Deleted: row.Tombstone, Next: next, start: next.Start,
	}
}

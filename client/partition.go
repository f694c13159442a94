package client

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/keyframelog/keyframe/client/plane"
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
	behind  chan struct{} // capacity 1: there is too much to tell

	// Of run's goroutine.
	replaced bool          // the topic was created anew, and may have other partitions now
	told     bool          // that the stored state is of no use
	unseen   rows          // the stored state, while nobody has seen it
	lease    *keeper       // nil: none is kept
	unmended int           // how many repairs in a row came to nothing, though another may not
	retry    time.Duration // after which one is tried again; 0: none is due
	asks     bool          // a comparison is due once the state is followed on

	current atomic.Pointer[rows] // for readers; nil before ready
	start   atomic.Int64         // log start offset in force at our state; written under mu

	mended  atomic.Pointer[RepairResult] // the latest repair; nil: there was none
	mending atomic.Bool                  // a repair is under way: nothing is applied
	repairs atomic.Int64                 // how many there were

	lastNamed atomic.Pointer[naming] // nil: no keys that differ were named since we were equal
	rotten    atomic.Pointer[rotten] // nil: no row is known to be rotten
	patched   atomic.Uint64          // how often rows were put right; changed under mu

	checks atomic.Int64 // comparisons that were asked for or are under way, and verdicts that are not acted upon yet

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
	verified             []verifiedCut // cuts at which the state was equal to the log's, newest first
	rehash               bool          // the rows are to be hashed anew at the next frame, see repairOrder
	info                 *plane.Partition
	gathering            *gathering // what is read while there is no state to follow; nil mostly
	watched              bool       // somebody watches, or did: history is recorded
	unnamed              bool       // the state differs, and in which keys is still to be said
	settled              int        // how often the log said that it is not disputed
	refused              *restart   // what came to nothing, and is to be tried again; nil: nothing did
	err                  error
}

// restart says why following ends. A nil halt means: establish a new state.
type restart struct {
	event  EventKind // 0: none, it has been told
	err    error
	halt   bool
	drift  *Verdict // of DriftFound, or more
	resume bool     // the state is right as far as is known: the log is asked how it becomes current again
	goOn   bool     // the state is followed on as it is, once it has been told what is wrong with it, or whatever there was too much of to tell
	more   bool     // drift is beside rows that are known to be rotten, and other keys differ than were named
	// repair, if not nil: the state that is there is to be repaired.
	repair *repairOrder
}

// wrong tells whether the state is not, or was not, what the log has: what watchers were told of it is not to be built on.
func (why restart) wrong() bool {
	return errors.Is(why.err, ErrDrifted) || errors.Is(why.err, ErrCorrupt) || errors.Is(why.err, errDiverged)
}

// names tells whether the keys that differ are to be named, and nothing else is done about them: a repair names them itself.
func (why restart) names() bool {
	return (why.event == DriftFound || why.event == CorruptionFound || why.more) && why.repair == nil
}

func newPartition(r *Replica, no int32) *partition {
	return &partition{
		r: r, no: no, log: r.cfg.Logger.With("topic", r.cfg.Topic, "partition", no),
		history: newHistory(r.cfg.WatchChanges),
		ready:   make(chan struct{}), stopped: make(chan struct{}),
		restart: make(chan restart, 1), ask: make(chan struct{}, 1), keep: make(chan struct{}, 1), behind: make(chan struct{}, 1),
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
		p.awaitTold(toldBehind)
		if quick > 0 && why.repair == nil && !why.goOn && plane.Wait(ctx, p.r.cfg.Retry<<min(quick-1, 6)) != nil {
			return
		}
		switch {
		case why.goOn:
			p.follow()
			if p.asks {
				p.asks = false
				p.askNow()
			}
		case why.repair != nil && p.repair(ctx, why):
			p.holds() // a lease that the frame came with has served: it ends where the log did
		default:
			if err := p.establish(ctx, why); err != nil {
				p.halt(ctx, err)
				return
			}
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
		if why.event == DriftFound && !why.goOn {
			p.r.reporter.await(ctx)
		}
		p.distrust(why)
		if why.halt && errors.Is(why.err, ErrDrifted) {
			p.keepHalted(why.drift.At)
		}
		if why.names() {
			p.nameFor(ctx, why.drift)
		}
		if why.halt {
			p.halt(ctx, p.orDisputed(ctx, why.err))
			return
		}
		p.setUnnamed(false)
		if why.repair == nil { // else it may hold the frame that the state is repaired with
			p.letGo()
		}
		p.replaced = p.replaced || why.event == NewIncarnation
		if p.r.cfg.Now().Sub(began) > followedWell {
			quick = -1
		}
	}
}

// wait runs comparisons until a restart is asked for; false when the replica closes. One that fails is tried again, with pauses of up to 32 times
// Config.Retry: on an idle topic nothing else comes that would end in a verdict.
func (p *partition) wait(ctx context.Context) (restart, bool) {
	again := time.NewTimer(0)
	again.Stop()
	defer again.Stop()
	var repair <-chan time.Time
	if p.retry > 0 {
		due := time.NewTimer(p.retry)
		defer due.Stop()
		repair = due.C
	}
	for failed := 0; ; {
		select {
		case <-ctx.Done():
			return restart{}, false
		case why := <-p.restart:
			return why, true
		case <-p.behind:
			return restart{goOn: true}, true
		case <-p.keep:
			p.keepVerified()
			continue
		case <-repair:
			p.takeUp()
			continue
		case <-p.ask:
		case <-again.C:
			p.checks.Add(1)
		}
		v, ok := p.check(ctx)
		if !ok {
			continue
		}
		if again.Stop(); v.Outcome == Error && !errors.Is(v.Err, ErrCorrupt) { // which no other comparison would say better
			again.Reset(p.r.cfg.Retry << min(failed, 5))
			failed++
		} else {
			failed = 0
		}
	}
}

// check compares at the own position, and makes known and acts upon what has come of it; false: it did not come to that.
func (p *partition) check(ctx context.Context) (v Verdict, ok bool) {
	defer p.checked()
	if p.awaitTold(toldBehind); len(p.restart) > 0 {
		p.asks = true
		return v, false // what is about to be replaced is not judged
	}
	if v = p.compareNow(ctx); ctx.Err() != nil {
		return v, false
	}
	p.publish(v)
	return v, true
}

// fail notes why, and where, the partition is no longer followed.
func (p *partition) fail(ctx context.Context, err error) *PartitionError {
	if ctx.Err() != nil {
		err = ErrClosed
	}
	at := p.position().Offset
	if s := p.atStake(); p.rows() == nil && s != nil {
		at = s.position()
	}
	failed := &PartitionError{Topic: p.r.cfg.Topic, Partition: p.no, Offset: at, Err: err}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = failed
	return failed
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
		p.unnamed = p.unnamed || why.names()
	default:
	}
}

// forgetRestartLocked drops a reason that was one for the former state, or for this one before it was put right. That the topic has grown stays true.
func (p *partition) forgetRestartLocked() {
	p.unnamed = false
	select {
	case why := <-p.restart:
		if why.event == TopicGrew {
			p.restart <- why // there is room: whoever else sends holds mu
		}
	default:
	}
}

// askNow asks for a comparison at the own position, unless one is asked for already.
func (p *partition) askNow() {
	p.checks.Add(1)
	select {
	case p.ask <- struct{}{}:
	default:
		p.checked()
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
	p.r.halting.moved.notify()
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

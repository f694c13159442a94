package client

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/state"
)

const (
	reportInterval    = 5 * time.Second // until the broker asks for another
	reportIntervalMin = 100 * time.Millisecond
	reportIntervalMax = time.Hour
	reportTime        = 10 * time.Second // of one call
	leaveTime         = time.Second      // Close waits no longer to say that it closes
	tellTime          = time.Second      // and who is about to repair himself no longer to say why
	reportQueue       = 256              // verdicts and repairs that were not told yet
	reportPartitions  = 1000             // in one call
	reasonBytesMax    = 256
)

// reporter tells the broker how the replica is doing: after each verdict, bootstrap and repair, every interval that the broker asked for, and when it
// closes. It is told what happened by the partitions, which it never holds up: what it has not told yet waits in a queue, and of too much the
// oldest goes. A broker that does not answer is asked again, and that is all: a replica is as good without. What a broker refuses to hear of a partition
// is given up, and everything else is told. All methods do nothing on nil.
type reporter struct {
	r    *Replica
	host string
	wake chan struct{} // capacity 1: there is something in the queue

	mu sync.Mutex
	// Guarded by mu.
	now   map[int32]*state.ReplicaPartition // as of the last thing that happened; the position is filled in when it is told
	queue []*state.ReplicaPartition         // in the order in which it happened
	// queued counts what was ever put into the queue, settled what of it was told, or given up: all up to there.
	queued, settled uint64
	away            bool // the latest call failed

	moved notifier // settled, or away
	// Of run's goroutine.
	disputed []int32
	told     bool             // the broker may know of us
	interval time.Duration    // until the broker is to be told of all partitions again
	refused  map[refusal]bool // what was logged
}

// refusal is what a broker refuses to hear of a partition. There are few of one partition.
type refusal struct {
	partition int32
	code      connect.Code
	reason    state.Reason
}

func newReporter(r *Replica) *reporter {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return &reporter{
		r: r, host: fmt.Sprintf("%s pid %d", host, os.Getpid()), wake: make(chan struct{}, 1), now: map[int32]*state.ReplicaPartition{},
		interval: reportInterval, refused: map[refusal]bool{},
	}
}

// partLocked is what is to be told of a partition.
func (w *reporter) partLocked(no int32) *state.ReplicaPartition {
	x := w.now[no]
	if x == nil {
		x = &state.ReplicaPartition{Partition: no, Phase: state.PhaseBootstrapping}
		w.now[no] = x
	}
	return x
}

// verdict takes a comparison with the log.
func (w *reporter) verdict(v Verdict) {
	if w == nil || v.Scrub {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.partLocked(v.Partition)
	sum := v.Ours.Sum.Bytes()
	x.Outcome, x.Reason, x.ComparedMs = outcomes[v.Outcome], reasonOf(v), v.Time.UnixMilli()
	x.Compared = &state.Point{Offset: v.At, Count: v.Ours.Count, Sum: sum[:], Start: v.start}
	if v.Outcome == Equal {
		x.Verified, x.VerifiedMs = v.At, v.Time.UnixMilli()
		if x.Phase == state.PhaseRepairing { // the deltas that followed have put right what differed
			x.Phase = state.PhaseFollowing
		}
	}
	w.addLocked(x)
}

var outcomes = map[Outcome]state.Outcome{
	Equal: state.Outcome_OUTCOME_EQUAL, Drifted: state.Outcome_OUTCOME_DRIFTED, Inconclusive: state.Outcome_OUTCOME_INCONCLUSIVE, Error: state.Outcome_OUTCOME_ERROR,
}

func reasonOf(v Verdict) string {
	reason := v.Reason
	if v.Err != nil {
		reason += ": " + v.Err.Error()
	}
	return clipped(reason)
}

// clipped is as much of a reason as is told.
func clipped(reason string) string {
	return strings.ToValidUTF8(reason[:min(len(reason), reasonBytesMax)], "")
}

// event takes what changes the phase of a partition.
func (w *reporter) event(e Event) {
	if w == nil || e.Partition < 0 {
		return
	}
	var verified verifiedCut // of a state that was stored, or is followed on
	known, rotten := false, false
	if p := w.r.partitions[e.Partition]; p != nil {
		if rotten = p.rot() != nil; e.Kind == Resumed {
			verified, known = p.lastVerified()
		}
	}
	kept := w.keptCopy(e)
	w.mu.Lock()
	defer w.mu.Unlock()
	x := w.partLocked(e.Partition)
	switch e.Kind {
	case Bootstrapped, CaughtUp:
		x.Phase = state.PhaseFollowing
		x.Bootstraps++ // all of its rows are the log's now, or some, whatever they were before
		if !rotten || e.Kind == Bootstrapped {
			replaced(x, e)
		}
	case Resumed:
		x.Phase = state.PhaseFollowing
		if known && x.VerifiedMs == 0 {
			x.Verified, x.VerifiedMs = verified.offset, verified.foundMs
		}
	case OutOfRange, NewIncarnation: // what was verified was another state
		x.Phase, x.Verified, x.VerifiedMs = state.PhaseBootstrapping, 0, 0
		if e.Kind == NewIncarnation { // and what was compared is at offsets of another log
			x.Outcome, x.Reason, x.Compared, x.ComparedMs = 0, "", nil, 0
		}
	case DriftFound:
		switch w.r.cfg.OnDrift {
		case Repair:
			x.Phase = state.PhaseRepairing
		case Rebootstrap:
			x.Phase = state.PhaseBootstrapping
		}
	case Repaired:
		x.Phase = state.PhaseFollowing
		x.Repairs++
		x.Repair = &state.Repair{
			Cut: e.Repair.Cut, Keys: e.Repair.Keys, Bytes: e.Repair.Bytes, DurationUs: e.Repair.Duration.Microseconds(), TimeMs: e.Repair.Time.UnixMilli(),
			Method: string(e.Repair.Method), RoundTrips: int64(e.Repair.RoundTrips),
		}
	case RepairRefused:
		x.Phase = state.PhaseFollowing
	case RepairFailed:
		x.Phase = state.PhaseFollowing // unless a frame is loaded, which is told next
	case CorruptionFound:
		if !rotten {
			return // what took the place of it is told
		}
		rottenIn(x, e)
	case Stopped:
		x.Phase = state.PhaseHalted
		kept.into(x)
	default:
		return
	}
	w.addLocked(x)
}

// replaced takes that the state is another one than that which was compared: it is equal to the log where it was held to it, or not compared yet.
func replaced(x *state.ReplicaPartition, e Event) {
	x.Outcome, x.Reason, x.Compared, x.ComparedMs, x.Verified, x.VerifiedMs = 0, "", nil, 0, 0, 0
	if at := e.proved; at != nil {
		sum, ms := at.digest.Sum.Bytes(), e.Time.UnixMilli()
		x.Outcome, x.ComparedMs, x.Verified, x.VerifiedMs = state.Outcome_OUTCOME_EQUAL, ms, at.offset, ms
		x.Compared = &state.Point{Offset: at.offset, Count: at.digest.Count, Sum: sum[:], Start: at.start}
	}
}

// addLocked queues what is to be told of a partition as it is now.
func (w *reporter) addLocked(x *state.ReplicaPartition) {
	w.queue = append(w.queue, w.current(x))
	w.queued++
	w.boundLocked()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// boundLocked drops the oldest of too much, but not the word that a replica has drifted while there is anything else: it is what stops a broker that
// is wrong itself.
func (w *reporter) boundLocked() {
	for len(w.queue) > reportQueue {
		i := max(slices.IndexFunc(w.queue, func(q *state.ReplicaPartition) bool { return q.Outcome != state.Outcome_OUTCOME_DRIFTED }), 0)
		w.queue = slices.Delete(w.queue, i, i+1)
	}
}

// await returns when all that has happened so far is told, or cannot be told now: who repairs himself from the log must have said before how he
// differs from it, so that those who differ alike are heard.
func (w *reporter) await(ctx context.Context) {
	if w == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tellTime)
	defer cancel()
	w.mu.Lock()
	until := w.queued
	w.mu.Unlock()
	for {
		moved := w.moved.wait()
		w.mu.Lock()
		over := w.settled >= until || w.away
		w.mu.Unlock()
		if over {
			return
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return
		}
	}
}

// settle notes how a report ended that was of all that had happened up to a point.
func (w *reporter) settle(upTo uint64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away = err != nil; !w.away {
		w.settled = upTo
	}
	w.moved.notify()
}

// current copies what is to be told of a partition, with the position of this moment.
func (w *reporter) current(x *state.ReplicaPartition) *state.ReplicaPartition {
	x = proto.CloneOf(x)
	if p := w.r.partitions[x.Partition]; p != nil && p.rows() != nil {
		at := p.position()
		x.Position, x.Incarnation = at.Offset, at.Incarnation[:]
	}
	return x
}

// run is the reporter's goroutine.
func (w *reporter) run(ctx context.Context) {
	if w == nil {
		return
	}
	interval := time.NewTimer(0)
	defer interval.Stop()
	// A report that is on its way when the replica closes is waited for: broken off, it may arrive behind the word that the replica has left.
	calls, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(leaveTime, cancel) })()
	for try := 0; ; {
		all := false
		select {
		case <-ctx.Done():
			w.leave()
			return
		case <-w.wake:
		case <-interval.C:
			all = true
		}
		parts, upTo := w.take(all)
		err := w.report(calls, parts)
		w.settle(upTo, err)
		if err == nil {
			if try = 0; all {
				interval.Reset(w.interval)
			}
			continue
		}
		if ctx.Err() == nil {
			w.r.cfg.Logger.Debug("replica: a report did not reach the broker", "topic", w.r.cfg.Topic, "err", err)
		}
		pause := reportInterval // where asking again will not help: it is of an earlier version, or has no room
		if worthRepeating(err) {
			pause = min(w.r.cfg.Retry<<min(try, 10), reportInterval)
		}
		try++
		_ = plane.Wait(ctx, pause) // the end of ctx is seen above
		interval.Reset(0)
	}
}

// worthRepeating tells whether the same report may be taken soon.
func worthRepeating(err error) bool {
	switch plane.CodeOf(err) {
	case connect.CodeUnimplemented, connect.CodeInvalidArgument, connect.CodeOutOfRange, connect.CodeResourceExhausted, connect.CodeNotFound, connect.CodeFailedPrecondition, connect.CodePermissionDenied:
		return false
	}
	return true
}

// take empties the queue; with all, every partition is among what it returns.
func (w *reporter) take(all bool) (parts []*state.ReplicaPartition, upTo uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	parts, w.queue = w.queue, nil
	if all {
		for _, no := range w.r.numbers {
			parts = append(parts, w.current(w.partLocked(no)))
		}
	}
	return parts, w.queued
}

// putBack makes what was not told the head of the queue again, as far as there is room.
func (w *reporter) putBack(parts []*state.ReplicaPartition) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = append(parts[:len(parts):len(parts)], w.queue...)
	w.boundLocked()
}

// report tells. Of what the broker refuses, half is told, and so on down to the one part that is given up; of what it takes, twice as much.
func (w *reporter) report(ctx context.Context, parts []*state.ReplicaPartition) error {
	for size, searching := reportPartitions, false; len(parts) > 0; {
		n := min(len(parts), size)
		err := w.call(ctx, &state.ReportRequest{Partitions: parts[:n]}, reportTime)
		if refusesPart(err) && !searching {
			// A report of nothing is refused too where it is the replica that is refused, or its topic.
			if nothing := w.call(ctx, &state.ReportRequest{}, reportTime); nothing == nil {
				searching = true
			} else {
				err = nothing
			}
		}
		switch {
		case err == nil:
			parts, size = parts[n:], min(2*size, reportPartitions)
		case searching && refusesPart(err) && n > 1:
			size = n / 2
		case searching && refusesPart(err):
			w.giveUp(parts[0], err)
			parts = parts[1:]
		default:
			if worthRepeating(err) {
				w.putBack(parts)
			}
			return err
		}
	}
	return nil
}

// refusesPart tells whether a report may have been refused for what it says of one partition.
func refusesPart(err error) bool {
	switch plane.ReasonOf(err) {
	case state.Reason_REASON_UNKNOWN_TOPIC, state.Reason_REASON_TOPIC_DELETED, state.Reason_REASON_NOT_KEY_FRAMED:
		return false
	}
	switch plane.CodeOf(err) {
	case connect.CodeInvalidArgument, connect.CodeOutOfRange, connect.CodeFailedPrecondition, connect.CodeNotFound:
		return true
	}
	return false
}

// giveUp says once for what reason the broker refuses to hear of a partition. It is told of it again with what happens next, or at the next interval.
func (w *reporter) giveUp(x *state.ReplicaPartition, err error) {
	is := refusal{x.Partition, plane.CodeOf(err), plane.ReasonOf(err)}
	if w.refused[is] {
		return
	}
	w.refused[is] = true
	w.r.cfg.Logger.Warn("replica: the broker refuses what it is told of a partition, and hears of the others",
		"topic", w.r.cfg.Topic, "partition", x.Partition, "err", err)
}

func (w *reporter) call(ctx context.Context, m *state.ReportRequest, timeout time.Duration) error {
	bounded, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	m.Topic, m.Replica, m.Instance, m.Host = w.r.cfg.Topic, w.r.name, w.r.instance[:], w.host
	answer, err := w.r.plane.Report(bounded, m)
	if w.told = err == nil || ctx.Err() != nil || w.told && refusesPart(err); err != nil {
		return err
	}
	w.interval = min(max(time.Duration(answer.IntervalMs)*time.Millisecond, reportIntervalMin), reportIntervalMax)
	w.learn(answer.Disputed)
	return nil
}

// learn says which partitions are disputed, once.
func (w *reporter) learn(disputed []int32) {
	for _, no := range disputed {
		if !slices.Contains(w.disputed, no) {
			w.r.cfg.Logger.Warn("replicas agree with one another and not with the broker: nothing is repaired until an operator has looked",
				"topic", w.r.cfg.Topic, "partition", no)
		}
	}
	w.disputed = disputed
}

// halted tells whether a partition has stopped for good: whoever lists the replicas is to find it, and why, for as long as one that is silent is kept.
func (w *reporter) halted() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, x := range w.now {
		if x.Phase == state.PhaseHalted {
			return true
		}
	}
	return false
}

// leave tells what is still to be told, and that the replica closes. Not to a broker that did not answer the last time: it will forget us. But why a
// partition has halted is to be found, also where the replica closes at once.
func (w *reporter) leave() {
	if !w.told && !w.halted() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	parts, _ := w.take(false)
	err := w.report(ctx, parts)
	if err == nil && !w.halted() {
		err = w.call(ctx, &state.ReportRequest{Leaving: true}, leaveTime)
	}
	if err != nil {
		w.r.cfg.Logger.Debug("replica: the broker was not told that it closes", "topic", w.r.cfg.Topic, "err", err)
	}
}

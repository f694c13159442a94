package keyframer

import "github.com/keyframelog/keyframe/storage/table"

// situation is all that a step's decision depends on. The decision is a pure function of it, so that every case can be
// written down in a test.
type situation struct {
	nowMs int64

	position   int64 // end of what is applied
	lastStable int64 // end of what may be applied

	lastCut   int64 // newest frame's cut; -1: none
	start     int64 // log start offset that the table respects
	stuck     bool  // it cannot move at this position
	logStart  int64 // that of the log
	since     interval
	straddled bool // a transaction began below the position and ends above it

	paused    bool
	folding   bool  // one fold of this partition is under way
	expiring  bool  // and rows leave at its cut: nothing may be applied before it has ended
	full      bool  // memory wants this partition folded
	throttled bool  // no memory is left for more deltas
	retryMs   int64 // after a failed fold: not before this time

	held      bool // a cut of the topic is under way: no other may come in between
	preparing bool // its request comes next
	request   *request
	due       *table.Frame // a frame that a table had which is folded again, and that comes before any other; nil: none does

	limits Settings
}

// interval is what was applied since the newest cut.
type interval struct {
	records, bytes int64
	firstMs        int64 // when the first of it was applied; 0: nothing was
}

// plus joins an interval that could not be cut with what came after it.
func (i interval) plus(later interval) interval {
	if i.firstMs == 0 {
		return later
	}
	i.records += later.records
	i.bytes += later.bytes
	return i
}

// request asks for a frame at exactly one offset, which was the synced end when it was made.
type request struct {
	target int64
	timeMs int64 // of the cut; the same in all partitions of a topic
	done   chan struct{}
	err    error // readable when done is closed
}

type actionKind uint8

const (
	doNothing actionKind = iota // until something happens
	doApply                     // batches of [position, end)
	doFold                      // the open interval; a key frame if cut
	doAnswer                    // the request: its frame is there already
)

type action struct {
	kind      actionKind
	end       int64        // doApply
	cut       bool         // doFold
	cutTimeMs int64        // doFold with cut; 0: now
	due       *table.Frame // doFold with cut: the frame that is cut again
	wakeMs    int64        // doNothing: look again at this time; 0: only when something happens
}

// decide says what a partition does next.
func decide(s *situation) action {
	if !s.folding {
		if a, ok := decideFold(s); ok {
			return a
		}
	}
	if end := applyEnd(s); end > s.position {
		return action{kind: doApply, end: end}
	}
	return action{kind: doNothing, wakeMs: wake(s)}
}

func decideFold(s *situation) (action, bool) {
	if s.paused {
		return action{kind: doFold}, s.full && s.nowMs >= s.retryMs
	}
	if s.due != nil {
		if s.position == s.due.Cut {
			return action{kind: doFold, cut: true, cutTimeMs: s.due.CutTimeMs, due: s.due}, s.nowMs >= s.retryMs
		}
		return action{kind: doFold}, s.full && s.nowMs >= s.retryMs
	}
	if s.request != nil && s.position >= s.request.target {
		if s.position == 0 || s.position == s.lastCut && !s.startDue() {
			return action{kind: doAnswer}, true
		}
		if s.nowMs >= s.retryMs {
			return action{kind: doFold, cut: true, cutTimeMs: s.request.timeMs}, true
		}
		return action{}, false
	}
	if s.nowMs < s.retryMs {
		return action{}, false
	}
	if !s.held && s.request == nil && (s.cutDue() || s.startDue()) {
		return action{kind: doFold, cut: true}, true
	}
	if s.full {
		return action{kind: doFold}, true
	}
	return action{}, false
}

// cutDue says whether the interval since the last cut has reached one of the topic's limits.
func (s *situation) cutDue() bool {
	if s.since.firstMs == 0 || s.position == s.lastCut {
		return false
	}
	return s.reached() || s.limits.IntervalMs > 0 && s.nowMs >= s.dueMs()
}

// patience is how many intervals may pass before a cut: two where a transaction straddles the position, so that the cut falls behind its
// end if that comes soon.
func (s *situation) patience() int64 {
	if s.straddled {
		return 2
	}
	return 1
}

func (s *situation) dueMs() int64 { return s.since.firstMs + s.patience()*s.limits.IntervalMs }

// startDue says whether the log start has moved, so that rows are to leave at a cut: a new one, or, where nothing has come since, the newest.
func (s *situation) startDue() bool {
	return s.start < s.logStart && !s.stuck && s.position > s.start && s.position >= min(s.logStart, s.lastStable)
}

// reached says whether the interval holds as many records or bytes as a frame's interval may.
func (s *situation) reached() bool {
	return s.limits.IntervalRecords > 0 && s.since.records >= s.patience()*s.limits.IntervalRecords ||
		s.limits.IntervalBytes > 0 && s.since.bytes >= s.patience()*s.limits.IntervalBytes
}

// applyEnd is how far deltas may be applied now. While a fold is under way the next interval fills, but not beyond its
// limit: a frame's interval is what a seek has to read. While no cut may come, the limit cannot be kept: reads must not wait
// for the other partitions of the topic.
func applyEnd(s *situation) int64 {
	if s.paused || s.throttled || s.full || s.expiring {
		return s.position
	}
	if s.due != nil { // also while it is being cut: the next one is known only then
		return min(s.due.Cut, s.lastStable)
	}
	if s.request != nil {
		return min(s.request.target, s.lastStable)
	}
	if s.preparing || s.reached() && !s.held {
		return s.position // preparing: the request that comes names an end that must not be passed
	}
	return s.lastStable
}

// wake is when time alone changes the decision; 0: never.
func wake(s *situation) int64 {
	switch {
	case s.folding, s.preparing:
		return 0 // the end of that is an event
	case s.retryMs > s.nowMs:
		return s.retryMs // nothing is folded before
	case s.due != nil || s.held || s.paused || s.since.firstMs == 0 || s.limits.IntervalMs <= 0 || s.position == s.lastCut:
		return 0
	}
	if at := s.dueMs(); at > s.nowMs {
		return at
	}
	return 0
}

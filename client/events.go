package client

import (
	"fmt"
	"time"

	"github.com/keyframelog/keyframe/proto/digest"
)

// Position is a place in one life of a partition's log: everything below Offset is applied, and the rows are gone that the log start had
// passed then. It means nothing in another incarnation.
type Position struct {
	Incarnation [16]byte
	Offset      int64
	// Start is the log start offset that the state respects (cleanup.policy=compact,delete). Rows expire on an idle topic too, so that there are
	// several states at one Offset.
	Start int64
}

// Positions maps a partition to a position.
type Positions map[int32]Position

// Outcome of a comparison. Only Equal passes.
type Outcome int

const (
	Equal        Outcome = iota + 1 // same count and sum at the same cut of the same incarnation
	Drifted                         // proved to differ
	Inconclusive                    // could not be compared: no state plane, position gone from the log, another incarnation
	Error                           // the comparison failed: network, broker, local read
)

func (o Outcome) String() string {
	switch o {
	case Equal:
		return "equal"
	case Drifted:
		return "drifted"
	case Inconclusive:
		return "inconclusive"
	case Error:
		return "error"
	}
	return fmt.Sprintf("outcome(%d)", int(o))
}

// Verdict is the result of one comparison of a partition with the log.
type Verdict struct {
	Topic     string
	Partition int32
	At        int64 // the offset compared: everything below it is applied
	Outcome   Outcome
	Ours      digest.Digest
	Logs      digest.Digest
	Reason    string // for a person; empty when equal
	Err       error
	Time      time.Time
	// Scrub: it was no comparison with the log, but of the stored rows, Ours, with what was applied, Logs.
	Scrub bool

	start int64 // log start offset that the state respects
}

// EventKind names what happened to a partition of a replica.
type EventKind int

const (
	Bootstrapped    EventKind = iota + 1 // a frame was loaded and verified, or following began at earliest
	Resumed                              // a state that was stored, or had to be asked about, is followed on
	FrameRejected                        // a frame stream did not verify; nothing of it became visible
	OutOfRange                           // our position, or what followed it, is not in the log any more; a new bootstrap follows
	NewIncarnation                       // the log is another one (topic created anew, or records lost); a new bootstrap follows
	DriftFound                           // a digest differs; see the verdict
	TailFailed                           // reading the log failed; it is tried again
	BootstrapFailed                      // no state could be had: network, broker; it is tried again
	Stopped                              // following the partition ended for good; see Err
	TopicGrew                            // the topic has partitions that a replica of all does not hold; following ends
	CaughtUp                             // what changed since the position was loaded and verified
	LeaseEnded                           // the log no longer holds what the replica needs to become current (*ReasonError); it asks again
	CorruptionFound                      // the stored rows are not what was applied; memory or disk is to be looked at
	Repaired                             // the state is equal to a key frame again, or, by rows, to what was applied; see Repair
	RepairFailed                         // the difference could not be put right; a whole key frame is loaded, or it is tried again at the next one
	RepairRefused                        // the broker has nothing to repair from, or to load instead (ErrUnrepairable); the state stays as it is and is followed on
	KeysNamed                            // the keys that differ, Rows of them, have been named, and none is put right; Err: not all could be found out
)

var eventNames = [...]string{"", "bootstrapped", "resumed", "frame rejected", "out of range", "new incarnation", "drift found", "tail failed", "bootstrap failed",
	"stopped", "topic grew", "caught up", "lease ended", "corruption found", "repaired", "repair failed", "repair refused", "keys named"}

func (k EventKind) String() string {
	if k > 0 && int(k) < len(eventNames) {
		return eventNames[k]
	}
	return fmt.Sprintf("event(%d)", int(k))
}

// Event tells what happened to a partition; none of these is ever silent.
type Event struct {
	Kind      EventKind
	Topic     string
	Partition int32
	Offset    int64
	Rows      int64         // rows loaded, for Bootstrapped; keys that changed, for CaughtUp; that differ, for KeysNamed
	Repair    *RepairResult // what was done, for Repaired
	Err       error
	Time      time.Time

	proved *point // of a state that came from the log: its digest there was held to the log's; nil: it was not
}

// Change is one change of the state, as a watcher sees it.
type Change struct {
	Partition int32
	Offset    int64 // of the delta; of a key that a new frame no longer has: its cut - 1
	Timestamp int64 // ms since the epoch
	Key       []byte
	Value     []byte // the whole new value, not the delta
	Deleted   bool
	// Expired says of a deleted key that nobody deleted it: the log start has passed it (cleanup.policy=compact,delete).
	Expired bool
	// Next is where to resume once this change is dealt with: Positions[Partition] = Next.
	Next Position

	start int64 // log start offset with which it came
}

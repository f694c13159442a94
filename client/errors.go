package client

import (
	"errors"
	"fmt"

	"github.com/keyframelog/keyframe/client/plane"
)

var (
	// ErrClosed is returned by calls on a closed replica.
	ErrClosed = errors.New("the replica is closed")
	// ErrInCallback is wrapped by WaitFor and Watch where they would have to wait within OnVerdict, OnEvent or OnDifference, which the partition may be
	// waiting for.
	ErrInCallback = errors.New("a callback cannot wait for the replica to go on: wait on another goroutine, and return")
	// ErrNoPartition is wrapped where a partition is not one of the replica's.
	ErrNoPartition = errors.New("the replica does not hold this partition")
	// ErrDrifted is wrapped by the error of a partition that halted because it differs from the log.
	ErrDrifted = errors.New("the replica has drifted from the log")
	// ErrCorrupt is wrapped where the stored rows are not what was applied: memory or disk changed them.
	ErrCorrupt = errors.New("the stored rows are not what was applied")
	// ErrReopen is wrapped by the error of a partition that is no longer followed since nothing can be loaded beside what is damaged in the directory: open the
	// replica again, which sets the tables aside.
	ErrReopen = errors.New("opened again, the replica sets aside what is damaged")
	// ErrRefused is wrapped where the state plane says that asking again will not help: the topic is not key-framed, or the request is
	// not admitted.
	ErrRefused = plane.ErrRefused
	// ErrBarred is wrapped where something in front of the state plane answers a call with HTTP status 401 or 403, which it names. It is asked again.
	ErrBarred = plane.ErrBarred
	// ErrUnrepairable is wrapped by the error of an Event RepairRefused: the broker says that what it has is damaged, or that replicas agree with
	// one another and not with it. What it has must not be spread.
	ErrUnrepairable = plane.ErrUnrepairable
	// ErrDisputed, an ErrUnrepairable, is wrapped where it is known beforehand that replicas agree with one another and not with the broker: by what VerifyDir
	// says of a repair, and by the error of a partition that halted.
	ErrDisputed = plane.ErrDisputed
	// ErrPartitions is wrapped where a topic has got more partitions, or was created anew with another number of them, and the replica
	// was of all: open it again.
	ErrPartitions = errors.New("the topic has other partitions than the replica")
	// ErrNoStatePlane is returned where a call needs the state plane and none is configured.
	ErrNoStatePlane = errors.New("no state plane configured")
)

// ReasonError is what the log gave as its reason for having no use for a replica's state, or for ending its lease.
type ReasonError = plane.ReasonError

// SlowWatcherError ends a Watch whose reader fell behind the changes that the replica keeps.
// Watch(ctx, e.Resume) goes on without a loss, from rows where the single changes are gone.
type SlowWatcherError struct{ Resume Positions }

func (e *SlowWatcherError) Error() string {
	return "the watcher fell behind the changes that the replica keeps; resume from the position in this error"
}

// WatchResetError ends a Watch that cannot be resumed: what was deleted, or has expired, since From is no
// longer known, or the partition's log is another one (incarnation). Watch(ctx, nil) starts anew.
type WatchResetError struct {
	Partition int32
	From      Position
	Horizon   Position // the oldest position that can be resumed
}

func (e *WatchResetError) Error() string {
	from, oldest := fmt.Sprintf("offset %d", e.From.Offset), fmt.Sprint(e.Horizon.Offset)
	switch {
	case e.From.Incarnation != e.Horizon.Incarnation:
		from += fmt.Sprintf(" of incarnation %x", e.From.Incarnation)
		oldest = fmt.Sprintf("%s of another log, incarnation %x", oldest, e.Horizon.Incarnation)
	case e.From.Offset >= e.Horizon.Offset && e.From.Start < e.Horizon.Start: // what has expired on the way is what is not known
		from += fmt.Sprintf(" with log start %d", e.From.Start)
		oldest += fmt.Sprintf(" with log start %d", e.Horizon.Start)
	}
	return fmt.Sprintf("partition %d cannot be watched from %s: the oldest position is %s; watch from the start", e.Partition, from, oldest)
}

// PartitionError names the partition and position at which following it failed.
type PartitionError struct {
	Topic     string
	Partition int32
	Offset    int64
	Err       error
}

func (e *PartitionError) Error() string {
	return fmt.Sprintf("topic %s partition %d at offset %d: %v", e.Topic, e.Partition, e.Offset, e.Err)
}

func (e *PartitionError) Unwrap() error { return e.Err }

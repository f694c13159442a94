package log

import (
	"errors"
	"fmt"
)

var (
	// ErrClosed: the store or the partition was closed or dropped.
	ErrClosed = errors.New("log is closed")
	// ErrFailed: a sync failed earlier; the process has to stop.
	ErrFailed = errors.New("log failed: a write could not be made durable")
	// ErrTrimmed: the offset lies below the delta start offset, where only rows are left.
	ErrTrimmed = errors.New("raw deltas were trimmed")
	// ErrNoTime: the time lies before the oldest entry of the index of append times.
	ErrNoTime = errors.New("time is before the oldest kept append")
)

// OffsetRangeError says that an offset is below the log start or beyond the log end.
type OffsetRangeError struct {
	Partition PartitionID
	Offset    int64
	LogStart  int64
	LogEnd    int64
}

func (e *OffsetRangeError) Error() string {
	return fmt.Sprintf("log of ordinal %d: offset %d is outside [%d, %d]", e.Partition, e.Offset, e.LogStart, e.LogEnd)
}

// CorruptError says that what is stored at an offset cannot be trusted. Nothing of it was returned.
type CorruptError struct {
	Partition PartitionID
	Offset    int64
	Err       error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("log of ordinal %d: offset %d is damaged on disk: %v", e.Partition, e.Offset, e.Err)
}

func (e *CorruptError) Unwrap() error { return e.Err }

// SequenceKind is why a batch of an idempotent producer was refused.
type SequenceKind uint8

// The kinds, with Kafka's error beside them.
const (
	OutOfOrder       SequenceKind = iota + 1 // a gap: OUT_OF_ORDER_SEQUENCE_NUMBER (45); the in-order retry works
	DuplicateTooOld                          // older than the last five batches: DUPLICATE_SEQUENCE_NUMBER (46)
	StaleEpoch                               // an older epoch of the producer: INVALID_PRODUCER_EPOCH (47)
	UnknownProducer                          // reserved: an unknown producer may start anywhere (KIP-360)
	InTransaction                            // a batch outside the producer's open transaction: INVALID_TXN_STATE (48)
	StaleCoordinator                         // a marker of an older coordinator: TRANSACTION_COORDINATOR_FENCED (52)
)

func (k SequenceKind) String() string {
	switch k {
	case OutOfOrder:
		return "out of order sequence"
	case DuplicateTooOld:
		return "duplicate older than the last five batches"
	case StaleEpoch:
		return "stale producer epoch"
	case UnknownProducer:
		return "unknown producer"
	case InTransaction:
		return "its transaction is open, and the batch is not transactional"
	case StaleCoordinator:
		return "a marker of an earlier coordinator"
	}
	return fmt.Sprintf("sequence error %d", uint8(k))
}

// SequenceError says that a batch does not continue its producer's sequence. Nothing was written.
type SequenceError struct {
	Kind             SequenceKind
	Partition        PartitionID
	ProducerID       int64
	Epoch, LastEpoch int16 // of the batch; of the producer's last batch
	Sequence, Want   int32 // the batch's first sequence; the one that would have continued
}

func (e *SequenceError) Error() string {
	return fmt.Sprintf("log of ordinal %d: producer %d: %s: got epoch %d sequence %d, have epoch %d and expect sequence %d",
		e.Partition, e.ProducerID, e.Kind, e.Epoch, e.Sequence, e.LastEpoch, e.Want)
}

package keyframer

import (
	"context"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/log"
)

// Log is the log of one partition. *log.Partition is one; a partition of an existing Kafka cluster can be another.
type Log interface {
	// Bounds returns the offsets of this moment. The keyframer reads [DeltaStart, LastStable).
	Bounds() log.Bounds
	// Batches returns whole batches of [from, end), at least one, the first holding from; maxBytes bounds the rest.
	Batches(from, end int64, maxBytes int) ([]batch.Batch, error)
	// Aborted returns the aborted transactions that overlap [from, end), in the order of their markers. log.ErrTrimmed below DeltaStart.
	Aborted(from, end int64) ([]log.AbortedTxn, error)
	// OpenTxns returns the transactions that are open, oldest first. The first one holds LastStable.
	OpenTxns() []log.OpenTxn
	// Watch calls fn, which does not block, whenever bounds have changed.
	Watch(fn func()) (cancel func())
	// TrimTo drops the raw batches below deltaStart, durably when it returns. The batch of the last offset stays.
	TrimTo(ctx context.Context, deltaStart int64) error
	// HideBelow moves the log start offset up and leaves the deltas below it to the keyframer; durable when it returns.
	HideBelow(ctx context.Context, offset int64) error
	// SetLogStart moves the log start offset up, and the raw batches below it go; durable when it returns.
	SetLogStart(ctx context.Context, offset int64) error
	// OffsetForTimestamp returns the first raw record whose own timestamp is at or above a time, ms since the Unix epoch.
	OffsetForTimestamp(ms int64) (offset, recordMs int64, epoch int32, ok bool, err error)
	// EpochAt returns the leader epoch of the record at offset.
	EpochAt(offset int64) int32
	// EpochEnd returns the largest leader epoch at or below the one asked for, and where it ends (KIP-320); -1, -1 where the log is in none so high.
	EpochEnd(epoch int32) (found int32, endOffset int64)
	// OffsetAtAppendTime returns the end of what was appended at or before a time, ms since the Unix epoch. log.ErrNoTime
	// if the log does not know so far back.
	OffsetAtAppendTime(ms int64) (int64, error)
	// AppendTimeAt returns when the record at offset was appended, or the oldest time that is known, if that is later; log.ErrNoTime: none is.
	AppendTimeAt(offset int64) (ms int64, err error)
	// SizeBytes is what the raw batches take.
	SizeBytes() int64
	// BytesFrom is what those of them take that end above offset: what a trim to it would leave.
	BytesFrom(ctx context.Context, offset int64) (int64, error)
}

// TopicSpec is one key-framed topic, or the partitions of it that this process folds.
type TopicSpec struct {
	Name       string
	ID         [16]byte
	Fold       fold.Kind
	Partitions []PartitionSpec
}

// PartitionSpec is one partition of a TopicSpec.
type PartitionSpec struct {
	Index       int32
	Ordinal     uint32 // of its table; never reused
	Incarnation [16]byte
	Log         Log
	// RenewIncarnation draws another incarnation, durable when it returns. It is called when the log is found to have lost
	// committed records. nil: this log's cannot be renewed, and such a partition fails.
	RenewIncarnation func(ctx context.Context) ([16]byte, error)
}

// Settings are a topic's settings that may change while it is folded. Sizes in bytes, times in milliseconds.
type Settings struct {
	// Paused keeps the rows readable and folds nothing: the topic is not key-framed any more.
	Paused bool

	// A key frame is cut when one of these is reached; 0 or less: no limit.
	IntervalRecords int64
	IntervalBytes   int64
	IntervalMs      int64 // only if something changed

	// Retain is how many frames are kept above the oldest one, which is N1's, the newest included; two at least, because one
	// of them has to grow old for N1 to move to.
	Retain int

	// Raw deltas older, or more, than this are trimmed; -1: no limit.
	DeltaRetentionMs    int64
	DeltaRetentionBytes int64
	// MinCompactionLagMs: younger raw deltas are never trimmed. MaxCompactionLagMs: older ones are, but for the last batch and what
	// came since the frame below it, and while a transaction is open below them; 0 or less: no limit.
	MinCompactionLagMs, MaxCompactionLagMs int64

	// RetentionMs and RetentionBytes move the log start offset over rows and deltas (cleanup.policy=compact,delete, and the rows of a
	// topic that is not key-framed any more); less than 0: no limit.
	RetentionMs    int64
	RetentionBytes int64

	// DeleteRetentionMs is how long a tombstone's row outlives the trim of its delta.
	DeleteRetentionMs int64
	// StaleFetchError answers a stale fetch with ErrStaleFetch, where Kafka would answer with what is left.
	StaleFetchError bool
}

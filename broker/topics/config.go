package topics

import (
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/fold"
)

// Config is the effective configuration of one topic, typed: what was set on the topic over the broker's defaults.
// Durations are in milliseconds, sizes in bytes; -1 is "no limit" where Kafka has it so.
type Config struct {
	Compact bool // cleanup.policy contains compact
	Delete  bool // cleanup.policy contains delete

	// KeyFramed says that the topic's records are deltas, folded with Fold: cleanup.policy contains compact.
	KeyFramed bool
	Fold      fold.Kind

	IntervalBytes       int64 // keyframe.interval.bytes
	IntervalMs          int64 // keyframe.interval.ms
	IntervalRecords     int64 // keyframe.interval.records; 0: no limit
	Retain              int   // keyframe.retain: frames kept between N1 and the end
	DeltaRetentionMs    int64 // keyframe.delta.retention.ms
	DeltaRetentionBytes int64 // keyframe.delta.retention.bytes
	StaleFetch          StaleFetch

	MaxMessageBytes      int // max.message.bytes: of one record batch
	MaxDecompressedBytes int // keyframe.max.decompressed.bytes: of the records of one batch
	Compression          Compression
	FlushMessages        int64 // flush.messages
	LogAppendTime        bool  // message.timestamp.type
	TimestampAfterMs     int64 // message.timestamp.after.max.ms
	TimestampBeforeMs    int64 // message.timestamp.before.max.ms
	MinInsyncReplicas    int
	RetentionMs          int64
	RetentionBytes       int64
	DeleteRetentionMs    int64 // delete.retention.ms: how long a tombstone row outlives the trim of its delta
	MinCompactionLagMs   int64 // min.compaction.lag.ms: younger deltas are not trimmed
	MaxCompactionLagMs   int64 // max.compaction.lag.ms: older ones are; DeltaRetentionMs is never above it

	set      map[string]string // what was set on the topic itself
	defaults Defaults          // the broker's
}

// ShowUnsynced says that records are acknowledged and visible as soon as they are written: flush.messages is not 1.
func (c *Config) ShowUnsynced() bool { return c.FlushMessages != 1 }

// Compression is compression.type and the levels of compression.*.level.
type Compression struct {
	Type            string
	gzip, lz4, zstd int
}

// Codec returns what batches are stored in, and at which of the codec's levels; false: as they came.
func (c Compression) Codec() (codec batch.Codec, level int, ok bool) {
	switch c.Type {
	case "uncompressed":
		return batch.None, 0, true
	case "gzip":
		return batch.Gzip, c.gzip, true
	case "snappy":
		return batch.Snappy, 0, true
	case "lz4":
		return batch.LZ4, c.lz4, true
	case "zstd":
		return batch.Zstd, c.zstd, true
	}
	return 0, 0, false
}

// StaleFetch is keyframe.stale.fetch: what a fetch below the tombstone horizon gets.
type StaleFetch uint8

const (
	StaleFetchKafka StaleFetch = iota // rows, as a Kafka consumer of a compacted topic would
	StaleFetchError                   // OFFSET_OUT_OF_RANGE
)

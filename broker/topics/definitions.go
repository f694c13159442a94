package topics

import (
	"fmt"
	"math"

	"github.com/keyframelog/keyframe/proto/fold"
)

const (
	policyConfig = "cleanup.policy"
	foldConfig   = "keyframe.fold"
	minLagConfig = "min.compaction.lag.ms"
	maxLagConfig = "max.compaction.lag.ms"
	noEffect     = " Accepted for the sake of Kafka's tools; it has no effect here."
)

// DecompressedBytesMax is the limit of keyframe.max.decompressed.bytes: what reads a batch later is made for no more.
const DecompressedBytesMax = 64 << 20

// definitions is every topic config, by name. A value is accepted only when it is honoured, except where Doc says that it
// has no effect. A fixed table: never changed.
var definitions = []Definition{
	{Name: policyConfig, Type: TypeList, Default: "delete", Synonym: "log.cleanup.policy",
		Doc:   "delete: old records go by retention.ms and retention.bytes. compact: the topic is key-framed, its records are deltas that are folded per key into key frames. Both: rows expire as well, at a cut.",
		check: cleanupPolicy,
		apply: func(c *Config, v string) {
			for _, p := range Elements(v) {
				c.Compact = c.Compact || p == "compact"
				c.Delete = c.Delete || p == "delete"
			}
		}},
	{Name: "compression.gzip.level", Type: TypeInt, Default: "-1", Synonym: "compression.gzip.level",
		Doc:   "The level at which compression.type=gzip compresses, 1 to 9; -1 is the default.",
		check: gzipLevel, apply: func(c *Config, v string) { c.Compression.gzip = int(number(v)) }},
	{Name: "compression.lz4.level", Type: TypeInt, Default: "9", Synonym: "compression.lz4.level",
		Doc:   "The level at which compression.type=lz4 compresses, 1 to 17; 9 is the fast encoder, as in Kafka.",
		check: integer(1, 17), apply: func(c *Config, v string) { c.Compression.lz4 = int(number(v)) }},
	{Name: "compression.type", Type: TypeString, Default: "producer", Synonym: "compression.type",
		Doc:   "producer stores batches as they came; gzip, snappy, lz4, zstd and uncompressed have the broker write their records anew, where they came in another codec.",
		check: oneOf("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"), apply: func(c *Config, v string) { c.Compression.Type = v }},
	{Name: "compression.zstd.level", Type: TypeInt, Default: "3", Synonym: "compression.zstd.level",
		Doc:   "The level at which compression.type=zstd compresses, -131072 to 22; the encoder has four, and takes the nearest.",
		check: integer(-131072, 22), apply: func(c *Config, v string) { c.Compression.zstd = int(number(v)) }},
	{Name: "delete.retention.ms", Type: TypeLong, Default: "86400000", Synonym: "log.cleaner.delete.retention.ms",
		Doc:   "How long the tombstone row of a key outlives the trim of its delta, in milliseconds: the time a reader that starts at the beginning has to finish.",
		check: integer(0, int64Max), apply: func(c *Config, v string) { c.DeleteRetentionMs = number(v) }},
	{Name: "file.delete.delay.ms", Type: TypeLong, Default: "60000", Synonym: "log.segment.delete.delay.ms",
		Doc: "The time before a file is deleted." + noEffect, NoEffect: true, check: integer(0, int64Max)},
	{Name: "flush.messages", Type: TypeLong, Default: "1", Synonym: "log.flush.interval.messages",
		Doc: "1: every record is on disk before it is acknowledged and before any consumer sees it. Anything else, as Kafka's default 9223372036854775807: " +
			"records are acknowledged and visible once they are written; a process that is killed, or a power cut, loses those that were not synced. " +
			"Readers of committed records, key frames and replicas wait for the sync all the same.",
		check: integer(1, int64Max), apply: func(c *Config, v string) { c.FlushMessages = number(v) }},
	{Name: "flush.ms", Type: TypeLong, Default: "9223372036854775807", Synonym: "log.flush.interval.ms",
		Doc:   "The longest time that a record stays unsynced, in milliseconds. Every append schedules its sync at once, so that no value is ever exceeded; with flush.messages=1 nothing is shown before it.",
		check: integer(0, int64Max)},
	{Name: "follower.replication.throttled.replicas", Type: TypeList, Default: "",
		Doc: "Replicas whose copying is throttled; there is one replica." + noEffect, NoEffect: true, check: throttledReplicas},
	{Name: "index.interval.bytes", Type: TypeInt, Default: "4096", Synonym: "log.index.interval.bytes",
		Doc: "How densely a segment is indexed." + noEffect, NoEffect: true, check: integer(0, int32Max)},
	{Name: "keyframe.delta.retention.bytes", Type: TypeLong, Default: "1073741824",
		Doc:   "How many bytes of raw deltas are kept per partition; an eighth above it the delta start offset moves on to the next key frame. -1: no limit.",
		check: integer(-1, int64Max), apply: func(c *Config, v string) { c.DeltaRetentionBytes = number(v) }},
	{Name: "keyframe.delta.retention.ms", Type: TypeLong, Default: "86400000",
		Doc:   "How long raw deltas are kept at least, in milliseconds; within a sixteenth of it more the delta start offset moves to the newest key frame that is older. -1: for ever.",
		check: integer(-1, int64Max), apply: func(c *Config, v string) { c.DeltaRetentionMs = number(v) }},
	{Name: foldConfig, Type: TypeString, Default: fold.LastValue.String(),
		Doc:   "How a delta changes the state of its key: last-value, json-merge-patch, counter or debezium (change events). Set while the topic is empty; without compact in cleanup.policy it waits.",
		check: foldKind, apply: func(c *Config, v string) { c.Fold, _ = fold.ParseKind(v) }},
	{Name: "keyframe.interval.bytes", Type: TypeLong, Default: "67108864",
		Doc:   "A key frame is cut after this many bytes of deltas.",
		check: integer(1024, int64Max), apply: func(c *Config, v string) { c.IntervalBytes = number(v) }},
	{Name: "keyframe.interval.ms", Type: TypeLong, Default: "60000",
		Doc:   "A key frame is cut after this time, in milliseconds, if anything changed.",
		check: integer(1, int64Max), apply: func(c *Config, v string) { c.IntervalMs = number(v) }},
	{Name: "keyframe.interval.records", Type: TypeLong, Default: "-1",
		Doc:   "A key frame is cut after this many deltas. -1: no limit.",
		check: integer(-1, int64Max), apply: func(c *Config, v string) { c.IntervalRecords = number(v) }},
	{Name: "keyframe.max.decompressed.bytes", Type: TypeInt, Default: "67108864", Synonym: "keyframe.max.decompressed.bytes",
		Doc:   "The most that the records of one compressed batch may decompress to, in bytes; a batch beyond it is refused with MESSAGE_TOO_LARGE.",
		check: integer(1, DecompressedBytesMax), apply: func(c *Config, v string) { c.MaxDecompressedBytes = int(number(v)) }},
	{Name: "keyframe.retain", Type: TypeInt, Default: "24",
		Doc:   "How many key frames are kept between the delta start offset and the end; the others are thinned out. 1 keeps two: one has to grow old for the delta start offset to move to.",
		check: integer(1, 10_000), apply: func(c *Config, v string) { c.Retain = int(number(v)) }},
	{Name: "keyframe.stale.fetch", Type: TypeString, Default: "kafka",
		Doc:   "What a fetch below the tombstone horizon gets, where deletes may have been forgotten: kafka answers with rows as a compacted topic does, error with OFFSET_OUT_OF_RANGE.",
		check: oneOf("kafka", "error"), apply: func(c *Config, v string) {
			if v == "error" {
				c.StaleFetch = StaleFetchError
			}
		}},
	{Name: "leader.replication.throttled.replicas", Type: TypeList, Default: "",
		Doc: "Replicas whose reading is throttled; there is one replica." + noEffect, NoEffect: true, check: throttledReplicas},
	{Name: "local.retention.bytes", Type: TypeLong, Default: "-2", Synonym: "log.local.retention.bytes",
		Doc: "The size of what tiered storage keeps here; there is none." + noEffect, NoEffect: true, check: integer(-2, int64Max)},
	{Name: "local.retention.ms", Type: TypeLong, Default: "-2", Synonym: "log.local.retention.ms",
		Doc: "The age of what tiered storage keeps here; there is none." + noEffect, NoEffect: true, check: integer(-2, int64Max)},
	{Name: maxLagConfig, Type: TypeLong, Default: "9223372036854775807", Synonym: "log.cleaner.max.compaction.lag.ms",
		Doc: "How long a delta may stay raw, in milliseconds, while others follow it: key frames are cut every sixth of this at the latest, and " +
			"keyframe.delta.retention.ms is half of it at most.",
		check: integer(1, int64Max), apply: func(c *Config, v string) { c.MaxCompactionLagMs = number(v) }},
	{Name: "max.message.bytes", Type: TypeInt, Default: "1048588", Synonym: "message.max.bytes",
		Doc:   "The largest record batch, in bytes, as it is stored.",
		check: integer(0, int32Max), apply: func(c *Config, v string) { c.MaxMessageBytes = int(number(v)) }},
	{Name: "message.timestamp.after.max.ms", Type: TypeLong, Default: "3600000", Synonym: "log.message.timestamp.after.max.ms",
		Doc:   "How far a record's timestamp may lie in the future, in milliseconds, with message.timestamp.type=CreateTime.",
		check: integer(0, int64Max), apply: func(c *Config, v string) { c.TimestampAfterMs = number(v) }},
	{Name: "message.timestamp.before.max.ms", Type: TypeLong, Default: "9223372036854775807", Synonym: "log.message.timestamp.before.max.ms",
		Doc:   "How far a record's timestamp may lie in the past, in milliseconds, with message.timestamp.type=CreateTime.",
		check: integer(0, int64Max), apply: func(c *Config, v string) { c.TimestampBeforeMs = number(v) }},
	{Name: "message.timestamp.type", Type: TypeString, Default: "CreateTime", Synonym: "log.message.timestamp.type",
		Doc:   "CreateTime keeps the producer's timestamps, LogAppendTime replaces them by the broker's time.",
		check: oneOf("CreateTime", "LogAppendTime"), apply: func(c *Config, v string) { c.LogAppendTime = v == "LogAppendTime" }},
	{Name: "min.cleanable.dirty.ratio", Type: TypeDouble, Default: "0.5", Synonym: "log.cleaner.min.cleanable.ratio",
		Doc: "How dirty a log gets before the cleaner takes it." + noEffect, NoEffect: true, check: fraction},
	{Name: minLagConfig, Type: TypeLong, Default: "0", Synonym: "log.cleaner.min.compaction.lag.ms",
		Doc:   "How long a delta stays raw at least, in milliseconds.",
		check: integer(0, int64Max), apply: func(c *Config, v string) { c.MinCompactionLagMs = number(v) }},
	{Name: "min.insync.replicas", Type: TypeInt, Default: "1", Synonym: "min.insync.replicas",
		Doc:   "There is one replica: with more than 1, acks=all is answered NOT_ENOUGH_REPLICAS.",
		check: integer(1, int32Max), apply: func(c *Config, v string) { c.MinInsyncReplicas = int(number(v)) }},
	{Name: "preallocate", Type: TypeBoolean, Default: "false", Synonym: "log.preallocate",
		Doc: "Whether files are allocated in advance." + noEffect, NoEffect: true, check: boolean},
	{Name: "remote.log.copy.disable", Type: TypeBoolean, Default: "false",
		Doc: "Whether nothing more is copied to tiered storage; there is none." + noEffect, NoEffect: true, check: boolean},
	{Name: "remote.log.delete.on.disable", Type: TypeBoolean, Default: "false",
		Doc: "Whether tiered storage is emptied when it is turned off; there is none." + noEffect, NoEffect: true, check: boolean},
	{Name: "remote.storage.enable", Type: TypeBoolean, Default: "false",
		Doc: "Tiered storage, which this broker does not have.", check: never("there is no tiered storage")},
	{Name: "retention.bytes", Type: TypeLong, Default: "-1", Synonym: "log.retention.bytes",
		Doc:   "With cleanup.policy=delete: the size above which the oldest records of a partition are deleted. Negative: no limit.",
		check: integer(math.MinInt64, int64Max), apply: func(c *Config, v string) { c.RetentionBytes = number(v) }},
	{Name: "retention.ms", Type: TypeLong, Default: "604800000", Synonym: "log.retention.ms",
		Doc:   "With delete in cleanup.policy: the age in milliseconds above which records are deleted. -1: for ever.",
		check: integer(-1, int64Max), apply: func(c *Config, v string) { c.RetentionMs = number(v) }},
	{Name: "segment.bytes", Type: TypeInt, Default: "1073741824", Synonym: "log.segment.bytes",
		Doc: "The size of a segment file." + noEffect, NoEffect: true, check: integer(1<<20, int32Max)},
	{Name: "segment.index.bytes", Type: TypeInt, Default: "10485760", Synonym: "log.index.size.max.bytes",
		Doc: "The size of a segment's index." + noEffect, NoEffect: true, check: integer(4, int32Max)},
	{Name: "segment.jitter.ms", Type: TypeLong, Default: "0", Synonym: "log.roll.jitter.ms",
		Doc: "How much segments differ in age." + noEffect, NoEffect: true, check: integer(0, int64Max)},
	{Name: "segment.ms", Type: TypeLong, Default: "604800000", Synonym: "log.roll.ms",
		Doc: "The age of a segment file." + noEffect, NoEffect: true, check: integer(1, int64Max)},
	{Name: "unclean.leader.election.enable", Type: TypeBoolean, Default: "false", Synonym: "unclean.leader.election.enable",
		Doc: "Whether a replica that is behind may lead; there is one replica." + noEffect, NoEffect: true, check: boolean},
}

func cleanupPolicy(value string) error {
	for _, p := range Elements(value) {
		switch p {
		case "compact", "delete":
		case "":
			return fmt.Errorf("the values must not be empty")
		default:
			return fmt.Errorf("String must be one of: compact, delete")
		}
	}
	return nil
}

func foldKind(value string) error {
	_, err := fold.ParseKind(Trim(value))
	return err
}

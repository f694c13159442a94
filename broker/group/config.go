package group

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyframelog/keyframe/broker/group/consumer"
	"github.com/keyframelog/keyframe/storage/catalog"
)

// Store keeps the offsets and metadata of groups; *catalog.Catalog is one. Every write is atomic and durable when it
// returns. The coordinator writes to one group from one goroutine at a time.
type Store interface {
	PutOffsets(group string, commits []catalog.OffsetCommit) error
	Offsets(group string) ([]catalog.OffsetCommit, error)
	// PutPending stores offsets of an open transaction; Pending are those of a group, by producer id. EndOffsets puts their end into
	// a batch that somebody else writes.
	PutPending(group string, producerID int64, commits []catalog.OffsetCommit) error
	Pending(group string) (map[int64][]catalog.OffsetCommit, error)
	EndOffsets(pb *pebble.Batch, group string, producerID int64, ended, commits []catalog.OffsetCommit) error
	PutGroup(group string, metadata []byte) error
	GetGroup(group string) (metadata []byte, ok bool, err error)
	// DeleteGroup removes the metadata and all offsets.
	DeleteGroup(group string) error
	// Groups are the groups that have metadata or offsets.
	Groups() ([]string, error)
}

// Settings are what Kafka's broker configuration says about groups.
type Settings struct {
	InitialRebalanceDelay time.Duration // group.initial.rebalance.delay.ms
	MinSessionTimeout     time.Duration // group.min.session.timeout.ms
	MaxSessionTimeout     time.Duration // group.max.session.timeout.ms
	MaxSize               int           // group.max.size
	OffsetsRetention      time.Duration // offsets.retention.minutes
	RetentionCheck        time.Duration // offsets.retention.check.interval.ms
	MaxOffsetMetadata     int           // offset.metadata.max.bytes; in UTF-16 units, as Kafka counts

	ConsumerSessionTimeout    time.Duration // group.consumer.session.timeout.ms
	ConsumerHeartbeatInterval time.Duration // group.consumer.heartbeat.interval.ms
	ConsumerMaxSize           int           // group.consumer.max.size
}

// DefaultSettings are Kafka's.
func DefaultSettings() Settings {
	return Settings{
		InitialRebalanceDelay: 3 * time.Second,
		MinSessionTimeout:     6 * time.Second,
		MaxSessionTimeout:     30 * time.Minute,
		MaxSize:               math.MaxInt32,
		OffsetsRetention:      7 * 24 * time.Hour,
		RetentionCheck:        10 * time.Minute,
		MaxOffsetMetadata:     4096,

		ConsumerSessionTimeout:    45 * time.Second,
		ConsumerHeartbeatInterval: 5 * time.Second,
		ConsumerMaxSize:           math.MaxInt32,
	}
}

// Validate names the first setting that cannot be.
func (s Settings) Validate() error {
	switch {
	case s.InitialRebalanceDelay < 0:
		return fmt.Errorf("group.initial.rebalance.delay.ms is %v; it must not be negative", s.InitialRebalanceDelay)
	case s.MinSessionTimeout <= 0 || s.MaxSessionTimeout < s.MinSessionTimeout:
		return fmt.Errorf("group.min.session.timeout.ms is %v and group.max.session.timeout.ms %v; it must be 0 < min <= max",
			s.MinSessionTimeout, s.MaxSessionTimeout)
	case s.MaxSize < 1:
		return fmt.Errorf("group.max.size is %d; it must be at least 1", s.MaxSize)
	case s.OffsetsRetention < time.Minute:
		return fmt.Errorf("offsets.retention.minutes is %v; it must be at least 1 minute", s.OffsetsRetention)
	case s.RetentionCheck <= 0:
		return errors.New("offsets.retention.check.interval.ms must be positive")
	case s.MaxOffsetMetadata < 0:
		return errors.New("offset.metadata.max.bytes must not be negative")
	case s.ConsumerHeartbeatInterval <= 0 || s.ConsumerSessionTimeout <= s.ConsumerHeartbeatInterval:
		return fmt.Errorf("group.consumer.heartbeat.interval.ms is %v and group.consumer.session.timeout.ms %v; it must be 0 < interval < timeout",
			s.ConsumerHeartbeatInterval, s.ConsumerSessionTimeout)
	case s.ConsumerMaxSize < 1:
		return fmt.Errorf("group.consumer.max.size is %d; it must be at least 1", s.ConsumerMaxSize)
	}
	return nil
}

// Config is what a Coordinator needs.
type Config struct {
	Settings
	Store  Store
	Now    func() time.Time
	Rand   io.Reader // for member ids
	Logger *slog.Logger
	// Metrics may be nil.
	Metrics prometheus.Registerer
	// GroupConfig, if not nil, is a group's own value of consumer.session.timeout.ms or consumer.heartbeat.interval.ms, or the default; it
	// must not block.
	GroupConfig func(group, name string) string
	// Topics are what groups that the broker balances assign; nil is none.
	Topics consumer.Topics
	// TopicExists, if not nil, is asked when the coordinator opens: offsets of topics that were deleted while it was not
	// looking are dropped; and, under its lock, for each offset that is committed. A topic ceases to exist before DropTopic is called.
	TopicExists func(topic string) bool
}

package log

import (
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Admission decides whether bytes may be written. *engine.Reserve is one.
type Admission interface {
	// Admit returns an error when n more bytes must not be written now.
	Admit(n int) error
}

// Config of a Store. DB is required; the zero value of the rest means the default.
type Config struct {
	DB     *pebble.DB
	Now    func() time.Time // default time.Now
	Logger *slog.Logger     // default: discards

	// Reserve is asked before each append. Default: everything is admitted.
	Reserve Admission

	// Blobs lets long reads of what is on disk by Pebble and its block cache. Default: they go through Pebble, like short ones.
	Blobs BlobFiles

	// Fatal is called once, when a sync failed: what is durable is unknown then, so the process has to stop
	// (fsyncgate: a second fsync would report success for pages that the first one lost). Default: panic.
	Fatal func(msg string)

	// LeaderEpoch of this run, from catalog.BeginEpoch. It is stamped into every batch.
	LeaderEpoch int32

	// TailBytes bounds the memory of the tail cache over all partitions. Default 64 MiB; negative: no cache.
	TailBytes int64

	// MaxDecompressedBytes bounds the reading of one batch's records when a timestamp is looked up. Default 64 MiB.
	MaxDecompressedBytes int

	// InFlightBytes bounds what is appended and not yet synced. Default 64 MiB; one batch always passes.
	InFlightBytes int64

	// CompactEveryBytes is after how many appended bytes the log is compacted in the background, so that trimmed space
	// comes back (set C). Default 256 MiB; negative: never.
	CompactEveryBytes int64

	// ProducerExpiry is after which broker time without an append an idempotent producer's state is dropped. Default 24 h.
	ProducerExpiry time.Duration

	// MaxProducers bounds the idempotent producers that one partition remembers; beyond it the one that has been silent
	// longest is forgotten. Default 65536.
	MaxProducers int
}

const (
	defaultTailBytes       = 64 << 20
	defaultInFlightBytes   = 64 << 20
	defaultMaxDecompressed = 64 << 20
	defaultCompactEvery    = 256 << 20
	defaultProducerExpiry  = 24 * time.Hour
	defaultMaxProducers    = 1 << 16
	inFlightBatches        = 2048 // below record.SyncConcurrency, at which Pebble itself would block
)

func (c Config) withDefaults() Config {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Reserve == nil {
		c.Reserve = unlimited{}
	}
	if c.Fatal == nil {
		c.Fatal = func(msg string) { panic(msg) }
	}
	setDefault(&c.TailBytes, defaultTailBytes)
	setDefault(&c.InFlightBytes, defaultInFlightBytes)
	setDefault(&c.MaxDecompressedBytes, defaultMaxDecompressed)
	setDefault(&c.CompactEveryBytes, defaultCompactEvery)
	setDefault(&c.ProducerExpiry, defaultProducerExpiry)
	setDefault(&c.MaxProducers, defaultMaxProducers)
	return c
}

func setDefault[T int | int64 | time.Duration](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

type unlimited struct{}

func (unlimited) Admit(int) error { return nil }

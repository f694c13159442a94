package engine

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Kind says whose directory it is. What one kind of owner would delete as left over is the other's state.
type Kind string

const (
	Broker  Kind = "broker"
	Replica Kind = "replica"
)

// Config of a data directory. Only Dir is required.
type Config struct {
	Dir    string
	Kind   Kind         // default Broker
	FS     vfs.FS       // default vfs.Default
	Logger *slog.Logger // default: discards
	Now    func() time.Time

	// Fatal is called once, when a sync or something else that Pebble cannot go on without has failed. It must not return
	// in production. Default: writes msg to standard error and ends the process with exit code 1.
	Fatal func(msg string)

	// MemTableBytes is the size that a memtable of the log grows to. Four may exist, and the WAL is about as large.
	// Default 32 MiB: 64 MiB is no faster, and takes twice the memory and disk.
	MemTableBytes int64

	// CacheBytes bounds the block cache that both databases share. Default 64 MiB, filled as used.
	CacheBytes int64

	// ReserveBytes is the free space below which writes are refused. Default eight memtables: four may be waiting for
	// their flush, one WAL is preallocated, and a compaction may be under way.
	ReserveBytes int64
}

const (
	defaultMemTableBytes = 32 << 20
	defaultCacheBytes    = 64 << 20
	reserveMemTables     = 8
	startMemTables       = 4
)

func (c Config) withDefaults() (Config, error) {
	if c.Dir == "" {
		return c, fmt.Errorf("data directory: no path given")
	}
	if c.Kind == "" {
		c.Kind = Broker
	}
	if c.FS == nil {
		c.FS = vfs.Default
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Fatal == nil {
		c.Fatal = func(msg string) {
			fmt.Fprintln(os.Stderr, "keyframe: "+msg)
			os.Exit(1)
		}
	}
	if c.MemTableBytes == 0 {
		c.MemTableBytes = defaultMemTableBytes
	}
	if c.CacheBytes == 0 {
		c.CacheBytes = defaultCacheBytes
	}
	if c.ReserveBytes == 0 {
		c.ReserveBytes = reserveMemTables * c.MemTableBytes
	}
	if c.MemTableBytes < 0 || c.CacheBytes < 0 || c.ReserveBytes < 0 {
		return c, fmt.Errorf("data directory %s: sizes must not be negative", c.Dir)
	}
	return c, nil
}

package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"strings"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
)

// formatVersion is pinned: a newer Pebble must not upgrade a directory by itself, the older program could not open it any
// more. Value separation needs this one; flushable ingests with excise come long before it.
const formatVersion = pebble.FormatValueSeparation

// OpenLogDB opens the database of the log, the catalog and the groups. The Dir owns it.
func (d *Dir) OpenLogDB() (*pebble.DB, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.logDB != nil {
		return nil, fmt.Errorf("data directory %s: log database opened twice or after Close", d.cfg.Dir)
	}
	db, err := d.open(logDir, d.logOptions())
	if err != nil {
		return nil, err
	}
	d.logDB = db
	return db, nil
}

// OpenTableDB opens the database of the tables, with the options that its sstables are to be written with. It has no
// WAL: whoever writes it does so by Ingest alone. The Dir owns it.
func (d *Dir) OpenTableDB() (*pebble.DB, *pebble.Options, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.tabDB != nil {
		return nil, nil, fmt.Errorf("data directory %s: table database opened twice or after Close", d.cfg.Dir)
	}
	opts := d.tableOptions()
	db, err := d.open(tableDir, opts)
	if err != nil {
		return nil, nil, err
	}
	d.tabDB = db
	return db, opts, nil
}

// open opens or creates a database. Once it was created, a database whose files are gone is an error, never a new one.
func (d *Dir) open(name string, opts *pebble.Options) (*pebble.DB, error) {
	fs := d.cfg.FS
	created := fs.PathJoin(d.cfg.Dir, name+createdSuffix)
	_, err := fs.Stat(created)
	isNew := errors.Is(err, os.ErrNotExist)
	if err != nil && !isNew {
		return nil, fmt.Errorf("open %s database in %s: %w", name, d.cfg.Dir, err)
	}
	opts.ErrorIfNotExists = !isNew
	path := fs.PathJoin(d.cfg.Dir, name)
	if !isNew {
		torn, err := examine(fs, path)
		if err != nil {
			return nil, refused(name, path, err)
		}
		if torn != "" {
			d.notices = append(d.notices, torn)
			d.cfg.Logger.Warn(torn)
		}
	}
	db, err := openBounded(path, opts)
	if err != nil {
		return nil, refused(name, path, err)
	}
	if d.readOnly {
		return db, nil // whoever only looks can say more, and go on
	}
	if isNew && !opts.DisableWAL {
		// Pebble creates the first WAL before it has the new format, and without what damage is told from a crash by.
		if err := db.Close(); err != nil {
			return nil, refused(name, path, err)
		}
		if db, err = pebble.Open(path, opts); err != nil {
			return nil, refused(name, path, err)
		}
	}
	if isNew {
		err = writeFile(fs, created, versionText(d.cfg.Kind)+"\n")
		if err == nil {
			err = syncDir(fs, d.cfg.Dir)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("create %s database in %s: %w", name, d.cfg.Dir, err), db.Close())
		}
	}
	return db, nil
}

// logOptions: batches are large, written once in offset order and dropped from the front. Values go to blob files, so that
// compaction moves keys only (write amplification 2 instead of 6), and nothing is compressed: batches are already, by
// their producers. Pebble counts the blobs that a table refers to as its size, so tables and levels are four times as large as
// where tables have the values: a table of 64 MiB so counted was a file of 2 KB, and compactions made four of them for each flush. The value separation numbers
// and the range delete delay are what gives space back after a trim; the Compact that belongs to them is package log's.
func (d *Dir) logOptions() *pebble.Options {
	o := d.baseOptions(&d.logStats, "log")
	pace := newFlushPace(d.cfg.MemTableBytes)
	o.FS = newBlobFS(o.FS, d.cfg.Logger.With("db", "log"), o.EventListener.DataCorruption, pace) // a pointer: Pebble compares file systems
	o.MemTableSize = uint64(d.cfg.MemTableBytes)
	o.MemTableStopWritesThreshold = 4
	o.L0CompactionThreshold = 8
	o.L0StopWritesThreshold = 64
	o.LBaseMaxBytes = 1 << 30
	o.FlushSplitBytes = math.MaxInt64
	o.CompactionConcurrencyRange = func() (int, int) { return 1, 2 }
	o.FlushDelayDeleteRange = time.Second
	o.TargetByteDeletionRate = 0 // not paced: paced deletion let the disk grow to seven times the live bytes
	policy := pebble.ValueSeparationPolicy{
		Enabled:               true,
		MinimumSize:           512,
		MaxBlobReferenceDepth: 1000,
		RewriteMinimumAge:     time.Second,
		TargetGarbageRatio:    0.2,
	}
	o.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy { return policy }
	for i := range o.TargetFileSizes {
		o.TargetFileSizes[i] = 256 << 20
	}
	for i := range o.Levels {
		o.Levels[i].BlockSize = 64 << 10
		o.Levels[i].IndexBlockSize = 256 << 10
	}
	return o
}

// tableOptions: rows are written once by Ingest, small ones many to a block.
func (d *Dir) tableOptions() *pebble.Options {
	o := d.baseOptions(&d.tabStats, "table")
	o.DisableWAL = true
	o.MemTableSize = 4 << 20
	o.L0CompactionThreshold = 4
	o.L0StopWritesThreshold = 1000
	o.LBaseMaxBytes = 64 << 20
	o.CompactionConcurrencyRange = func() (int, int) { return 1, 2 }
	o.Experimental.ReadSamplingMultiplier = -1 // a frame that is read as a whole is no reason to compact; to count what is read took 3 % of the reading
	for i := range o.TargetFileSizes {
		o.TargetFileSizes[i] = 32 << 20
	}
	for i := range o.Levels {
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].BlockSize = 32 << 10
		o.Levels[i].IndexBlockSize = 256 << 10
	}
	o.EnsureDefaults() // for MakeWriterOptions
	return o
}

func (d *Dir) baseOptions(stats *counters, name string) *pebble.Options {
	o := &pebble.Options{
		FS:                 readFS{markerFS{d.cfg.FS}},
		ReadOnly:           d.readOnly,
		Cache:              d.cache,
		FormatMajorVersion: formatVersion,
		BytesPerSync:       1 << 20,
		Logger:             pebbleLogger{d: d, log: d.cfg.Logger.With("db", name)},
		EventListener:      stats.listener(d.cfg.Kind, name, d.cfg.Logger.With("db", name), d.cfg.Now),
	}
	for i := range o.Levels {
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
	}
	return o
}

// pebbleLogger turns Pebble's log into ours. Fatalf is what a failed WAL or MANIFEST sync ends in.
type pebbleLogger struct {
	d   *Dir
	log *slog.Logger
}

func (l pebbleLogger) Infof(format string, args ...any) {
	l.log.Debug(strings.TrimSpace(fmt.Sprintf(format, args...)))
}

func (l pebbleLogger) Errorf(format string, args ...any) {
	l.log.Error(strings.TrimSpace(fmt.Sprintf(format, args...)))
}

func (l pebbleLogger) Fatalf(format string, args ...any) {
	l.d.Fatal(fmt.Sprintf("%s: storage engine failed: %s: what is on disk is safe, start again once the disk works",
		l.d.cfg.Dir, strings.TrimSpace(fmt.Sprintf(format, args...))))
}

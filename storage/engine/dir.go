package engine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keyframelog/keyframe/storage/damage"
)

const (
	versionFile = "VERSION"
	versionTmp  = "VERSION.tmp"
	lockFile    = "LOCK"
	pidFile     = "PID"
	logDir      = "log"
	tableDir    = "table"

	createdSuffix = ".created"
)

// Dir is an open data directory: this process holds its lock.
type Dir struct {
	cfg      Config
	readOnly bool
	lock     io.Closer
	cache    *pebble.Cache
	reserve  *Reserve
	logStats counters
	tabStats counters
	fatal    sync.Once

	mu      sync.Mutex
	logDB   *pebble.DB
	tabDB   *pebble.DB
	notices []string
	closed  bool
}

// OpenDir locks the directory and checks what it is; an empty or missing one becomes a data directory of cfg.Kind.
// Errors: ErrLocked, ErrNotADataDir, ErrKind, ErrVersion, *damage.Error for a VERSION that is none, ErrDiskFull when not even four memtables fit on the disk.
func OpenDir(cfg Config) (*Dir, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	// Looked at before anything is written, the lock included: a foreign directory stays untouched.
	if err := checkVersion(cfg.FS, cfg.Dir, cfg.Kind); err != nil {
		return nil, err
	}
	if _, err := cfg.FS.Stat(cfg.FS.PathJoin(cfg.Dir, versionFile)); err != nil {
		if err := mkdirDurable(cfg.FS, cfg.Dir); err != nil {
			return nil, fmt.Errorf("create data directory %s: %w", cfg.Dir, err)
		}
	}
	lock, err := cfg.FS.Lock(cfg.FS.PathJoin(cfg.Dir, lockFile))
	if err != nil {
		if errors.Is(err, os.ErrPermission) && !isHeld(err) {
			return nil, fmt.Errorf("data directory %s: %w", cfg.Dir, err)
		}
		return nil, &LockedError{Dir: cfg.Dir, PID: readPID(cfg.FS, cfg.Dir), Err: err}
	}
	d := &Dir{cfg: cfg, lock: lock, reserve: newReserve(cfg)}
	if err := d.prepare(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	d.cache = pebble.NewCache(cfg.CacheBytes)
	return d, nil
}

// prepare runs under the lock.
func (d *Dir) prepare() error {
	fs, dir := d.cfg.FS, d.cfg.Dir
	if err := d.reserve.startable(startMemTables * d.cfg.MemTableBytes); err != nil {
		return err
	}
	if err := writeFile(fs, fs.PathJoin(dir, pidFile), strconv.Itoa(os.Getpid())+"\n"); err != nil {
		return fmt.Errorf("data directory %s: %w", dir, err)
	}
	if err := checkVersion(fs, dir, d.cfg.Kind); err != nil { // again: another process may have been at work
		return err
	}
	if _, err := fs.Stat(fs.PathJoin(dir, versionFile)); err == nil {
		return nil
	}
	if err := writeFile(fs, fs.PathJoin(dir, versionTmp), versionText(d.cfg.Kind)+"\n"); err != nil {
		return fmt.Errorf("data directory %s: %w", dir, err)
	}
	if err := fs.Rename(fs.PathJoin(dir, versionTmp), fs.PathJoin(dir, versionFile)); err != nil {
		return fmt.Errorf("data directory %s: %w", dir, err)
	}
	return syncDir(fs, dir)
}

// checkVersion passes for a directory that is missing, empty, or ours.
func checkVersion(fs vfs.FS, dir string, kind Kind) error {
	names, err := fs.List(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("data directory %s: %w", dir, err)
	}
	foreign := ""
	for _, name := range names {
		switch name {
		case versionFile:
			return checkVersionText(fs, dir, kind)
		case lockFile, pidFile, versionTmp, "lost+found": // a start that got no further; a mount point
		default:
			foreign = name
		}
	}
	if foreign != "" {
		return fmt.Errorf("%s: %w: it has no %s file, but it has %q: choose an empty directory", dir, ErrNotADataDir, versionFile, foreign)
	}
	return nil
}

func versionText(kind Kind) string { return "keyframe-" + string(kind) + " 1" }

func checkVersionText(fs vfs.FS, dir string, kind Kind) error {
	text, err := readFile(fs, fs.PathJoin(dir, versionFile))
	if err != nil {
		return fmt.Errorf("data directory %s: %w", dir, err)
	}
	got := strings.TrimSpace(text)
	what, number, _ := strings.Cut(got, " ")
	if _, err := strconv.ParseUint(number, 10, 32); err != nil || !strings.HasPrefix(what, "keyframe-") {
		return &damage.Error{Path: fs.PathJoin(dir, versionFile), Offset: -1, Why: fmt.Sprintf("it has %.40q, and says neither what the directory is nor of which version", text)}
	}
	for _, other := range []Kind{Broker, Replica} {
		if name, _, _ := strings.Cut(versionText(other), " "); other != kind && strings.HasPrefix(got, name+" ") {
			return fmt.Errorf("%s: %w: it holds the state of a %s, and a %s would destroy it: choose another directory", dir, ErrKind, other, kind)
		}
	}
	if want := versionText(kind); got != want {
		return fmt.Errorf("%s: %w: %q, this program knows %q: use the version that wrote it", dir, ErrVersion, got, want)
	}
	return nil
}

// Reserve is the guard of the disk's free space.
func (d *Dir) Reserve() *Reserve { return d.reserve }

// Path is the directory.
func (d *Dir) Path() string { return d.cfg.Dir }

// Notices are what was seen as the databases were opened and may be damage or not, a sentence each: a WAL that ends in a torn record.
func (d *Dir) Notices() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.notices)
}

// Fatal reports that the process cannot go on. Only the first call does something.
func (d *Dir) Fatal(msg string) {
	d.fatal.Do(func() {
		d.cfg.Logger.Error("stopping: " + msg)
		d.cfg.Fatal(msg)
	})
}

// Close closes the databases that are open and releases the lock. Close what uses them first.
func (d *Dir) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	var errs []error
	for _, db := range []*pebble.DB{d.logDB, d.tabDB} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	d.cache.Unref()
	if d.readOnly {
		return errors.Join(append(errs, d.lock.Close())...)
	}
	if err := d.cfg.FS.Remove(d.cfg.FS.PathJoin(d.cfg.Dir, pidFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, err)
	}
	errs = append(errs, d.lock.Close())
	return errors.Join(errs...)
}

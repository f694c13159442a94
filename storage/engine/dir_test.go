package engine

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/storage/damage"
)

func put(t *testing.T, fs vfs.FS, path, text string) {
	t.Helper()
	require.NoError(t, fs.MkdirAll(fs.PathDir(path), 0o755))
	require.NoError(t, writeFile(fs, path, text))
}

func TestOpenDir(t *testing.T) {
	for _, fs := range map[string]vfs.FS{"memory": vfs.NewMem(), "crashable": vfs.NewCrashableMem(), "disk": vfs.Default} {
		dir := "/data/a"
		if fs == vfs.Default {
			dir = filepath.Join(t.TempDir(), "a", "b")
		}
		d, err := OpenDir(Config{Dir: dir, FS: fs})
		require.NoError(t, err)
		text, err := readFile(fs, fs.PathJoin(dir, versionFile))
		require.NoError(t, err)
		require.Equal(t, "keyframe-broker 1\n", text)

		_, err = OpenDir(Config{Dir: dir, FS: fs})
		require.ErrorIs(t, err, ErrLocked)
		var locked *LockedError
		require.ErrorAs(t, err, &locked)
		require.Equal(t, []any{dir, os.Getpid()}, []any{locked.Dir, locked.PID})

		db, err := d.OpenLogDB()
		require.NoError(t, err)
		require.Equal(t, pebble.FormatValueSeparation, db.FormatMajorVersion())
		require.NoError(t, db.Set([]byte("a"), []byte("b"), pebble.Sync))
		_, err = d.OpenLogDB()
		require.Error(t, err)
		tables, opts, err := d.OpenTableDB()
		require.NoError(t, err)
		require.True(t, opts.DisableWAL)
		require.Equal(t, pebble.FormatValueSeparation, tables.FormatMajorVersion())
		require.Positive(t, d.Metrics().Log.WALBytesIn)
		require.NoError(t, d.Close())
		require.NoError(t, d.Close())
		d.Metrics()

		d, err = OpenDir(Config{Dir: dir, FS: fs})
		require.NoError(t, err)
		db, err = d.OpenLogDB()
		require.NoError(t, err)
		_, closer, err := db.Get([]byte("a"))
		require.NoError(t, err)
		require.NoError(t, closer.Close())
		require.NoError(t, d.Close())
	}
}

func TestForeignDirectoryStaysUntouched(t *testing.T) {
	fs := vfs.NewMem()
	put(t, fs, "/home/thesis.tex", "x")
	_, err := OpenDir(Config{Dir: "/home", FS: fs})
	require.ErrorIs(t, err, ErrNotADataDir)
	require.ErrorContains(t, err, "thesis.tex")
	names, err := fs.List("/home")
	require.NoError(t, err)
	require.Equal(t, []string{"thesis.tex"}, names)

	put(t, fs, "/new/VERSION", "keyframe-broker 7\n")
	_, err = OpenDir(Config{Dir: "/new", FS: fs})
	require.ErrorIs(t, err, ErrVersion)
	require.ErrorContains(t, err, "keyframe-broker 7")

	for _, text := range []string{"", "keyframe-broker", "keyframe-broker 1.5\n", "kafka 7\n", "\x00\x00\x00\x00"} {
		put(t, fs, "/damaged/VERSION", text)
		_, err = OpenDir(Config{Dir: "/damaged", FS: fs})
		var damaged *damage.Error
		require.ErrorAs(t, err, &damaged, "%q", text)
		require.NotErrorIs(t, err, ErrVersion)
		require.ErrorContains(t, err, "/damaged/VERSION is damaged")
	}

	put(t, fs, "/mount/lost+found/x", "") // a fresh mount point
	d, err := OpenDir(Config{Dir: "/mount", FS: fs})
	require.NoError(t, err)
	require.NoError(t, d.Close())
	_, err = OpenDir(Config{})
	require.Error(t, err)
}

// A broker and a replica each take the other's tables for left over.
func TestOtherKindStaysUntouched(t *testing.T) {
	for kind, other := range map[Kind]Kind{Broker: Replica, Replica: Broker} {
		fs := vfs.NewMem()
		d, err := OpenDir(Config{Dir: "/d", FS: fs, Kind: kind})
		require.NoError(t, err)
		require.NoError(t, d.Close())
		before := fs.String()
		_, err = OpenDir(Config{Dir: "/d", FS: fs, Kind: other})
		require.ErrorIs(t, err, ErrKind)
		require.EqualError(t, err, fmt.Sprintf("/d: data directory of another kind: it holds the state of a %s, and a %s would destroy it: "+
			"choose another directory", kind, other))
		require.Equal(t, before, fs.String())
		put(t, fs, "/d/VERSION", fmt.Sprintf("keyframe-%s 2\n", kind))
		_, err = OpenDir(Config{Dir: "/d", FS: fs, Kind: other})
		require.ErrorIs(t, err, ErrKind)
		_, err = OpenDir(Config{Dir: "/d", FS: fs, Kind: kind})
		require.ErrorIs(t, err, ErrVersion)
	}
}

// What was synced in a new directory is there after a crash that keeps nothing else, however many directories above it
// are new too.
func TestNewDirectoryIsDurable(t *testing.T) {
	for _, made := range []string{"", "/srv", "/srv/kafka", "/srv/kafka/data"} { // by a start that got no further
		fs := vfs.NewCrashableMem()
		if made != "" {
			require.NoError(t, mkdirDurable(fs, fs.PathDir(made)))
			require.NoError(t, fs.MkdirAll(made, 0o755))
		}
		cfg := Config{Dir: "/srv/kafka/data", FS: fs, Fatal: func(msg string) { panic(msg) }}
		d, err := OpenDir(cfg)
		require.NoError(t, err)
		db, err := d.OpenLogDB()
		require.NoError(t, err)
		require.NoError(t, db.Set([]byte("a"), []byte("b"), pebble.Sync))
		cfg.FS = fs.CrashClone(vfs.CrashCloneCfg{})
		require.NoError(t, d.Close())

		text, err := readFile(cfg.FS, "/srv/kafka/data/VERSION")
		require.NoError(t, err, "%q was there", made)
		require.Equal(t, "keyframe-broker 1\n", text)
		d, err = OpenDir(cfg)
		require.NoError(t, err)
		db, err = d.OpenLogDB()
		require.NoError(t, err)
		_, closer, err := db.Get([]byte("a"))
		require.NoError(t, err)
		require.NoError(t, closer.Close())
		require.NoError(t, d.Close())
	}
}

func TestLostDatabaseIsNotANewOne(t *testing.T) {
	fs := vfs.NewMem()
	d, err := OpenDir(Config{Dir: "/d", FS: fs})
	require.NoError(t, err)
	_, err = d.OpenLogDB()
	require.NoError(t, err)
	require.NoError(t, d.Close())
	require.NoError(t, fs.RemoveAll("/d/log"))
	d, err = OpenDir(Config{Dir: "/d", FS: fs})
	require.NoError(t, err)
	_, err = d.OpenLogDB()
	require.ErrorIs(t, err, pebble.ErrDBDoesNotExist)
	require.NoError(t, d.Close())
}

func TestEmptyStartIsQuick(t *testing.T) {
	start := time.Now()
	d, err := OpenDir(Config{Dir: t.TempDir()})
	require.NoError(t, err)
	_, err = d.OpenLogDB()
	require.NoError(t, err)
	_, _, err = d.OpenTableDB()
	require.NoError(t, err)
	took := time.Since(start)
	require.NoError(t, d.Close())
	t.Logf("%v", took)
	require.Less(t, took, time.Minute) // a guard; the figure is 100 ms, and a disk that others use may take seconds
}

func TestFatalOnce(t *testing.T) {
	var said []string
	d, err := OpenDir(Config{Dir: "/d", FS: vfs.NewMem(), Fatal: func(msg string) { said = append(said, msg) }})
	require.NoError(t, err)
	defer d.Close()
	d.logOptions().Logger.Fatalf("MANIFEST sync failed: %v\n", os.ErrInvalid)
	d.Fatal("again")
	require.Len(t, said, 1)
	require.True(t, strings.HasPrefix(said[0], "/d: storage engine failed: MANIFEST sync failed: invalid argument"), said[0])
}

func TestReserve(t *testing.T) {
	fs := vfs.NewMem()
	now := time.UnixMilli(1000)
	free := func(mib uint64) { fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: mib << 20, TotalBytes: 1 << 40}) }
	var said bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&said, nil))
	cfg := Config{Dir: "/d", FS: fs, MemTableBytes: 32 << 20, Now: func() time.Time { return now }, Logger: logger}
	free(127)
	_, err := OpenDir(cfg)
	require.ErrorIs(t, err, ErrDiskFull) // not even four memtables
	require.ErrorContains(t, err, "needed to start")
	said.Reset()
	free(1000)
	d, err := OpenDir(cfg)
	require.NoError(t, err)
	defer d.Close()
	r := d.Reserve()
	require.NoError(t, r.Admit(1))
	free(255)
	require.NoError(t, r.Admit(1)) // not looked at again yet
	require.ErrorIs(t, r.Admit(pollEveryBytes), ErrDiskFull)
	require.ErrorIs(t, r.Admit(1), ErrDiskFull)
	require.Equal(t, 1, strings.Count(said.String(), "level=WARN"), said.String())
	require.Contains(t, said.String(), "disk of /d is full: 255 MiB free, 256 MiB are kept in reserve")
	free(270)
	now = now.Add(pollEvery)
	require.ErrorIs(t, r.Admit(1), ErrDiskFull) // does not flap
	free(300)
	now = now.Add(pollEvery)
	require.Equal(t, ReserveState{FreeBytes: 300 << 20, ReserveBytes: 256 << 20, Refused: 3}, r.State())
	require.NoError(t, r.Admit(1))
	require.Equal(t, 1, strings.Count(said.String(), "writes are accepted again"), said.String())
	require.Equal(t, 2, strings.Count(said.String(), "\n"))
	fs.TestingSetDiskUsage(vfs.DiskUsage{}) // unknown
	now = now.Add(pollEvery)
	require.Equal(t, int64(-1), r.State().FreeBytes)
	require.NoError(t, r.Admit(1))
}

package engine

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// paced is a blobFS with a clock of its own, and memtables of eight pieces.
type paced struct {
	*blobFS
	clock  time.Time
	filled time.Time // the last memtable
	wals   int
	on     func() // called as somebody sleeps
}

func newPaced() *paced {
	p := &paced{clock: time.UnixMilli(0), filled: time.UnixMilli(0)}
	pace := newFlushPace(8 * pieceBytes)
	pace.now = func() time.Time { return p.clock }
	pace.sleep = func(d time.Duration) {
		p.clock = p.clock.Add(d)
		if p.on != nil {
			p.on()
		}
	}
	p.blobFS = newBlobFS(vfs.NewMem(), slog.New(slog.DiscardHandler), nil, pace)
	return p
}

// fill says that a memtable is full, so long after the one before.
func (p *paced) fill(t *testing.T, after time.Duration) {
	p.clock = p.filled.Add(after)
	p.filled = p.clock
	p.wals++
	if p.wals%2 == 0 {
		require.NoError(t, p.Rename("/1.log", "/old"))
		_, err := p.ReuseForWrite("/old", "/1.log", vfs.WriteCategoryUnspecified)
		require.NoError(t, err)
		return
	}
	_, err := p.Create("/1.log", vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
}

// write tells how long a file of so many pieces takes.
func (p *paced) write(t *testing.T, category vfs.DiskWriteCategory, pieces int) time.Duration {
	began := p.clock
	f, err := p.Create("/1.blob", category)
	require.NoError(t, err)
	for range pieces {
		_, err := f.Write(make([]byte, pieceBytes))
		require.NoError(t, err)
	}
	require.NoError(t, f.Close())
	return p.clock.Sub(began)
}

// A flush leaves the device to those who wait for a sync: it takes half of the time in which a memtable is filled, but for its last piece, a second at
// most; with the next memtable full it gives no time away.
func TestAFlushIsSpread(t *testing.T) {
	p := newPaced()
	p.fill(t, 0)
	require.Zero(t, p.write(t, flushCategory, 8), "how fast memtables are filled is not known")
	p.fill(t, 320*time.Millisecond)
	require.Equal(t, 140*time.Millisecond, p.write(t, flushCategory, 8))
	require.Equal(t, 300*time.Millisecond, p.write(t, flushCategory, 16), "two memtables in one file")
	require.Zero(t, p.write(t, "pebble-compaction", 8))
	p.fill(t, time.Hour)
	require.Equal(t, 875*time.Millisecond, p.write(t, flushCategory, 8))

	p.fill(t, 1600*time.Millisecond)
	sleeps := 0
	p.on = func() {
		if sleeps++; sleeps == 3 {
			p.fill(t, p.clock.Sub(p.filled))
		}
	}
	require.Equal(t, 300*time.Millisecond, p.write(t, flushCategory, 8), "the rest at once")
}

// categoryFS notes what blob files are created for.
type categoryFS struct {
	*vfs.MemFS
	mu      sync.Mutex
	created []vfs.DiskWriteCategory
}

func (fs *categoryFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if strings.HasSuffix(name, ".blob") {
		fs.mu.Lock()
		defer fs.mu.Unlock()
		fs.created = append(fs.created, category)
	}
	return fs.MemFS.Create(name, category)
}

// Pebble tells what a flush writes.
func TestFlushesAreToldApart(t *testing.T) {
	fs := &categoryFS{MemFS: vfs.NewMem()}
	d, err := OpenDir(Config{Dir: "d", FS: fs})
	require.NoError(t, err)
	db, err := d.OpenLogDB()
	require.NoError(t, err)
	require.NoError(t, db.Set([]byte("k"), make([]byte, 4096), nil))
	require.NoError(t, db.Flush())
	require.NoError(t, d.Close())
	require.Equal(t, []vfs.DiskWriteCategory{flushCategory}, fs.created)
}

package engine

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// beforeOpenFS calls a function, once, before an sstable is opened.
type beforeOpenFS struct {
	vfs.FS
	call atomic.Pointer[func()]
}

func (fs *beforeOpenFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	if strings.HasSuffix(name, ".sst") {
		if f := fs.call.Swap(nil); f != nil {
			(*f)()
		}
	}
	return fs.FS.Open(name, opts...)
}

// A file that a compaction deletes while the files are looked at is not missing; one that somebody else deleted is.
func TestCheckTableFilesBesideCompactions(t *testing.T) {
	for name, compacted := range map[string]bool{"compacted": true, "deleted": false} {
		t.Run(name, func(t *testing.T) {
			mem, path, _ := withTable(t)
			fs := &beforeOpenFS{FS: mem}
			d, err := OpenDir(Config{Dir: "d", Kind: Replica, FS: fs})
			require.NoError(t, err)
			db, _, err := d.OpenTableDB()
			require.NoError(t, err)
			it, err := db.NewIter(nil)
			require.NoError(t, err)
			for it.First(); it.Valid(); it.Next() { // Pebble has opened all that it reads, also in the background
			}
			require.NoError(t, it.Close())
			gone := func() {
				if !compacted {
					require.NoError(t, mem.Remove(path))
					return
				}
				require.NoError(t, db.DeleteRange([]byte("0"), []byte("9"), pebble.NoSync))
				require.NoError(t, db.Compact(context.Background(), []byte("0"), []byte("9"), false))
				require.Eventually(t, func() bool { _, err := mem.Stat(path); return err != nil }, time.Minute, time.Millisecond)
			}
			fs.call.Store(&gone)
			if err = d.CheckTableFiles(context.Background()); compacted {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, path)
			}
			require.Nil(t, fs.call.Load(), "a file was opened")
			require.NoError(t, d.Close())
		})
	}
}

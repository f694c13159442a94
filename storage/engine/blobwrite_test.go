package engine

import (
	"bytes"
	"log/slog"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// A blob file holds what was written to it, however long it is and however it was cut, on a disk and in memory, and as soon as Sync has returned.
func TestBlobFileHoldsWhatWasWritten(t *testing.T) {
	for name, base := range map[string]vfs.FS{"disk": vfs.Default, "memory": vfs.NewMem()} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, base.MkdirAll(dir, 0o755))
			fs := newBlobFS(base, slog.New(slog.DiscardHandler), nil, newFlushPace(1<<20))
			rnd := rand.New(rand.NewPCG(1, 2))
			for _, size := range []int{0, 1, pieceAlign - 1, pieceAlign, pieceBytes - 1, pieceBytes, pieceBytes + 1, pieceBytes + pieceAlign, 3*pieceBytes + 5000} {
				want := make([]byte, size)
				for i := range want {
					want[i] = byte(rnd.Uint32())
				}
				path := base.PathJoin(dir, "1.blob")
				f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
				require.NoError(t, err)
				for rest := want; len(rest) > 0; {
					n := min(len(rest), 1+rnd.IntN(pieceBytes/3))
					wrote, err := f.Write(rest[:n])
					require.NoError(t, err)
					require.Equal(t, n, wrote)
					rest = rest[n:]
				}
				require.NoError(t, f.Sync())
				require.True(t, string(want) == contents(t, base, dir)[path], "%d bytes", size)
				_, err = f.Write([]byte("behind")) // what comes after a Sync belongs to the file as well
				require.NoError(t, err)
				require.NoError(t, f.Close())
				require.True(t, string(want)+"behind" == contents(t, base, dir)[path], "%d bytes and more", size)
			}
		})
	}
}

// What Sync has returned for survives a crash, and what is only closed need not.
func TestBlobFileIsDurableWhenSyncReturns(t *testing.T) {
	mem := vfs.NewCrashableMem()
	fs := newBlobFS(mem, slog.New(slog.DiscardHandler), nil, newFlushPace(1<<20))
	want := bytes.Repeat([]byte("value"), pieceBytes/2)
	f, err := fs.Create("/1.blob", vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = f.Write(want)
	require.NoError(t, err)
	fullSync, err := f.SyncTo(int64(len(want)))
	require.NoError(t, err)
	require.False(t, fullSync, "Pebble would sync no more")
	require.NoError(t, f.Sync())
	require.NoError(t, syncDir(mem, "/"))
	after := mem.CrashClone(vfs.CrashCloneCfg{})
	require.NoError(t, f.Close())
	require.True(t, string(want) == contents(t, after, "/")["/1.blob"])
}

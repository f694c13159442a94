package log

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
)

// A flipped bit in any file of the log database is never served: each batch is the one that was appended,
// or the read says *CorruptError and where, or the directory does not open.
func TestDamageIsNeverServed(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	clean, want := damagedFixture(t)
	byKind := map[string]int{}
	for _, kind := range []string{".blob", ".sst", ".log"} {
		files := filesOf(t, clean, kind)
		require.NotEmpty(t, files, kind)
		for range 40 {
			fs := vfs.NewMem()
			copied, err := vfs.Clone(clean, fs, "/data", "/data")
			require.NoError(t, err)
			require.True(t, copied)
			harm(t, fs, files[rng.IntN(len(files))], rng)
			byKind[kind+" "+readDamaged(t, fs, want)]++
		}
	}
	t.Log(byKind)
	require.Positive(t, byKind[".blob read"]+byKind[".sst read"])
}

// damagedFixture has batches in blob files and in the write-ahead log, in two partitions.
func damagedFixture(t *testing.T) (*vfs.MemFS, [][]batch.Batch) {
	fs, c := vfs.NewCrashableMem(), &clock{ms: 1_700_000_000_000}
	n := openNode(t, nodeConfig{fs: fs, clock: c, partitions: 2})
	want := make([][]batch.Batch, 2)
	// Small blocks: for each damaged block Pebble looks for the one flipped bit, which takes seconds for a large one.
	for i := range 16 {
		c.ms++ // or opening would read all of it
		b := rec{n: 2, size: 300, pid: 1, sequence: int32(i / 2 * 2), tag: i}.batch(t)
		a, err := n.parts[i%2].Append(b)
		require.NoError(t, err)
		require.NoError(t, a.Wait(t.Context()))
		want[i%2] = append(want[i%2], b)
		if i%6 == 5 {
			require.NoError(t, n.parts[0].store.db.Flush())
		}
	}
	image := fs.CrashClone(vfs.CrashCloneCfg{})
	n.close()
	return image, want
}

func filesOf(t *testing.T, fs vfs.FS, suffix string) (paths []string) {
	names, err := fs.List("/data/log")
	require.NoError(t, err)
	for _, name := range names {
		path := fs.PathJoin("/data/log", name)
		info, err := fs.Stat(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // it was deleted meanwhile
		}
		require.NoError(t, err)
		if strings.HasSuffix(name, suffix) && info.Size() > 0 {
			paths = append(paths, path)
		}
	}
	return paths
}

// harm flips a bit, zeroes 512 bytes, or cuts the file off.
func harm(t *testing.T, fs vfs.FS, path string, rng *rand.Rand) {
	f, err := fs.Open(path)
	require.NoError(t, err)
	b, err := io.ReadAll(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	at := rng.IntN(len(b))
	switch rng.IntN(4) {
	case 0:
		clear(b[at:min(len(b), at+512)])
	case 1:
		b = b[:at]
	default:
		b[at] ^= 1 << rng.IntN(8)
	}
	f, err = fs.Create(path, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = f.Write(b)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

func readDamaged(t *testing.T, fs vfs.FS, want [][]batch.Batch) string {
	n, err := tryOpenNode(t, nodeConfig{fs: fs, fatal: func(string) {}, log: Config{CompactEveryBytes: -1}})
	if err != nil {
		return "open"
	}
	defer n.abandon()
	outcome := "unharmed"
	for i, p := range n.parts {
		for _, b := range want[i] {
			got, err := p.Batches(b.BaseOffset(), b.NextOffset(), 1)
			var corrupt *CorruptError
			var outside *OffsetRangeError
			switch {
			case errors.As(err, &corrupt):
				require.Equal(t, b.BaseOffset(), corrupt.Offset)
				require.Equal(t, p.ID(), corrupt.Partition)
				outcome = "read"
			case errors.As(err, &outside), err == nil && len(got) == 0:
				outcome = "lost" // the end of a damaged write-ahead log cannot be told from a torn one
			default:
				require.NoError(t, err)
				// The epoch of the fixture's run is in the stamped bytes, so they are equal as a whole.
				require.True(t, bytes.Equal(b, got[0]), "wrong bytes at offset %d", b.BaseOffset())
			}
		}
	}
	return outcome
}

// What Pebble's own checksums do not see, a batch that was damaged before it was written, ours does.
func TestOwnChecksum(t *testing.T) {
	n := openNode(t, nodeConfig{fs: vfs.NewMem(), log: Config{TailBytes: -1}})
	defer n.close()
	p := n.parts[0]
	good := rec{tag: 1, n: 2}.batch(t)
	for i := range 3 {
		appendWait(t, p, rec{tag: i, n: 2})
	}
	good.Stamp(2, p.store.cfg.LeaderEpoch)
	flipped := append(batch.Batch(nil), good...)
	flipped[len(flipped)-3] ^= 4
	for name, value := range map[string][]byte{"bit": flipped, "short": good[:70], "long": append(append([]byte(nil), good...), 0), "empty": {},
		"offset": rec{tag: 1}.batch(t)} {
		require.NoError(t, p.store.db.Set(p.keyBatch(2), value, pebble.Sync))
		list, err := p.Batches(0, 6, 1<<20) // up to the damage
		require.NoError(t, err, name)
		require.Len(t, list, 1)
		_, err = p.Batches(3, 6, 1<<20)
		var corrupt *CorruptError
		require.ErrorAs(t, err, &corrupt, name)
		require.ErrorContains(t, err, "log of ordinal 0: offset 3 is damaged on disk")
		list, err = p.Batches(4, 6, 1<<20) // and beyond it
		require.NoError(t, err)
		require.Len(t, list, 1)
	}
	require.NoError(t, p.store.db.Delete(p.keyBatch(2), pebble.Sync))
	_, err := p.Batches(2, 6, 1<<20)
	require.ErrorContains(t, err, "offset 2 is damaged on disk: found batch [0, 2) instead")
	require.NoError(t, p.store.db.Set(p.keyBatch(2), good, pebble.Sync))
	require.Len(t, readAll(t, p, 0, 1<<20), 3)
}

// A trim that cannot read the batches below its cut changes nothing: their bytes would be missing from the sums.
func TestTrimOverAnUnreadableBlock(t *testing.T) {
	mem, c := vfs.NewMem(), &clock{ms: 1_700_000_000_000}
	n := openNode(t, nodeConfig{fs: mem, clock: c})
	for i := range 1000 { // 400 bytes each, in the sstable, of blocks of 64 KiB
		if i >= 990 {
			c.ms++ // or opening would read all of it
		}
		_, err := n.parts[0].Append(rec{size: 300, tag: i}.batch(t))
		require.NoError(t, err)
	}
	appendWait(t, n.parts[0], rec{tag: 1000})
	require.NoError(t, n.parts[0].store.db.Flush())
	n.close()

	middle := offsetOf(t, mem, []byte(fmt.Sprintf("%08d", 400)))
	var armed atomic.Bool
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if armed.Load() && op.Kind == errorfs.OpFileReadAt && op.Offset <= middle && middle < op.Offset+64<<10 {
			return errors.New("input/output error")
		}
		return nil
	}))
	n = openNode(t, nodeConfig{fs: fs, clock: c, log: Config{TailBytes: -1}})
	defer n.close()
	p := n.parts[0]
	before, size := p.Bounds(), p.SizeBytes()
	armed.Store(true)
	var corrupt *CorruptError
	require.ErrorAs(t, p.TrimTo(t.Context(), 900), &corrupt)
	require.Equal(t, before, p.Bounds())
	armed.Store(false)
	require.NoError(t, p.TrimTo(t.Context(), 900))
	left := int64(0)
	for _, b := range stored(t, p) {
		left += int64(len(b))
	}
	require.Equal(t, left, p.SizeBytes())
	require.Less(t, left, size)
}

// offsetOf finds some bytes in the one sstable that has them.
func offsetOf(t *testing.T, fs vfs.FS, what []byte) int64 {
	for _, path := range filesOf(t, fs, ".sst") {
		f, err := fs.Open(path)
		require.NoError(t, err)
		b, err := io.ReadAll(f)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		if at := bytes.Index(b, what); at >= 0 {
			return int64(at)
		}
	}
	require.Fail(t, "no sstable has it", "%q", what)
	return 0
}

package log

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
)

// written appends batches of these sizes, flushes, and returns them. None is in the tail.
func written(t testing.TB, p *Partition, sizes ...int) (list []batch.Batch) {
	for i, n := range sizes {
		b := rec{n: 1 + i%3, size: n / (1 + i%3), tag: len(list) + 1}.batch(t)
		a, err := p.Append(b)
		require.NoError(t, err)
		require.NoError(t, a.Wait(t.Context()))
		list = append(list, b)
	}
	require.NoError(t, p.store.db.Flush())
	return list
}

// each reads all of a run, and checks what it says of itself.
func each(t testing.TB, r *Run) (got []byte, visits int) {
	require.NoError(t, r.Each(func(pieces [][]byte) error {
		visits++
		for _, b := range pieces {
			got = append(got, b...)
		}
		return nil
	}))
	require.Len(t, got, r.Len())
	require.LessOrEqual(t, r.Held(), r.Len()+spotBytes*len(r.spots))
	return got, visits
}

func joined(list []batch.Batch) []byte {
	var all []byte
	for _, b := range list {
		all = append(all, b...)
	}
	return all
}

// A long run is read past Pebble, in chunks, and is what was appended: many batches to a block, one, one that is larger than a chunk, some that are in no
// blob file, and some that are in no file yet.
func TestRunIsWhatWasAppended(t *testing.T) {
	n := openNode(t, nodeConfig{fs: vfs.NewMem(), partitions: 2, memTable: 8 << 20, log: Config{TailBytes: -1}})
	defer n.close()
	p := n.parts[0]
	var sizes []int
	for i := range 120 {
		sizes = append(sizes, []int{100, 700, 5000, 40_000, 90_000, 200}[i%6])
	}
	want := written(t, p, append(sizes, 3<<20, 1<<20, 100, 100)...)
	written(t, n.parts[1], sizes...)
	for i := range 20 { // in the memtable
		b := rec{size: 30_000, tag: 200 + i}.batch(t)
		a, err := p.Append(b)
		require.NoError(t, err)
		require.NoError(t, a.Wait(t.Context()))
		want = append(want, b)
	}
	end := p.Bounds().HighWatermark
	r, err := p.Locate(0, end, 64<<20)
	require.NoError(t, err)
	defer r.Close()
	require.Equal(t, end, r.Next())
	direct := 0
	for _, s := range r.spots {
		if s.file != nil {
			direct++
		}
	}
	require.Equal(t, 20*4+2, direct, "all that are in blob files")
	got, visits := each(t, r)
	require.True(t, bytes.Equal(joined(want), got))
	require.Greater(t, visits, r.Len()/(4<<20))
	again, _ := each(t, r)
	require.True(t, bytes.Equal(got, again))

	for _, from := range []int64{1, 50, 200, want[120].BaseOffset()} { // inside a batch, too
		first := 0
		for want[first].NextOffset() <= from {
			first++
		}
		for _, most := range []int{0, 300_000, 1 << 20} {
			size, last := len(want[first]), first+1
			for last < len(want) && size+len(want[last]) <= most && want[last].BaseOffset() < end-25 {
				size, last = size+len(want[last]), last+1
			}
			r, err := p.Locate(from, end-25, most)
			require.NoError(t, err)
			require.Equal(t, want[last-1].NextOffset(), r.Next(), "from %d, at most %d bytes", from, most)
			got, _ := each(t, r)
			require.True(t, bytes.Equal(joined(want[first:last]), got))
			r.Close()
			r.Close()
		}
	}
}

// What was found is given, though it is trimmed and its files are deleted before it is read.
func TestRunOutlivesItsFiles(t *testing.T) {
	fs := vfs.NewMem()
	n := openNode(t, nodeConfig{fs: fs, memTable: 8 << 20, log: Config{TailBytes: -1}})
	defer n.close()
	p := n.parts[0]
	var sizes []int
	for range 40 {
		sizes = append(sizes, 50_000)
	}
	want := written(t, p, sizes...)
	r, err := p.Locate(0, p.Bounds().HighWatermark, 64<<20)
	require.NoError(t, err)
	defer r.Close()
	before := filesOf(t, fs, ".blob")
	last := written(t, p, 100)[0]
	require.NoError(t, p.TrimTo(t.Context(), last.BaseOffset()))
	require.NoError(t, p.store.db.Flush())
	require.NoError(t, p.store.db.Compact(t.Context(), p.keyBatch(0), p.keyBatch(1<<40), false))
	require.Eventually(t, func() bool { return len(filesOf(t, fs, ".blob")) < len(before) }, time.Minute, time.Millisecond)
	got, _ := each(t, r)
	require.True(t, bytes.Equal(joined(want), got))
}

// A run through Pebble that is trimmed under its reader says so.
func TestRunThatIsTrimmed(t *testing.T) {
	n := openNode(t, nodeConfig{fs: vfs.NewMem(), memTable: 8 << 20, log: Config{TailBytes: -1}})
	defer n.close()
	p := n.parts[0]
	for i := range 100 {
		appendWait(t, p, rec{size: 30_000, tag: i})
	}
	r, err := p.Locate(0, 100, 64<<20)
	require.NoError(t, err)
	defer r.Close()
	trimmed := false
	require.ErrorIs(t, r.Each(func([][]byte) error {
		if !trimmed {
			trimmed = true
			return p.TrimTo(t.Context(), 99)
		}
		return nil
	}), ErrTrimmed)
	_, err = p.Locate(0, 100, 1)
	require.ErrorIs(t, err, ErrTrimmed)
}

// Damage in the middle of a run ends it, the next run ends before it, and one that begins there is an error: the first that meets it and those behind.
func TestDamageInARun(t *testing.T) {
	fs, c := vfs.NewMem(), &clock{ms: 1_700_000_000_000}
	n := openNode(t, nodeConfig{fs: fs, clock: c, log: Config{TailBytes: -1, CompactEveryBytes: -1}})
	defer n.close()
	p := n.parts[0]
	var want []batch.Batch
	for range 50 { // small blocks: for each damaged one Pebble looks for the one flipped bit
		want = append(want, written(t, p, 12_000, 12_000)...)
	}
	const bad = 25
	flip(t, fs, want[bad])
	var corrupt *CorruptError
	end := p.Bounds().HighWatermark
	r, err := p.Locate(0, end, 64<<20)
	require.NoError(t, err)
	require.Len(t, r.files, filesMax, "the rest is Pebble's to read")
	var got []byte
	err = r.Each(func(pieces [][]byte) error { got = append(got, bytes.Join(pieces, nil)...); return nil })
	require.ErrorAs(t, err, &corrupt)
	r.Close()
	require.Equal(t, want[bad].BaseOffset(), corrupt.Offset)
	require.True(t, bytes.Equal(joined(want[:bad]), got), "what lies before it in its block, too")

	r, err = p.Locate(0, end, 64<<20)
	require.NoError(t, err)
	require.Equal(t, want[bad].BaseOffset(), r.Next())
	got, _ = each(t, r)
	require.True(t, bytes.Equal(joined(want[:bad]), got))
	r.Close()
	for range 2 {
		_, err = p.Locate(want[bad].BaseOffset(), end, 64<<20)
		require.ErrorAs(t, err, &corrupt)
		c.ms += damageMs // forgotten, and met again before anything is sent
	}
	list, err := p.Batches(0, end, 64<<20)
	require.NoError(t, err)
	require.Len(t, list, bad)
}

// flip changes one bit at the end of these bytes in the blob file that has them.
func flip(t *testing.T, fs vfs.FS, what []byte) {
	for _, path := range filesOf(t, fs, ".blob") {
		f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
		require.NoError(t, err)
		b, err := io.ReadAll(f)
		require.NoError(t, err)
		if at := bytes.Index(b, what); at >= 0 {
			last := len(what) - 1
			_, err = f.WriteAt([]byte{what[last] ^ 1}, int64(at+last))
			require.NoError(t, err)
			require.NoError(t, f.Close())
			return
		}
		require.NoError(t, f.Close())
	}
	require.Fail(t, "no blob file has it")
}

// Readers at the same time take their memory from one pool: under the race detector what is given back is overwritten, and nobody reads that.
func TestChunksAreNotShared(t *testing.T) {
	n := openNode(t, nodeConfig{fs: vfs.NewMem(), memTable: 8 << 20, log: Config{TailBytes: -1}})
	defer n.close()
	p := n.parts[0]
	var sizes []int
	for range 60 {
		sizes = append(sizes, 50_000)
	}
	want := joined(written(t, p, sizes...))
	var readers sync.WaitGroup
	wrong := make(chan string, 100)
	for i := range 8 {
		readers.Go(func() {
			for range 10 {
				r, err := p.Locate(0, p.Bounds().HighWatermark, 64<<20)
				if err != nil {
					wrong <- err.Error()
					return
				}
				at := 0
				err = r.Each(func(pieces [][]byte) error {
					for _, b := range pieces {
						if !bytes.Equal(want[at:at+len(b)], b) {
							return fmt.Errorf("reader %d: other bytes than were appended at %d", i, at)
						}
						at += len(b)
					}
					return nil
				})
				if r.Close(); err != nil {
					wrong <- err.Error()
				}
			}
		})
	}
	readers.Wait()
	close(wrong)
	var all []string
	for w := range wrong {
		all = append(all, w)
	}
	require.Empty(t, strings.Join(all, "\n"))
}

package client

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
)

// rot changes a byte of what is stored in a directory's sstables.
func rot(t *testing.T, fs vfs.FS, dir, text string) {
	names, err := fs.List(dir)
	require.NoError(t, err)
	for _, name := range names {
		f, err := fs.OpenReadWrite(fs.PathJoin(dir, name), vfs.WriteCategoryUnspecified)
		if err != nil {
			continue
		}
		info, err := f.Stat()
		require.NoError(t, err)
		b := make([]byte, info.Size())
		_, _ = io.ReadFull(f, b)
		i := bytes.Index(b, []byte(text))
		if i >= 0 {
			_, err = f.WriteAt([]byte("X"), int64(i))
			require.NoError(t, err)
			require.NoError(t, f.Sync())
		}
		require.NoError(t, f.Close())
		if i >= 0 {
			return
		}
	}
	require.Fail(t, "the text is in no file")
}

// A byte of a row that changes in memory or on disk is found by the scrub, told apart from drift, and the rows are loaded anew, while the log
// says that all is well.
func TestScrubFindsARottenRow(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.Store, g.cfg.OnDrift, g.cfg.scrubPause = store(), Rebootstrap, time.Millisecond
		for i := range 1000 {
			g.log.append(0, fmt.Sprintf("k%04d", i), fmt.Sprintf("the value of row %04d%0400d", i, 0)) // a block of rows beside what is read when a store is opened
		}
		g.log.cut(0)
		dir := g.cfg.Store.dir != ""
		g.cfg.ScrubRate = -1
		if dir { // what is read from a file stays in the cache: the damage is there before it is opened
			r := g.open()
			require.NoError(t, r.Close())
			rot(t, g.cfg.Store.fs, "replica/table", "the value of row 0500")
		}
		g.cfg.ScrubRate = 1_000_000
		if !dir {
			g.cfg.scrubPause = time.Hour // the test scrubs: nobody hashes a byte while it changes
		}
		r := g.open()
		if !dir {
			row, ok, err := r.Get(testContext(t), []byte("k0500"))
			require.NoError(t, err)
			require.True(t, ok)
			row.Value[0] ^= 1 // a row that was given out is the one that is stored
			require.NotNil(t, r.partitions[0].scrubOnce(testContext(t)))
		}
		g.await("the corruption", func() bool { _, ok := g.saw(CorruptionFound); return ok })
		e, _ := g.saw(CorruptionFound)
		require.ErrorIs(t, e.Err, ErrCorrupt)
		require.NotErrorIs(t, e.Err, ErrDrifted)
		g.await("the right rows", func() bool {
			row, _, err := r.Get(testContext(t), []byte("k0500"))
			return err == nil && bytes.HasPrefix(row.Value, []byte("the value of row 0500"))
		})
		require.Equal(t, g.log.state(0), g.state())
		require.Equal(t, 1, g.outcomes()[Drifted])
	})
}

// Rows that change all the time are no corruption.
func TestScrubBesideChanges(t *testing.T) {
	eachStore(t, func(t *testing.T, store func() Store) {
		g := newRig(t, fold.Counter, 1)
		g.cfg.Store, g.cfg.scrubPause, g.cfg.ScrubRate = store(), time.Microsecond, 10_000_000
		g.log.append(0, "k0", "1")
		g.log.cut(0)
		g.open()
		for i := range 300 {
			kv := []string{fmt.Sprint("k", i%50), "1", fmt.Sprint("k", i%7), "-"}
			require.NoError(t, g.r.WaitFor(testContext(t), 0, g.log.append(0, kv...)))
		}
		g.requireState(0)
		_, found := g.saw(CorruptionFound)
		require.False(t, found)
	})
}

// A rotten row that the background finds is fetched again, by itself, and the rows are looked at again afterwards.
func TestScrubHasARottenRowFetchedAgain(t *testing.T) {
	g := newDriftRig(t, 500, Memory())
	g.cfg.scrubPause = time.Hour // the test scrubs: nobody hashes a byte while it changes
	g.start()
	cut := g.log.cut(0)
	g.awaitVerdict(cut, Equal)
	p := g.r.partitions[0]
	awaitFollowing(t, p)
	row, _, err := g.r.Get(testContext(t), []byte("k000000007"))
	require.NoError(t, err)
	row.Value[3] ^= 1
	require.NotNil(t, p.scrubOnce(testContext(t)))
	r := g.awaitRepair(cut, BySketch)
	require.Equal(t, LocalCorruption, r.Cause)
	require.EqualValues(t, 1, r.Keys)
	awaitFollowing(t, p)
	require.Nil(t, p.scrubOnce(testContext(t)))
	require.Equal(t, 1, g.count(CorruptionFound))
}

// A row on disk that cannot be read at all is one that is not what was applied: Scrub says so, and the rows of its block are fetched again.
func TestScrubOfAnUnreadableRow(t *testing.T) {
	g := newRig(t, fold.LastValue, 1)
	g.cfg.Store, g.cfg.ScrubRate = DirFS(vfs.NewMem(), "replica"), -1
	for i := range 1000 {
		g.log.append(0, fmt.Sprintf("k%04d", i), fmt.Sprintf("the value of row %04d%0400d", i, 0))
	}
	g.log.cut(0)
	require.NoError(t, g.open().Close())
	rot(t, g.cfg.Store.fs, "replica/table", "the value of row 0500")
	g.open()
	v := g.r.Scrub(testContext(t))[0]
	require.Equal(t, Drifted, v.Outcome)
	require.ErrorIs(t, v.Err, ErrCorrupt)
	g.await("the repair", func() bool { return g.lastRepair() != nil })
	require.Equal(t, ByIndex, g.lastRepair().Method)
	require.Equal(t, LocalCorruption, g.lastRepair().Cause)
	require.Equal(t, g.log.state(0), g.state())
	require.Equal(t, Equal, g.r.Scrub(testContext(t))[0].Outcome)
}

// What is wrong with rows is told once where they stay, and not where nothing is followed any more.
func TestScrubTellsOnce(t *testing.T) {
	for policy, want := range map[Policy]int{Report: 1, Halt: 1} {
		g := newRig(t, fold.LastValue, 1)
		g.cfg.OnDrift, g.cfg.ScrubRate, g.cfg.scrubPause = policy, 1_000_000, time.Hour
		g.log.append(0, "a", "123456")
		g.log.cut(0)
		r := g.open()
		awaitFollowing(t, r.partitions[0])
		row, _, err := r.Get(testContext(t), []byte("a"))
		require.NoError(t, err)
		row.Value[0] ^= 1
		r.scrubAll(testContext(t))
		g.await("the corruption", func() bool { _, ok := g.saw(CorruptionFound); return ok })
		for range 3 {
			r.scrubAll(testContext(t))
		}
		require.Equal(t, want, g.outcomes()[Drifted], "%v", policy)
		require.NoError(t, r.Close())
	}
}

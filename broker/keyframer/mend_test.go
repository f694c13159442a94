package keyframer_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/keys"
)

// framed has a partition with a frame at 50.
func framed(t *testing.T) (*node, *memlog.Log) {
	n := newNode(t, keyframer.Config{})
	l := n.add(fold.LastValue, calm(), 1)[0]
	for i := range 50 {
		l.Append(memlog.Put(fmt.Sprint("k", i), "value value value"))
	}
	n.cut()
	return n, l
}

// read reads the frame at 50 as the state plane does.
func read(t *testing.T, p *keyframer.Partition) error {
	t.Helper()
	_, err := readAt(t, p, 50)
	return err
}

func readAt(t *testing.T, p *keyframer.Partition, cut int64) (rows int, err error) {
	t.Helper()
	tab, err := p.Table()
	require.NoError(t, err)
	v, err := tab.View(cut)
	require.NoError(t, err)
	defer v.Close()
	for _, err := range v.Offsets(0, false) {
		if err != nil {
			return rows, p.DamagedFrame(cut, -1, fmt.Errorf("read it: %w", err))
		}
		rows++
	}
	return rows, nil
}

// foldedAgain waits for a table in place of p's, with a frame.
func (n *node) foldedAgain(p *keyframer.Partition) {
	n.t.Helper()
	n.eventually("folded again", func() bool {
		t, err := n.partition(0).Table()
		return n.partition(0) != p && err == nil && len(cuts(t)) > 0
	})
	require.Zero(n.t, n.metric("keyframe_rows_damaged"))
	require.EqualValues(n.t, 1, n.metric("keyframe_scrub_corrupt_total"))
}

// Who reads a damaged row is told what is done about it: while the log has it all, the table is folded again, and there is a frame where there was one.
func TestDamageThatAReaderMeetsIsMended(t *testing.T) {
	n, _ := framed(t)
	before := n.table(0).Digest()
	damage(t, n, []byte("value value value"))
	p := n.partition(0)
	first := read(t, p)
	require.ErrorIs(t, first, keyframer.ErrDamaged)
	require.ErrorContains(t, first, "folded from its log again: try again")
	require.Equal(t, first, p.Damaged(first), "as it is")
	n.foldedAgain(p)
	require.Equal(t, []int64{50}, cuts(n.table(0)))
	require.Equal(t, before, n.table(0).Digest())
	require.NoError(t, read(t, n.partition(0)))
	require.Equal(t, 1, strings.Count(n.logged.String(), "ERROR"), n.logged)

	require.NoError(t, p.Damaged(nil))
	require.Equal(t, errors.ErrUnsupported, p.Damaged(errors.ErrUnsupported))
	require.EqualValues(t, 1, n.metric("keyframe_scrub_corrupt_total"))
}

// A fold that meets damage in the index does not end the partition's folding.
func TestDamageThatAFoldMeetsIsMended(t *testing.T) {
	n, l := framed(t)
	require.NoError(t, n.pdb.Set(keys.AppendTableIndex(nil, 1, []byte("k7")), []byte{0x10}, pebble.NoSync))
	p := n.partition(0)
	l.Append(memlog.Put("k7", "another"))
	_, err := n.k.Cut(t.Context(), topicName)
	require.ErrorIs(t, err, keyframer.ErrFailed)
	require.ErrorIs(t, err, keyframer.ErrDamaged)
	n.foldedAgain(p)
	require.Empty(t, n.k.Failures())
	n.applied()
	v, _ := n.get(0, "k7")
	require.Equal(t, "another", v)
}

// A crash between the trim of the log and that of the table, and then damage to rows that a trim cleans: the partition is opened, the trim is done, and the
// damage is told of once.
func TestATrimThatMeetsDamageAtTheStart(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	l := n.add(fold.LastValue, calm(), 1)[0]
	for i := range 50 {
		l.Append(memlog.Put(fmt.Sprint("k", i), fmt.Sprint("value of ", i)))
	}
	n.cut()
	for i := range 40 {
		l.Append(memlog.Put(fmt.Sprint("k", i), "another"))
	}
	n.cut()
	l.Append(memlog.Put("later", "the last batch stays"))
	n.stop()
	require.NoError(t, l.TrimTo(t.Context(), 90))
	n.start()
	damage(t, n, []byte("value of 45")) // which lives, and lies among those that do not
	require.NoError(t, n.k.Add(spec(fold.LastValue, l), calm()))
	require.Equal(t, []int64{90}, cuts(n.table(0)))
	require.EqualValues(t, 1, n.metric("keyframe_scrub_corrupt_total"))
	require.EqualValues(t, 1, n.metric("keyframe_rows_damaged"))
	require.Equal(t, 1, strings.Count(n.logged.String(), "ERROR rows are damaged on disk"), n.logged)
	_, err := readAt(t, n.partition(0), 90)
	require.ErrorIs(t, err, keyframer.ErrDamaged)
}

// A table is not dropped for a log that cannot replace it.
func TestNoTableIsDroppedForALogThatCannotBeRead(t *testing.T) {
	n, l := framed(t)
	damage(t, n, []byte("value value value"))
	l.FailFrom(30, errors.New("a block of the log is damaged"))
	p := n.partition(0)
	require.Error(t, read(t, p))
	// The upkeep that the cut has called may meet the log's damage as well, and tells of it: the rows' is told of in other words.
	n.eventually("told", func() bool { return strings.Contains(n.logged.String(), "refold=read the log at offset") })
	require.Contains(t, n.logged.String(), "keyframe check")
	require.Contains(t, n.logged.String(), "a block of the log is damaged")
	n.eventually("given up", func() bool { return strings.Contains(fmt.Sprint(read(t, p)), "could not be folded from its log again") })
	require.Equal(t, 2, strings.Count(n.logged.String(), "ERROR rows are damaged on disk"), n.logged)
	require.Equal(t, p, n.partition(0))
	require.Equal(t, []int64{50}, cuts(n.table(0)))
	require.EqualValues(t, 1, n.metric("keyframe_rows_damaged"))
	v, _ := n.get(0, "k49")
	require.Equal(t, "value value value", v, "it is served as before")
}

// A consumer that fetches damaged rows below the delta start offset has it counted at once, and is not given what cannot be had.
func TestDamageThatAFetchMeets(t *testing.T) {
	n, l := framed(t)
	l.Append(memlog.Put("z", "1"))
	n.cut()
	require.NoError(t, l.TrimTo(t.Context(), 50))
	damage(t, n, []byte("value value value"))
	for range 2 {
		_, _, err := n.partition(0).Rows(t.Context(), 0, 1<<20, nil)
		require.ErrorIs(t, err, keyframer.ErrDamaged)
		require.ErrorContains(t, err, "its log no longer has them")
		_, err = n.partition(0).EachRow(t.Context(), 0, func(int64, int64) bool { return true })
		require.ErrorIs(t, err, keyframer.ErrDamaged)
		require.EqualValues(t, 1, n.metric("keyframe_rows_damaged"))
		require.EqualValues(t, 1, n.metric("keyframe_scrub_corrupt_total"))
	}
	require.Equal(t, 1, strings.Count(n.logged.String(), "nothing of this partition is trimmed any more"))
}

// A table that shares a damaged block with another partition's cannot be dropped whole: it stays, and what can be read of it is read on, through a restart too.
func TestDamageThatOthersAreBesideIsLeft(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	logs := n.add(fold.LastValue, calm(), 2)
	for no, l := range logs {
		for i := range 2000 { // several blocks
			l.Append(memlog.Put(fmt.Sprint("k", i), fmt.Sprintf("value %06d of %d", i, no)))
		}
	}
	n.cut()
	require.NoError(t, n.pdb.Compact(t.Context(), []byte{0}, []byte{0xff}, false))
	n.stop()
	n.flip([]byte("value 001999 of 0"))
	again := func() {
		n.start()
		require.NoError(t, n.k.Add(spec(fold.LastValue, logs...), calm()))
	}
	again()
	_, _, err := n.table(1).Get([]byte("k0"))
	require.ErrorIs(t, n.partition(1).Damaged(err), keyframer.ErrDamaged)
	n.eventually("given up", func() bool {
		return strings.Contains(n.logged.String(), "nothing of this partition is trimmed any more")
	})
	for range 2 {
		for i := range int32(2) {
			require.NoError(t, n.partition(i).Failure())
			require.Equal(t, []int64{2000}, cuts(n.table(i)))
		}
		n.stop()
		again()
	}
}

// flip flips a bit of a value in the files of a node that is stopped.
func (n *node) flip(value []byte) {
	for _, name := range n.filesWith(value) {
		f, err := n.fs.OpenReadWrite("data/table/"+name, vfs.WriteCategoryUnspecified)
		require.NoError(n.t, err)
		b, err := io.ReadAll(f)
		require.NoError(n.t, err)
		i := bytes.Index(b, value)
		_, err = f.WriteAt([]byte{b[i] ^ 4}, int64(i))
		require.NoError(n.t, err)
		require.NoError(n.t, f.Close())
	}
}

// filesWith returns the names of the files that have a value.
func (n *node) filesWith(value []byte) (names []string) {
	all, err := n.fs.List("data/table")
	require.NoError(n.t, err)
	for _, name := range all {
		if path.Ext(name) != ".sst" {
			continue
		}
		f, err := n.fs.Open("data/table/" + name)
		require.NoError(n.t, err)
		b, err := io.ReadAll(f)
		require.NoError(n.t, err)
		if bytes.Contains(b, value) {
			names = append(names, name)
		}
		require.NoError(n.t, f.Close())
	}
	return names
}

// A file of rows that is cut short is damaged as one with a wrong checksum is: who reads it is told so, with its name, and the table is folded again.
func TestAFileThatIsCutShortIsMended(t *testing.T) {
	var short atomic.Pointer[[]string] // names of files; those that take their place are whole
	n := newNodeOn(t, keyframer.Config{}, newClock(), errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		names := short.Load()
		if names != nil && op.Kind == errorfs.OpFileReadAt && op.Offset < 1000 && slices.Contains(*names, path.Base(op.Path)) {
			return io.EOF
		}
		return nil
	})))
	t.Cleanup(n.stop)
	l := n.add(fold.LastValue, calm(), 1)[0]
	for i := range 500 { // several blocks
		l.Append(memlog.Put(fmt.Sprint("k", i), strings.Repeat("value", 100)))
	}
	n.cut()
	before := n.table(0).Digest()
	n.restart() // nothing is in the cache
	require.NoError(t, n.k.Add(spec(fold.LastValue, l), calm()))
	n.applied()
	p := n.partition(0)
	names := n.filesWith([]byte("valuevalue"))
	short.Store(&names)
	_, err := readAt(t, p, 500)
	require.ErrorIs(t, err, keyframer.ErrDamaged)
	require.ErrorContains(t, err, ".sst is damaged: it is cut short")
	require.ErrorContains(t, err, "folded from its log again: try again")
	require.NotErrorIs(t, err, io.EOF)
	n.foldedAgain(p)
	require.Equal(t, before, n.table(0).Digest())
	rows, err := readAt(t, n.partition(0), 500)
	require.NoError(t, err)
	require.Equal(t, 500, rows)
}

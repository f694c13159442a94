package keyframer_test

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"math"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/keys"
)

// rot changes a byte in the midst of the largest sstable.
func rot(t *testing.T, fs vfs.FS) {
	t.Helper()
	var largest string
	var size int64
	var visit func(dir string)
	visit = func(dir string) {
		names, err := fs.List(dir)
		require.NoError(t, err)
		for _, name := range names {
			full := path.Join(dir, name)
			info, err := fs.Stat(full)
			require.NoError(t, err)
			if info.IsDir() {
				visit(full)
			} else if path.Ext(name) == ".sst" && info.Size() > size {
				largest, size = full, info.Size()
			}
		}
	}
	visit("data")
	require.NotEmpty(t, largest)
	f, err := fs.Open(largest)
	require.NoError(t, err)
	content, err := io.ReadAll(f)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	content[len(content)/2] ^= 1
	w, err := fs.Create(largest, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = w.Write(content)
	require.NoError(t, err)
	require.NoError(t, w.Sync())
	require.NoError(t, w.Close())
}

// scrubbed is a keyframer with a table whose rows fill an sstable, and a frame; and with other partitions, that are empty.
func scrubbed(t *testing.T, config keyframer.Config, others int) (*node, []*memlog.Log) {
	n := newNode(t, config)
	logs := n.add(fold.LastValue, calm(), 1+others)
	l := logs[0]
	for i := range 20 {
		var list []batch.Record
		for k := range 50 {
			value := make([]byte, 500) // nothing that could be compressed
			_, _ = rand.Read(value)
			list = append(list, memlog.Put(fmt.Sprintf("key%02d-%02d", i, k), hex.EncodeToString(value)))
		}
		l.Append(list...)
	}
	n.cut()
	return n, logs
}

func (n *node) scrub() { n.config.ScrubRows, n.config.ScrubPause = 1<<30, time.Millisecond }

// What rots on disk is found within a round. While the log has it all, the table is folded again, and is what it was.
func TestScrubFoldsAgainWhatRots(t *testing.T) {
	h := newHolds()
	n, logs := scrubbed(t, keyframer.Config{Holds: h}, 1)
	l := logs[0]
	h.set(1000, math.MaxInt64, 1000)
	before := n.table(0).Digest()
	n.stop()
	rot(t, n.fs)
	n.scrub()
	n.start()
	require.NoError(t, n.k.Add(spec(fold.LastValue, logs...), calm()))
	n.eventually("found", func() bool { return n.metric("keyframe_scrub_corrupt_total") == 1 })
	n.eventually("told", func() bool { return strings.Contains(n.logged.String(), "folded from the log again") })
	n.eventually("who holds its frames is told", func() bool { return len(h.told()) > 0 })
	require.Equal(t, []int32{0}, h.told(), "of this partition alone")
	n.eventually("opened anew", func() bool {
		topic, ok := n.k.Topic(topicName)
		if !ok {
			return false
		}
		_, err := topic.Partitions()[0].Live()
		return err == nil && n.metric("keyframe_rows_damaged") == 0
	})
	n.applied()
	n.cut()
	require.Equal(t, before, n.table(0).Digest())
	_, err := n.table(0).Verify(t.Context(), l.Bounds().LastStable)
	require.NoError(t, err)
	was := n.metric("keyframe_scrubs_total")
	n.eventually("scrubbed, and sound", func() bool { return n.metric("keyframe_scrubs_total") > was })
	require.EqualValues(t, 1, n.metric("keyframe_scrub_corrupt_total"))

	// The deltas that are held are, by the new table too.
	h.set(1000, math.MaxInt64)
	n.cutEach(l, 3)
	s := calm()
	s.DeltaRetentionMs = 0
	n.clock.advance(time.Minute)
	n.settle(s)
	n.eventually("the trim is held up", func() bool { return l.Bounds().DeltaStart == 1000 && h.asked() > 0 })
}

// Where the log was trimmed, nothing can be folded again: nothing more is trimmed then, and the partition is served and folded as before.
func TestScrubStopsTrimming(t *testing.T) {
	n, logs := scrubbed(t, keyframer.Config{}, 1)
	l, sound := logs[0], logs[1]
	l.Append(memlog.Put("later", "1"))
	s := calm()
	s.DeltaRetentionMs = 0
	n.clock.advance(time.Minute)
	n.settle(s)
	n.eventually("trimmed", func() bool { return l.Bounds().DeltaStart > 0 })
	n.eventually("trimmed in the table", func() bool { return n.metric("keyframe_trims_total") == 1 })
	n.stop()
	rot(t, n.fs)
	n.scrub()
	n.start()
	require.NoError(t, n.k.Add(spec(fold.LastValue, logs...), calm()))
	n.eventually("found", func() bool { return n.metric("keyframe_scrub_corrupt_total") == 1 })
	require.EqualValues(t, 1, n.metric("keyframe_rows_damaged"))
	n.eventually("told what to do", func() bool { return strings.Contains(n.logged.String(), "keyframe check") })
	require.Empty(t, n.k.Failures())

	// Another partition is trimmed, twice. One worker does the upkeep of all, first come first served: between these two it has looked at the
	// damaged one, which has as much to be trimmed; before that, an upkeep of it that had begun when the damage was found has ended.
	start := l.Bounds().DeltaStart
	for round := range 3 {
		before := sound.Bounds().DeltaStart
		for _, value := range []string{"2", "3"} {
			if round > 0 {
				l.Append(memlog.Put("later", value))
			}
			sound.Append(memlog.Put("later", value))
			n.cut()
		}
		n.clock.advance(time.Minute)
		n.settle(s)
		n.eventually("the other partition is trimmed", func() bool { return sound.Bounds().DeltaStart > before })
	}
	require.Equal(t, start, l.Bounds().DeltaStart)
	require.Zero(t, n.metric("keyframe_frame_verify_failed_total"), "it is not even tried")
	was := n.metric("keyframe_scrubs_total")
	n.eventually("two more rounds over the other partition", func() bool { return n.metric("keyframe_scrubs_total") >= was+2 })
	require.EqualValues(t, 1, n.metric("keyframe_scrub_corrupt_total"), "told once for all")
}

// A row that is missing, where no block is damaged, is found by the sum.
func TestScrubFindsAMissingRow(t *testing.T) {
	n := newNode(t, keyframer.Config{ScrubRows: 1 << 30, ScrubPause: time.Millisecond})
	l := n.add(fold.LastValue, calm(), 1)[0]
	l.Append(memlog.Put("a", "1"), memlog.Put("b", "1"), memlog.Put("c", "1"))
	n.cut()
	require.NoError(t, n.pdb.Delete(keys.AppendTableOffset(nil, keys.TableRows, 1, 1), pebble.NoSync))
	n.eventually("found", func() bool { return n.metric("keyframe_scrub_corrupt_total") == 1 })
}

// A frame that is thinned while it is scrubbed is no reason for an alarm.
func TestScrubOfFramesThatGo(t *testing.T) {
	n := newNode(t, keyframer.Config{ScrubRows: 1 << 30, ScrubPause: time.Millisecond})
	s := calm()
	s.Retain = 2
	l := n.add(fold.LastValue, s, 1)[0]
	for i := range 60 {
		var list []batch.Record
		for k := range 100 {
			list = append(list, memlog.Put(fmt.Sprint("key", (i*37+k*11)%900), fmt.Sprint(i)))
		}
		l.Append(list...)
		n.cut()
	}
	was := n.metric("keyframe_scrubs_total")
	n.eventually("scrubbed", func() bool { return n.metric("keyframe_scrubs_total") > was })
	require.Zero(t, n.metric("keyframe_scrub_corrupt_total"))
	require.Positive(t, n.metric("keyframe_scrubbed_rows_total"))
}

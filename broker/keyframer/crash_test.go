package keyframer_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/storage/crashfs"
	"github.com/keyframelog/keyframe/storage/log"
)

// core is one run of all that a broker stores: log, catalog, tables and the keyframer between them.
type core struct {
	*node
	registered *registered
	log        *log.Partition
}

func openCore(t *testing.T, c *clock, fs vfs.FS, config keyframer.Config, fold string) *core {
	x := &core{node: newNodeOn(t, config, c, fs)}
	x.registered = x.register()
	topic, ok := x.registered.topics.Get(topicName)
	if !ok {
		var err error
		topic, err = x.registered.topics.Create(t.Context(), topics.Spec{Name: topicName, Partitions: 1, Configs: map[string]string{
			"cleanup.policy": "compact,delete", "retention.ms": "-1", "keyframe.fold": fold, "keyframe.interval.records": "60", "keyframe.interval.ms": "3600000", "keyframe.retain": "3",
			"keyframe.delta.retention.ms": "5000", "delete.retention.ms": "20000"}})
		require.NoError(t, err)
	}
	x.log = topic.Partitions[0].Log
	return x
}

// abandon ends the run after its file system was replaced by a crash image.
func (x *core) abandon() {
	x.registered.close()
	x.stop()
}

// crasher takes the image of a crash at some write, and what was promised until just before.
type crasher struct {
	fs *crashfs.FS

	mu sync.Mutex
	// guarded by mu
	left     int // writes until the crash
	unsynced vfs.CrashCloneCfg
	image    *crashfs.FS
	end      int64 // everything below was acknowledged, or a reader has seen it
	promised int64 // end, as of the image
	start    int64 // log start that was acknowledged
	began    int64 // start, as of the image
}

func (c *crasher) MaybeError(op errorfs.Op) error {
	if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.left--; c.left == 0 {
		c.crashLocked()
	}
	return nil
}

func (c *crasher) String() string { return "crasher" }

func (c *crasher) crashLocked() {
	if c.image == nil {
		c.promised, c.began = c.end, c.start // before the image: what comes later need not be in it
		c.image = c.fs.CrashClone(c.unsynced)
	}
}

func (c *crasher) promiseStart(start int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.start = max(c.start, start)
}

func (c *crasher) promise(end int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end = max(c.end, end)
}

// Log and tables crash together, again and again, at any write: in appends, folds, cuts, trims, thinning. Afterwards the log is a prefix
// of what was appended that holds all that was acknowledged or seen; the state, every frame, the state at every offset, and what a Kafka
// consumer arrives at from any offset are those of that prefix. Rows that replaced raw deltas are as good as the deltas.
func TestCrashes(t *testing.T) {
	cycles, err := strconv.Atoi(cmp.Or(os.Getenv("KEYFRAME_CORE_CRASH_CYCLES"), "60"))
	require.NoError(t, err)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	var m *model
	var fs *crashfs.FS
	var c *clock
	trims := 0
	for cycle := range cycles {
		if cycle%20 == 0 { // a new directory now and then, or it only grows
			m = newModel(cycle%40 == 20)
			fs, c = crashfs.New(), newClock()
		}
		fold := map[bool]string{false: "last-value", true: "counter"}[m.counter]
		cr := &crasher{fs: fs, left: 1 + r.IntN(400), unsynced: vfs.CrashCloneCfg{UnsyncedDataPercent: r.IntN(101), RNG: rand.New(rand.NewPCG(seed, uint64(cycle)+2))}}
		x := openCore(t, c, errorfs.Wrap(fs, cr), keyframer.Config{MemoryBytes: int64(8<<10 + r.IntN(64<<10)), Workers: 2}, fold)
		m.check(t, x.node, x.log)
		cr.promise(x.log.Bounds().HighWatermark)
		unwatch := x.log.Watch(func() { cr.promise(x.log.Bounds().HighWatermark) }) // a reader that sees everything at the first moment
		from := x.log.Bounds().DeltaStart
		x.work(m, r, cr)
		unwatch()
		if x.log.Bounds().DeltaStart > from {
			trims++
		}
		cr.mu.Lock()
		cr.crashLocked()
		fs = cr.image
		cr.mu.Unlock()
		x.abandon()
		m.recover(t, c, fs, fold, cr.promised, cr.began)
	}
	t.Logf("%d crashes, %d runs trimmed", cycles, trims)
	require.Positive(t, trims, "no trim was crashed: the test proves less than it says")
}

// work appends, waits, cuts, and moves the clock so that raw deltas become old.
func (x *core) work(m *model, r *rand.Rand, cr *crasher) {
	var last *log.Appended
	for range 10 + r.IntN(40) {
		switch r.IntN(12) {
		case 0:
			x.cut()
		case 1, 2:
			x.clock.advance(time.Duration(r.IntN(4)) * time.Second)
			require.NoError(x.t, x.k.Configure(topicName, *x.topic().Settings()))
		case 3:
			if last != nil {
				require.NoError(x.t, last.Wait(x.t.Context()))
				cr.promise(last.LastOffset + 1)
			}
		case 7:
			if b := x.log.Bounds(); !m.counter {
				_, err := x.registered.topics.DeleteRecords(x.t.Context(), x.registeredTopic(), x.registeredTopic().Partitions[0], b.LogStart+r.Int64N(b.LastStable-b.LogStart+1))
				require.NoError(x.t, err)
				cr.promiseStart(x.log.Bounds().LogStart)
			}
		case 4:
			last = x.end(m, 1+r.Int64N(2), r.IntN(2) == 0)
		case 5, 6:
			last = x.append(m, r, 1+r.Int64N(2))
		default:
			last = x.append(m, r, 0)
		}
	}
	if r.IntN(2) == 0 {
		x.applied()
	}
}

func (x *core) registeredTopic() *topics.Topic {
	topic, ok := x.registered.topics.Get(topicName)
	require.True(x.t, ok)
	return topic
}

func (x *core) topic() *keyframer.Topic {
	topic, ok := x.k.Topic(topicName)
	require.True(x.t, ok)
	return topic
}

// append appends random deltas, in a producer's transaction or (0) in none.
func (x *core) append(m *model, r *rand.Rand, producer int64) *log.Appended {
	opts := batch.NewOptions()
	if producer != 0 {
		opts.ProducerID, opts.ProducerEpoch, opts.BaseSequence, opts.Transactional = producer, 0, 0, true
		for _, b := range m.batches {
			if b.producer == producer {
				opts.BaseSequence += int32(len(b.changes))
			}
		}
	}
	b := batch.NewBuilder(opts)
	records, changes := m.draw(r)
	for i, record := range records {
		record.Offset, record.Timestamp = int64(i), x.clock.Now().UnixMilli()
		require.NoError(x.t, b.Append(record))
	}
	encoded, err := b.Finish()
	require.NoError(x.t, err)
	appended, err := x.log.Append(encoded)
	require.NoError(x.t, err)
	m.batches = append(m.batches, modelBatch{end: appended.LastOffset + 1, producer: producer, changes: changes})
	return appended
}

// end ends a producer's transaction, which may have nothing in it. The answer has no offset.
func (x *core) end(m *model, producer int64, commit bool) *log.Appended {
	appended, err := x.registered.store.AppendMarkers([]*log.Partition{x.log}, log.Marker{ProducerID: producer, Commit: commit}, nil)
	require.NoError(x.t, err)
	appended.LastOffset = x.log.Bounds().LogEnd - 1
	m.batches = append(m.batches, modelBatch{end: appended.LastOffset + 1, producer: producer, marker: true, commit: commit})
	return appended
}

// recover opens a crash image, compares it with the model, and cuts the model to what is left.
func (m *model) recover(t *testing.T, c *clock, fs vfs.FS, fold string, promised, began int64) {
	x := openCore(t, c, fs, keyframer.Config{Workers: 2}, fold)
	defer x.abandon()
	b := x.log.Bounds()
	require.GreaterOrEqual(t, b.HighWatermark, promised, "acknowledged or seen, and gone")
	require.GreaterOrEqual(t, b.LogStart, began, "deleted, and there again")
	end := int64(0)
	m.batches = slices.DeleteFunc(m.batches, func(x modelBatch) bool { return x.end > b.HighWatermark })
	if len(m.batches) > 0 {
		end = m.batches[len(m.batches)-1].end
	}
	require.Equal(t, end, b.HighWatermark, "no end of a batch")
	stable := b.HighWatermark
	for _, batches := range m.open() {
		start := int64(0)
		if first := batches[0]; first > 0 {
			start = m.batches[first-1].end
		}
		stable = min(stable, start)
	}
	require.Equal(t, stable, b.LastStable)
	m.check(t, x.node, x.log)
	for _, f := range x.table(0).Frames() {
		_, err := x.table(0).Verify(context.Background(), f.Cut)
		require.NoError(t, err, fmt.Sprintf("frame at %d", f.Cut))
	}
}

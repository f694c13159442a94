package keyframer_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/storage/crashfs"
	"github.com/keyframelog/keyframe/storage/keys"
)

// recorder clones the file system before every write, as a crash at that moment would leave it.
type recorder struct {
	fs *crashfs.FS
	mu sync.Mutex
	// guarded by mu
	on     bool
	images []*crashfs.FS
}

func (r *recorder) String() string { return "recorder" }

func (r *recorder) MaybeError(op errorfs.Op) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.on && op.Kind.ReadOrWrite() == errorfs.OpIsWrite {
		percent := []int{0, 50, 100}[len(r.images)%3]
		rng := rand.New(rand.NewPCG(uint64(len(r.images)), 7))
		r.images = append(r.images, r.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng}))
	}
	return nil
}

func (r *recorder) record(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.on = on
}

// A crash at any write of a deletion leaves the topic with all its rows, those below the delta start offset too, or nothing of it:
// neither tables nor keys in the log.
func TestCrashInDelete(t *testing.T) {
	mem := crashfs.New()
	rec := &recorder{fs: mem}
	n := newNodeOn(t, keyframer.Config{}, newClock(), errorfs.Wrap(mem, rec))
	t.Cleanup(n.stop)
	r := n.register()
	created, err := r.topics.Create(t.Context(), topics.Spec{Name: topicName, Partitions: 1, Configs: map[string]string{
		"cleanup.policy": "compact", "keyframe.interval.records": "2", "keyframe.delta.retention.ms": "0"}})
	require.NoError(t, err)
	const rows = 7
	for i := range rows {
		put(t, created, fmt.Sprint("k", i), "v")
	}
	known, _ := n.k.Topic(topicName)
	n.eventually("a trim", func() bool {
		n.clock.advance(time.Millisecond) // cuts' times may lie a little ahead
		n.settle(*known.Settings())
		return n.partition(0).Bounds().DeltaStart == 6 && len(cuts(n.table(0))) == 1
	})
	rec.record(true)
	require.NoError(t, r.topics.Delete(t.Context(), topicName))
	rec.record(false)
	r.close()
	there, gone := 0, 0
	for i, image := range append(rec.images, mem.CrashClone(vfs.CrashCloneCfg{})) {
		n := newNodeOn(t, keyframer.Config{}, newClock(), image)
		r := n.register()
		if _, ok := r.topics.Get(topicName); ok {
			there++
			require.NoError(t, n.partition(0).Failure(), "crash %d", i)
			n.applied()
			live, err := n.partition(0).Live()
			require.NoError(t, err)
			require.EqualValues(t, 6, n.partition(0).Bounds().DeltaStart)
			for row := range rows {
				_, _, ok, err := live.Get([]byte(fmt.Sprint("k", row)))
				require.NoError(t, err)
				require.True(t, ok, "crash %d, row %d", i, row)
			}
		} else {
			gone++
			ordinals, err := n.tables.Ordinals()
			require.NoError(t, err)
			require.Empty(t, ordinals, "crash %d", i)
			requireNoLog(t, r.db)
		}
		r.close()
		n.stop()
	}
	require.Positive(t, there)
	require.Greater(t, gone, 1, "also between the catalog and the tables")
	t.Logf("%d crashes before, %d behind the deletion", there, gone)
}

// requireNoLog looks for keys of any partition.
func requireNoLog(t *testing.T, db *pebble.DB) {
	t.Helper()
	for _, space := range []byte(keys.PartitionSpaces) {
		from, to := keys.Space(space)
		it, err := db.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
		require.NoError(t, err)
		require.False(t, it.First(), "space %c", space)
		require.NoError(t, it.Close())
	}
}

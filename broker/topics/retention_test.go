package topics

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/storage/log"
)

// appendBatch appends n records of 100 bytes with one timestamp, and waits for the sync.
func appendBatch(t *testing.T, topic *Topic, n int, at time.Time) {
	t.Helper()
	appendStamped(t, topic, n, at.UnixMilli())
}

func appendStamped(t *testing.T, topic *Topic, n int, timestamp int64) {
	t.Helper()
	builder := batch.NewBuilder(batch.Options{ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1})
	for i := range n {
		require.NoError(t, builder.Append(batch.Record{Offset: int64(i), Timestamp: timestamp, Key: []byte("1"), Value: make([]byte, 100)}))
	}
	b, err := builder.Finish()
	require.NoError(t, err)
	a, err := topic.Partitions[0].Log.Append(b)
	require.NoError(t, err)
	require.NoError(t, a.Wait(t.Context()))
}

func TestRetentionByAge(t *testing.T) {
	now := time.Now()
	r := open(t, vfs.NewMem(), func(o *Options) { o.Now = func() time.Time { return now } })
	topic := mustCreate(t, r, "t", 1, "retention.ms", "60000")
	log := topic.Partitions[0].Log
	appendBatch(t, topic, 3, now.Add(-50*time.Second))
	appendBatch(t, topic, 2, now.Add(-20*time.Second))
	appendBatch(t, topic, 1, now)
	r.Retain(t.Context())
	require.Zero(t, log.Bounds().LogStart, "nothing is old enough")
	now = now.Add(15 * time.Second)
	r.Retain(t.Context())
	require.Equal(t, int64(3), log.Bounds().LogStart)
	require.Equal(t, int64(3), log.Bounds().DeltaStart)
	now = now.Add(time.Hour)
	r.Retain(t.Context())
	require.Equal(t, int64(6), log.Bounds().LogStart, "everything is old, as in Kafka")
	appendBatch(t, topic, 1, now)
	r.Retain(t.Context())
	require.Equal(t, int64(6), log.Bounds().LogStart)
	batches, err := log.Batches(6, 7, 1)
	require.NoError(t, err)
	require.Len(t, batches, 1)
}

// Records without a timestamp are as old as their append.
func TestRetentionByAgeWithoutTimestamps(t *testing.T) {
	now := time.Now()
	clock := func() time.Time { return now }
	r := openAt(t, vfs.NewMem(), clock, nil)
	topic := mustCreate(t, r, "t", 1, "retention.ms", "60000")
	log := topic.Partitions[0].Log
	retained := func() int64 {
		r.Retain(t.Context())
		return log.Bounds().LogStart
	}
	appendStamped(t, topic, 3, -1)
	require.Zero(t, retained())
	now = now.Add(30 * time.Second)
	appendBatch(t, topic, 2, now.Add(-time.Hour)) // [3, 5) is old, but what is before it is not
	appendStamped(t, topic, 2, -1)
	require.Zero(t, retained())
	now = now.Add(31 * time.Second)
	require.Equal(t, int64(5), retained())
	now = now.Add(time.Second)
	appendBatch(t, topic, 1, now)
	require.Equal(t, int64(5), retained())
	now = now.Add(29 * time.Second)
	require.Equal(t, int64(7), retained())
	now = now.Add(time.Hour)
	require.Equal(t, int64(8), retained())
}

func TestRetentionBySize(t *testing.T) {
	r := open(t, vfs.NewMem(), nil)
	topic := mustCreate(t, r, "t", 1, "retention.ms", "-1", "retention.bytes", "2500")
	log := topic.Partitions[0].Log
	for range 10 {
		appendBatch(t, topic, 5, time.Now())
	}
	one := log.SizeBytes() / 10
	r.Retain(t.Context())
	require.GreaterOrEqual(t, log.SizeBytes(), int64(2500))
	require.Less(t, log.SizeBytes(), 2500+one)
	require.Zero(t, log.Bounds().LogStart%5, "whole batches")
	before := log.Bounds()
	r.Retain(t.Context())
	require.Equal(t, before, log.Bounds())
}

// Records of a transaction that is open stay, however old they are.
func TestRetentionStopsAtTheLastStableOffset(t *testing.T) {
	now := time.Now()
	r := open(t, vfs.NewMem(), func(o *Options) { o.Now = func() time.Time { return now } })
	topic := mustCreate(t, r, "t", 1, "retention.ms", "60000")
	partition := topic.Partitions[0].Log
	appendBatch(t, topic, 3, now)
	builder := batch.NewBuilder(batch.Options{ProducerID: 7, Transactional: true})
	require.NoError(t, builder.Append(batch.Record{Timestamp: now.UnixMilli()}))
	b, err := builder.Finish()
	require.NoError(t, err)
	a, err := partition.Append(b)
	require.NoError(t, err)
	require.NoError(t, a.Wait(t.Context()))
	appendBatch(t, topic, 3, now)
	now = now.Add(time.Hour)
	r.Retain(t.Context())
	require.Equal(t, int64(3), partition.Bounds().LogStart)
	a, err = r.opts.Log.AppendMarkers([]*log.Partition{partition}, log.Marker{ProducerID: 7}, nil)
	require.NoError(t, err)
	require.NoError(t, a.Wait(t.Context()))
	now = now.Add(time.Hour)
	r.Retain(t.Context())
	require.Equal(t, int64(8), partition.Bounds().LogStart)
}

func TestRetentionLeavesOthersAlone(t *testing.T) {
	r := open(t, vfs.NewMem(), nil)
	old := time.Now().Add(-1000 * time.Hour)
	for _, configs := range [][]string{{"cleanup.policy", "compact"}, {"retention.ms", "-1"}, {"cleanup.policy", "", "retention.ms", "1"}} {
		topic := mustCreate(t, r, "t", 1, configs...)
		appendBatch(t, topic, 3, old)
		r.Retain(t.Context())
		require.Zero(t, topic.Partitions[0].Log.Bounds().LogStart)
		require.NoError(t, r.Delete(t.Context(), "t"))
	}
}

func TestRetentionLoop(t *testing.T) {
	r := open(t, vfs.NewMem(), func(o *Options) { o.RetentionCheck = time.Millisecond })
	topic := mustCreate(t, r, "t", 1, "retention.ms", "1000")
	appendBatch(t, topic, 3, time.Now().Add(-time.Hour))
	require.Eventually(t, func() bool { return topic.Partitions[0].Log.Bounds().LogStart == 3 }, time.Minute, time.Millisecond)
}

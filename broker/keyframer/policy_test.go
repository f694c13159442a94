package keyframer_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/storage/crashfs"
	"github.com/keyframelog/keyframe/storage/table"
)

// The policy of a topic with records changes, and back.
func TestPolicyChanges(t *testing.T) {
	n := newNode(t, keyframer.Config{})
	r := n.register()
	defer func() { r.close() }()
	ctx := context.Background()
	created, err := r.topics.Create(ctx, topics.Spec{Name: topicName, Partitions: 1, Configs: map[string]string{"cleanup.policy": "delete"}})
	require.NoError(t, err)
	set := func(configs ...string) {
		m := map[string]string{}
		for i := 0; i < len(configs); i += 2 {
			m[configs[i]] = configs[i+1]
		}
		require.NoError(t, r.topics.SetConfigs(ctx, topicName, m))
	}
	l := created.Partitions[0].Log
	restart := func() {
		r.close()
		n.restart()
		r = n.register()
		created, _ = r.topics.Get(topicName)
		l = created.Partitions[0].Log
	}
	requireState := func(want map[string]string) {
		t.Helper()
		n.applied()
		require.NoError(t, n.partition(0).Failure())
		for _, key := range []string{"a", "b", "c", "d", "e"} {
			got, ok := n.get(0, key)
			value, have := want[key]
			require.Equal(t, have, ok, key)
			require.Equal(t, value, got, key)
		}
	}

	// delete -> compact folds from the log start; null keys are skipped and counted.
	put(t, created, "a", "1")
	put(t, created, "b", "1")
	putNullKey(t, created)
	require.NoError(t, l.SetLogStart(ctx, 1))
	put(t, created, "c", "1")
	compact := []string{"cleanup.policy", "compact", "keyframe.delta.retention.ms", "0", "keyframe.interval.records", "1"}
	set(compact...)
	requireState(map[string]string{"b": "1", "c": "1"})
	put(t, created, "c", "2")
	put(t, created, "d", "1")
	n.applied()
	n.clock.advance(time.Second)
	set(compact...)
	n.eventually("N1", func() bool { return l.Bounds().DeltaStart == 5 })
	rejects := n.table(0).Rejected()
	require.EqualValues(t, 1, rejects.Total())
	set("cleanup.policy", "compact", "keyframe.interval.records", "1") // nothing more is trimmed, also where upkeep that has begun goes on
	restart()
	requireState(map[string]string{"b": "1", "c": "2", "d": "1"})

	// compact -> delete keeps the rows as records, and retention passes them by their own timestamps.
	set("cleanup.policy", "delete", "retention.ms", "-1")
	put(t, created, "e", "1")
	rows, next, err := n.k.Rows(ctx, created, created.Partitions[0], 1, 1<<20, nil)
	require.NoError(t, err)
	require.EqualValues(t, 5, next)
	require.Equal(t, []string{"b", "c"}, keysOf(t, rows))
	restart()
	rows, _, err = n.k.Rows(ctx, created, created.Partitions[0], 1, 1<<20, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"b", "c"}, keysOf(t, rows))

	// ... and back again the fold goes on where it was.
	set(compact...)
	requireState(map[string]string{"b": "1", "c": "2", "d": "1", "e": "1"})

	// compact -> compact,delete: the same, and rows may go.
	set("cleanup.policy", "compact,delete", "retention.ms", "-1", "keyframe.interval.records", "1")
	_, err = r.topics.DeleteRecords(ctx, created, created.Partitions[0], 3)
	require.NoError(t, err)
	put(t, created, "a", "3")
	n.eventually("b has left", func() bool { return n.table(0).Start() == 3 })
	requireState(map[string]string{"a": "3", "c": "2", "d": "1", "e": "1"})
	restart()
	requireState(map[string]string{"a": "3", "c": "2", "d": "1", "e": "1"})

	// compact,delete -> delete, where retention passes all rows and some records; the fold begins anew at the log start.
	set("cleanup.policy", "delete", "retention.ms", "-1")
	end := l.Bounds().LogEnd
	put(t, created, "b", "4")
	_, err = r.topics.DeleteRecords(ctx, created, created.Partitions[0], end)
	require.NoError(t, err)
	set(compact...)
	n.eventually("the others have left", func() bool { return n.table(0).Start() == end })
	requireState(map[string]string{"b": "4"})
	put(t, created, "c", "5")
	put(t, created, "d", "6")
	set("cleanup.policy", "delete", "retention.ms", "-1")
	_, err = r.topics.DeleteRecords(ctx, created, created.Partitions[0], end+2) // between two frames, above what is folded or not
	require.NoError(t, err)
	restart()
	set(compact...)
	n.eventually("the others have left", func() bool { return n.table(0).Start() == end+2 })
	requireState(map[string]string{"d": "6"})
	restart()
	requireState(map[string]string{"d": "6"})
	_, err = r.topics.DeleteRecords(ctx, created, created.Partitions[0], end)
	require.ErrorIs(t, err, topics.ErrPolicy)
}

// A crash at any write of a change of policy, and of what follows it, leaves the topic under one policy or the other, with the state that
// the records have.
func TestCrashInPolicyChange(t *testing.T) {
	mem := crashfs.New()
	rec := &recorder{fs: mem}
	n := newNodeOn(t, keyframer.Config{}, newClock(), errorfs.Wrap(mem, rec))
	t.Cleanup(n.stop)
	r := n.register()
	policies := []map[string]string{
		{"cleanup.policy": "delete", "retention.ms": "-1"},
		{"cleanup.policy": "compact", "keyframe.interval.records": "2", "keyframe.delta.retention.ms": "0"},
		{"cleanup.policy": "delete", "retention.ms": "-1"},
		{"cleanup.policy": "compact,delete", "retention.ms": "-1", "keyframe.interval.records": "2", "keyframe.delta.retention.ms": "0"},
		{"cleanup.policy": "compact", "keyframe.interval.records": "2", "keyframe.delta.retention.ms": "0"},
	}
	created, err := r.topics.Create(t.Context(), topics.Spec{Name: topicName, Partitions: 1, Configs: policies[0]})
	require.NoError(t, err)
	want := map[string]string{}
	write := func(i int) {
		for k := range 3 {
			key, value := fmt.Sprint("k", (i+k)%5), fmt.Sprint(i)
			put(t, created, key, value)
			want[key] = value
		}
	}
	write(0)
	var ends []int // images of each policy end here
	for i, policy := range policies[1:] {
		if created.Config().KeyFramed {
			n.applied()
		}
		rec.record(true)
		require.NoError(t, r.topics.SetConfigs(t.Context(), topicName, policy))
		n.clock.advance(time.Second)
		if created.Config().KeyFramed {
			n.applied()
			require.NoError(t, n.k.Configure(topicName, *mustTopic(n).Settings()))
			n.eventually("a frame", func() bool { return len(n.table(0).Frames()) > 0 })
		}
		rec.record(false)
		ends = append(ends, len(rec.images))
		states := maps.Clone(want)
		for k, image := range rec.images[lastOf(ends, i):] {
			checkPolicyImage(t, n.clock, image, policies[i:i+2], states, k)
		}
		write(i + 1)
	}
	r.close()
	t.Logf("%d crashes", len(rec.images))
}

func lastOf(ends []int, i int) int {
	if i == 0 {
		return 0
	}
	return ends[i-1]
}

func mustTopic(n *node) *keyframer.Topic {
	topic, ok := n.k.Topic(topicName)
	require.True(n.t, ok)
	return topic
}

func checkPolicyImage(t *testing.T, c *clock, image *crashfs.FS, policies []map[string]string, want map[string]string, k int) {
	t.Helper()
	x := newNodeOn(t, keyframer.Config{}, c, image)
	defer x.stop()
	r := x.register()
	defer r.close()
	topic, ok := r.topics.Get(topicName)
	require.True(t, ok)
	policy, _ := topic.Config().Value("cleanup.policy")
	require.Contains(t, []string{policies[0]["cleanup.policy"], policies[1]["cleanup.policy"]}, policy)
	if !topic.Config().KeyFramed { // whatever it was, it can be folded
		require.NoError(t, r.topics.SetConfigs(t.Context(), topicName, map[string]string{"cleanup.policy": "compact"}))
	}
	x.applied()
	require.NoError(t, x.partition(0).Failure(), "crash %d", k)
	for key, value := range want {
		got, ok := x.get(0, key)
		require.True(t, ok, "crash %d: %s", k, key)
		require.Equal(t, value, got, "crash %d: %s", k, key)
	}
	for _, f := range x.table(0).Frames() {
		if _, err := x.table(0).Verify(t.Context(), f.Cut); !errors.Is(err, table.ErrNoFrame) { // trimmed since
			require.NoError(t, err)
		}
	}
}

func putNullKey(t *testing.T, topic *topics.Topic) {
	t.Helper()
	b := batch.NewBuilder(batch.NewOptions())
	require.NoError(t, b.Append(batch.Record{Value: []byte("no key")}))
	encoded, err := b.Finish()
	require.NoError(t, err)
	appended, err := topic.Partitions[0].Log.Append(encoded)
	require.NoError(t, err)
	require.NoError(t, appended.Wait(t.Context()))
}

// keysOf lists the keys of record batches.
func keysOf(t *testing.T, raw []byte) (list []string) {
	t.Helper()
	for len(raw) > 0 {
		b, rest, err := batch.Split(raw)
		require.NoError(t, err)
		for _, r := range records(t, []batch.Batch{b}) {
			list = append(list, string(r.Key))
		}
		raw = rest
	}
	return list
}

package main

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/bench/keyed"
	records "github.com/keyframelog/keyframe/bench/load"
	"github.com/keyframelog/keyframe/bench/target"
	"github.com/keyframelog/keyframe/client"
)

const (
	rowsFull  = 1_000_000 // of the figures
	rowsSmall = 100_000   // bytes and round trips are the same, whatever the size
	rowBytes  = 115
	valueSize = 100

	topicName = "state"
	// What deltas say, and what some replicas read in its place.
	said, read = "written ", "forged  "
)

// eachStore runs on both kinds of store.
func eachStore(run func(name string, store func(testing.TB) client.Store)) {
	run("memory", func(testing.TB) client.Store { return client.Memory() })
	run("dir", func(t testing.TB) client.Store { return client.Dir(filepath.Join(t.TempDir(), "replica")) })
}

// world is a topic with many rows of 16 + 100 bytes in one partition, and who writes to it.
type world struct {
	*node
	rows     int
	producer *kgo.Client
	noise    *rand.ChaCha8
	next     int64 // offset
}

// newWorld fills a broker of this process.
func newWorld(t testing.TB, rows int) *world { return fill(t, startNode(t, ""), rows) }

func fill(t testing.TB, n *node, rows int) *world {
	w := &world{node: n, rows: rows, noise: rand.NewChaCha8([32]byte{2})}
	to, err := target.Open(t.Context(), target.Config{Brokers: []string{w.kafka}, StateURL: "http://" + w.state})
	require.NoError(t, err)
	defer to.Close()
	_, err = to.Create(t.Context(), target.Topic{Name: topicName, Partitions: 1, Configs: map[string]string{"cleanup.policy": "compact"}})
	require.NoError(t, err)
	source, err := keyed.NewSource(to, topicName, records.Shape{Keys: int64(rows), ValueBytes: valueSize}, records.DefaultProducer())
	require.NoError(t, err)
	defer source.Close()
	require.NoError(t, source.Each(t.Context(), func(int64) {}))
	w.cut(topicName)
	w.producer = w.kafkaClient(kgo.DefaultProduceTopic(topicName), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.MaxBufferedRecords(1<<18))
	w.next = w.partitions(topicName)[0].LastStableOffset
	return w
}

// change writes a new value to n keys that lie apart.
func (w *world) change(n int) {
	results := make(chan error, n)
	for i := range n {
		value := make([]byte, valueSize)
		_, _ = w.noise.Read(value[copy(value, said):]) // nothing that compression makes smaller
		record := &kgo.Record{Key: fmt.Appendf(nil, "key-%012d", i*(w.rows/n)), Value: value}
		w.producer.Produce(w.t.Context(), record, func(_ *kgo.Record, err error) { results <- err })
	}
	for range n {
		require.NoError(w.t, <-results)
	}
	w.next = w.partitions(topicName)[0].LastStableOffset
}

// repaired is what it cost to repair so many keys.
type repaired struct {
	keys  int
	cost  cost
	found *client.RepairResult
}

// repairs changes deltas on their way to a replica, so many keys at a time, and returns what it cost to be equal again, and what it had cost
// to load the whole frame.
func repairs(t testing.TB, w *world, store client.Store, keys ...int) (whole cost, costs []repaired) {
	l := w.link()
	l.kafka = forging(l.kafka, said, read)
	r := openReplica(t, l, topicName, store)
	defer func() { require.NoError(t, r.Close()) }()
	whole = r.meter.cost(r.await(client.Bootstrapped).Time)
	for _, n := range keys {
		w.change(n)
		r.catchUp(0, w.next)
		w.cut(topicName)
		e := r.await(client.Repaired)
		costs = append(costs, repaired{n, r.meter.cost(e.Time), e.Repair})
		require.EqualValues(t, n, e.Repair.Keys)
		require.Equal(t, client.BySketch, e.Repair.Method)
		r.requireEqual()
	}
	return whole, costs
}

// repairBounds is what it may cost to repair so many keys, of 115 bytes each.
var repairBounds = []struct {
	keys, bytes, trips int
}{{1, 4_000, 3}, {1_000, 200_000, 0}, {10_000, 2_000_000, 0}}

func repairKeys() (keys []int) {
	for _, b := range repairBounds {
		keys = append(keys, b.keys)
	}
	return keys
}

// The cost of a repair is that of the difference.
func TestRepairCostsTheDifference(t *testing.T) {
	w := newWorld(t, rowsSmall)
	eachStore(func(name string, store func(testing.TB) client.Store) {
		t.Run(name, func(t *testing.T) {
			whole, costs := repairs(t, w, store(t), repairKeys()...)
			require.GreaterOrEqual(t, whole.bytes, int64(rowsSmall*rowBytes))
			for i, c := range costs {
				t.Logf("%d keys: %d bytes in %d round trips, %d of messages; a whole frame is %d", c.keys, c.cost.bytes, c.cost.trips, c.found.Bytes, whole.bytes)
				require.LessOrEqual(t, c.cost.bytes, int64(repairBounds[i].bytes), "%d keys", c.keys)
				require.EqualValues(t, c.cost.trips, c.found.RoundTrips)
				require.LessOrEqual(t, c.found.Bytes, int64(repairBounds[i].bytes), "before compression")
				if most := int64(repairBounds[i].trips); most > 0 {
					require.LessOrEqual(t, c.cost.trips, most)
				}
			}
		})
	})
}

// BenchmarkRepair is the figure: 1, 1,000 and 10,000 of 1 M rows differ.
func BenchmarkRepair(b *testing.B) {
	w := newWorld(b, rowsFull)
	eachStore(func(name string, store func(testing.TB) client.Store) {
		whole, costs := repairs(b, w, store(b), repairKeys()...)
		for _, c := range costs {
			b.Run(fmt.Sprintf("store=%s/keys=%d", name, c.keys), func(b *testing.B) {
				report(b, c.cost, whole)
				b.ReportMetric(ms(c.found.Duration), "repair-ms")
			})
		}
	})
}

// report writes what a way to be right cost, beside that of loading the whole frame.
func report(b *testing.B, c, whole cost) {
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(c.bytes), "bytes")
	b.ReportMetric(float64(c.trips), "trips")
	b.ReportMetric(ms(c.took), "ms")
	b.ReportMetric(float64(whole.bytes), "frame-bytes")
	b.ReportMetric(ms(whole.took), "frame-ms")
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

package kafka_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer"
)

// keyed is a key-framed topic of the broker in this process. The test decides when something is cut, trimmed and forgotten.
type keyed struct {
	*conn // the producer's
	topic
	b       *broker
	configs map[string]string
}

func startKeyed(t *testing.T, partitions int32, configs ...string) *keyed {
	k := &keyed{configs: map[string]string{"cleanup.policy": "compact", "keyframe.delta.retention.ms": "0"}}
	k.b = startOwn(t, options{keyed: true})
	k.conn = k.b.dial(t)
	for i := 0; i < len(configs); i += 2 {
		k.configs[configs[i]] = configs[i+1]
	}
	var all []string
	for name, value := range k.configs {
		all = append(all, name, value)
	}
	k.topic = createTopic(k.conn, partitions, all...)
	return k
}

// set changes a config; with what it is already, it makes the keyframer look again at what is due.
func (k *keyed) set(name, value string) {
	k.t.Helper()
	k.configs[name] = value
	require.NoError(k.t, k.b.registry.SetConfigs(context.Background(), k.name, k.configs))
}

func (k *keyed) put(partition int32, records ...testRecord) {
	k.t.Helper()
	p := produceAs(k.conn, produceTo(k.topic, partition, 9, seal(newBatch(records...))))
	requireCode(k.t, 0, p.ErrorCode, p.ErrorMessage)
}

func tombstone(key string) testRecord { return testRecord{key: []byte(key)} }

func (k *keyed) partition(index int32) *keyframer.Partition {
	k.t.Helper()
	p, err := k.b.keyframe.Partition(k.name, index)
	require.NoError(k.t, err)
	return p
}

// trim makes rows of everything that is there, and puts a record behind it, which stays raw.
func (k *keyed) trim() {
	k.t.Helper()
	cut, err := k.b.keyframe.Cut(context.Background(), k.name)
	require.NoError(k.t, err)
	for _, f := range cut.Frames {
		k.put(f.Partition.Index, kv("last", "v"))
	}
	for _, f := range cut.Frames {
		k.eventually(func() bool {
			table, err := f.Partition.Table()
			require.NoError(k.t, err)
			return f.Partition.Bounds().DeltaStart == f.Cut && table.Frames()[0].Cut == f.Cut
		})
	}
}

// forget lets the rows of all tombstones go.
func (k *keyed) forget(horizons ...int64) {
	k.t.Helper()
	k.set("delete.retention.ms", "0")
	for i, horizon := range horizons {
		table, err := k.partition(int32(i)).Table()
		require.NoError(k.t, err)
		k.eventually(func() bool { return table.Horizon() == horizon })
	}
	k.set("delete.retention.ms", "86400000")
}

func (k *keyed) eventually(condition func() bool) {
	k.t.Helper()
	topic, ok := k.b.keyframe.Topic(k.name)
	require.True(k.t, ok)
	deadline := time.After(20 * time.Second)
	for {
		changed := topic.Changed()
		if condition() {
			return
		}
		k.set("keyframe.delta.retention.ms", "0")
		select {
		case <-deadline:
			require.Fail(k.t, "never")
		case <-changed:
		case <-time.After(time.Millisecond):
		}
	}
}

// stale is how many stale fetches were counted.
func (k *keyed) stale() (sum int) {
	k.t.Helper()
	families, err := k.b.metrics.Gather()
	require.NoError(k.t, err)
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == "keyframe_stale_fetches_total" {
				sum += int(m.GetCounter().GetValue())
			}
		}
	}
	return sum
}

// A look-up by time is no fetch, however many rows it has to look at.
func TestListOffsetsByTimeAmongRows(t *testing.T) {
	for _, mode := range []string{"kafka", "error"} {
		k := startKeyed(t, 1, "keyframe.stale.fetch", mode)
		base := time.Now().UnixMilli() - 100_000
		for i := range int64(8) {
			b := newBatch(kv(fmt.Sprint("k", i), strings.Repeat("v", 320_000)))
			b.FirstTimestamp = base + i*1000
			b.MaxTimestamp = b.FirstTimestamp
			p := produce(k.conn, k.topic, seal(b))
			requireCode(t, 0, p.ErrorCode, p.ErrorMessage)
		}
		k.put(0, kv("gone", "v"))
		k.put(0, tombstone("gone")) // 9
		k.trim()
		k.forget(10)
		for ts, want := range map[int64]int64{base + 500: 1, base + 6500: 7, base + 7500: 10} {
			p := listOffset(k.conn, k.topic, 0, ts)
			require.Zero(t, p.ErrorCode)
			require.Equal(t, want, p.Offset)
		}
		require.Zero(t, k.stale(), "nothing was fetched")
	}
}

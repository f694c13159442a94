package kafka_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/kafka"
	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/raw"
	"github.com/keyframelog/keyframe/broker/topics"
)

// keyed is a key-framed topic of the broker in this process. The test decides when something is cut, trimmed and forgotten.
type keyed struct {
	*raw.Conn // the producer's
	raw.Topic
	b        *broker
	configs  map[string]string
	answered func() // called once, with the next answer that has rows
}

// answeredRows calls keyed.answered when an answer was read.
type answeredRows struct {
	kafka.RowSource
	k *keyed
}

func (r answeredRows) Rows(ctx context.Context, t *topics.Topic, p *topics.Partition, from int64, maxBytes int, dst []byte) ([]byte, int64, error) {
	dst, next, err := r.RowSource.Rows(ctx, t, p, from, maxBytes, dst)
	if answered := r.k.answered; answered != nil {
		r.k.answered = nil
		answered()
	}
	return dst, next, err
}

func startKeyed(t *testing.T, partitions int32, configs ...string) *keyed {
	k := &keyed{configs: map[string]string{"cleanup.policy": "compact", "keyframe.delta.retention.ms": "0"}}
	k.b = startOwn(t, options{keyed: true, kafka: func(cfg *kafka.Config) { cfg.Rows = answeredRows{cfg.Rows, k} }})
	k.Conn = k.b.Dial(t)
	for i := 0; i < len(configs); i += 2 {
		k.configs[configs[i]] = configs[i+1]
	}
	var all []string
	for name, value := range k.configs {
		all = append(all, name, value)
	}
	k.Topic = raw.CreateTopic(k.Conn, partitions, all...)
	return k
}

// set changes a config; with what it is already, it makes the keyframer look again at what is due.
func (k *keyed) set(name, value string) {
	k.T.Helper()
	k.configs[name] = value
	require.NoError(k.T, k.b.registry.SetConfigs(context.Background(), k.Name, k.configs))
}

func (k *keyed) put(partition int32, records ...raw.Record) {
	k.T.Helper()
	p := raw.ProduceAs(k.Conn, raw.ProduceTo(k.Topic, partition, 9, raw.Seal(raw.NewBatch(records...))))
	raw.RequireCode(k.T, 0, p.ErrorCode, p.ErrorMessage)
}

func tombstone(key string) raw.Record { return raw.Record{Key: []byte(key)} }

func (k *keyed) partition(index int32) *keyframer.Partition {
	k.T.Helper()
	p, err := k.b.keyframe.Partition(k.Name, index)
	require.NoError(k.T, err)
	return p
}

// trim makes rows of everything that is there, and puts a record behind it, which stays raw.
func (k *keyed) trim() {
	k.T.Helper()
	cut, err := k.b.keyframe.Cut(context.Background(), k.Name)
	require.NoError(k.T, err)
	for _, f := range cut.Frames {
		k.put(f.Partition.Index, raw.KV("last", "v"))
	}
	for _, f := range cut.Frames {
		k.eventually(func() bool {
			table, err := f.Partition.Table()
			require.NoError(k.T, err)
			return f.Partition.Bounds().DeltaStart == f.Cut && table.Frames()[0].Cut == f.Cut
		})
	}
}

// forget lets the rows of all tombstones go.
func (k *keyed) forget(horizons ...int64) {
	k.T.Helper()
	k.set("delete.retention.ms", "0")
	for i, horizon := range horizons {
		table, err := k.partition(int32(i)).Table()
		require.NoError(k.T, err)
		k.eventually(func() bool { return table.Horizon() == horizon })
	}
	k.set("delete.retention.ms", "86400000")
}

func (k *keyed) eventually(condition func() bool) {
	k.T.Helper()
	topic, ok := k.b.keyframe.Topic(k.Name)
	require.True(k.T, ok)
	deadline := time.After(time.Minute)
	for {
		changed := topic.Changed()
		if condition() {
			return
		}
		k.set("keyframe.delta.retention.ms", "0")
		select {
		case <-deadline:
			require.Fail(k.T, "never")
		case <-changed:
		case <-time.After(time.Millisecond):
		}
	}
}

// stale is how many stale fetches were counted.
func (k *keyed) stale() (sum int) {
	k.T.Helper()
	families, err := k.b.metrics.Gather()
	require.NoError(k.T, err)
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == "keyframe_stale_fetches_total" {
				sum += int(m.GetCounter().GetValue())
			}
		}
	}
	return sum
}

// bootstrap is a consumer that reads partitions from their start, on a connection of its own, one batch of one row at a time.
type bootstrap struct {
	*raw.Conn
	k    *keyed
	next map[int32]int64
	rows map[string]string
}

func (k *keyed) bootstrap() *bootstrap {
	return &bootstrap{Conn: k.b.Dial(k.T), k: k, next: map[int32]int64{}, rows: map[string]string{}}
}

// fetch reads on and applies what comes. Records below the fetch offset are skipped, as clients do.
func (c *bootstrap) fetch() (code int16) {
	c.T.Helper()
	p := c.ask(1, 0)[0]
	if p.ErrorCode != 0 {
		return p.ErrorCode
	}
	from := c.next[0]
	for _, b := range raw.BatchesOf(c.Conn, p.RecordBatches) {
		for _, r := range recordsOf(c.Conn, b) {
			offset, key := b.FirstOffset+int64(r.OffsetDelta), string(r.Key)
			switch {
			case offset < from:
			case r.Value == nil:
				delete(c.rows, key)
			default:
				c.rows[key] = string(r.Value)
			}
		}
		c.next[0] = b.FirstOffset + int64(b.LastOffsetDelta) + 1
	}
	return 0
}

// ask fetches partitions at where the consumer is.
func (c *bootstrap) ask(maxBytes int32, partitions ...int32) []kmsg.FetchResponseTopicPartition {
	c.T.Helper()
	req := raw.FetchFrom(c.k.Topic, 0, 12)
	req.MaxBytes = maxBytes
	req.Topics[0].Partitions = nil
	for _, p := range partitions {
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, raw.FetchPartition(p, c.next[p]))
	}
	resp := raw.Do[*kmsg.FetchResponse](c.Conn, req)
	require.Zero(c.T, resp.ErrorCode)
	return resp.Topics[0].Partitions
}

// restart begins anew on the same connection, as a consumer with auto.offset.reset=earliest does.
func (c *bootstrap) restart() { c.next[0], c.rows = 0, map[string]string{} }

func (c *bootstrap) atEnd() bool { return c.next[0] == c.k.partition(0).Bounds().LogEnd }

func recordsOf(c *raw.Conn, b kmsg.RecordBatch) (records []kmsg.Record) {
	c.T.Helper()
	for rest := b.Records; len(rest) > 0; {
		size, n := uvarint(rest)
		var r kmsg.Record
		require.NoError(c.T, r.ReadFrom(rest[:n+size]))
		records, rest = append(records, r), rest[n+size:]
	}
	return records
}

// uvarint reads a zigzag length that is not negative.
func uvarint(from []byte) (value, n int) {
	for shift := 0; ; shift += 7 {
		value |= int(from[n]&0x7f) << shift
		n++
		if from[n-1] < 0x80 {
			return value >> 1, n
		}
	}
}

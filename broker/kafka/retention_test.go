package kafka_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/raw"
	"github.com/keyframelog/keyframe/broker/topics"
)

// What is deleted by time and by size, as clients see it. Apache Kafka 4.3.1 with log.retention.check.interval.ms=500 arrived at the same offsets
// with the same batches, where a segment had one or two of them (segment.bytes=1048576); by default it looks every 5 minutes, so that no test
// of any broker can wait for it. One thing differs: Kafka deletes whole segments, and by size never the last one: of 10 small batches in one
// segment with retention.bytes=100 all stayed, and here what is more than 100 bytes goes.
func TestRetention(t *testing.T) {
	const hour, big = 3_600_000, 520_000
	now := time.Now().UnixMilli()
	type timed struct {
		size  int
		times []int64
	}
	one := func(size int, times ...int64) timed { return timed{size, times} }
	old, young := one(10, now-2*hour), one(10, now)
	for _, c := range []struct {
		name    string
		configs []string
		batches []timed
		start   int64
	}{
		{"all is old, and the last batch goes too", []string{"retention.ms", "60000"}, []timed{old, one(10, now-hour)}, 2},
		{"nothing is", []string{"retention.ms", "60000"}, []timed{young}, 0},
		{"no limit", []string{"retention.ms", "-1"}, []timed{old}, 0},
		{"old records behind one in the future stay", []string{"retention.ms", "60000"}, []timed{old, old, one(10, now+hour/2), old, old}, 2},
		{"the youngest of a batch decides", []string{"retention.ms", "60000"}, []timed{one(10, now-2*hour, now, now-2*hour)}, 0},
		{"without timestamps the time of the append counts", []string{"retention.ms", "60000"}, []timed{one(10, -1)}, 0},
		{"at least so many bytes are left", []string{"retention.ms", "-1", "retention.bytes", "2000000"}, []timed{
			one(big, now), one(big, now), one(big, now), one(big, now), one(big, now), one(big, now), one(big, now), one(big, now), one(big, now), one(big, now),
		}, 6},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := startOwn(t, options{topics: func(o *topics.Options) { o.Now = func() time.Time { return time.UnixMilli(now) } }})
			k := b.Dial(t)
			tp := raw.CreateTopic(k, 1, c.configs...)
			for _, x := range c.batches {
				var records []raw.Record
				newest := x.times[0]
				for _, ms := range x.times {
					records = append(records, raw.Record{Key: []byte("k"), Value: make([]byte, x.size), Timestamp: ms - x.times[0]})
					newest = max(newest, ms)
				}
				sent := raw.NewBatch(records...)
				sent.FirstTimestamp, sent.MaxTimestamp = x.times[0], newest
				require.Zero(t, raw.Produce(k, tp, raw.Seal(sent)).ErrorCode)
			}
			end := raw.ListOffset(k, tp, 0, -1).Offset
			b.registry.Retain(t.Context())
			require.Equal(t, c.start, raw.ListOffset(k, tp, 0, -2).Offset, "earliest")
			require.Equal(t, end, raw.ListOffset(k, tp, 0, -1).Offset)
			if c.start > 0 {
				require.EqualValues(t, 1, raw.FetchAt(k, tp, c.start-1).ErrorCode, "OFFSET_OUT_OF_RANGE")
			}
			p := raw.FetchAt(k, tp, c.start)
			require.Zero(t, p.ErrorCode)
			require.Equal(t, c.start, p.LogStartOffset)
			require.Equal(t, c.start == end, len(p.RecordBatches) == 0)
			require.Equal(t, end, raw.MustProduce(k, tp, raw.KV("k", "after")))
		})
	}
}

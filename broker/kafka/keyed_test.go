package kafka_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// What expires behind the back of a consumer that bootstraps is no concern of it if it was folded when it began. What was deleted
// later is: it may have been given the key.
func TestStaleFetchWhileBootstrapping(t *testing.T) {
	for _, mode := range []string{"kafka", "error"} {
		t.Run(mode, func(t *testing.T) {
			k := startKeyed(t, 1, "keyframe.stale.fetch", mode)
			for i := range 6 {
				k.put(0, raw.KV(fmt.Sprint("k", i), "v"))
			}
			k.put(0, tombstone("k5")) // 6
			k.trim()                  // rows [0, 7)
			k.put(0, tombstone("k0")) // 8, behind "last"; there, but not folded, when the consumer begins
			c := k.bootstrap()
			for range 2 {
				require.Zero(t, c.fetch())
			}
			require.Equal(t, map[string]string{"k0": "v", "k1": "v"}, c.rows)
			k.forget(7)
			require.Zero(t, c.fetch(), "k5 was deleted before this consumer began")
			require.Zero(t, k.stale())

			k.trim() // rows [0, 9)
			require.Zero(t, c.fetch(), "the tombstone of k0 is there yet")
			require.Zero(t, k.stale())
			k.forget(9)
			if mode == "kafka" {
				for !c.atEnd() {
					require.Zero(t, c.fetch())
				}
				require.Contains(t, c.rows, "k0", "what Kafka does with a consumer that takes longer than delete.retention.ms")
				require.NotZero(t, k.stale(), "it is counted")
			} else {
				require.Equal(t, int16(1), c.fetch())
				require.Equal(t, 1, k.stale())
			}
			before := k.stale()
			c.restart()
			for !c.atEnd() {
				require.Zero(t, c.fetch())
			}
			require.Equal(t, map[string]string{"k1": "v", "k2": "v", "k3": "v", "k4": "v", "last": "v"}, c.rows)
			require.Equal(t, before, k.stale(), "a consumer that begins now")
			c.next[0] = 2
			require.Zero(t, c.fetch(), "what was given may be given again")
			other := k.bootstrap()
			other.next[0] = 2
			require.Equal(t, mode == "error", other.fetch() != 0, "a connection that never read from the start")
			require.Equal(t, before+1, k.stale())
		})
	}
}

// Whatever is deleted, trimmed and forgotten while a consumer bootstraps in small fetches: with error it never ends with a key that is
// gone, and with kafka only if a stale fetch was counted.
func TestBootstrapAmongDeletes(t *testing.T) {
	for _, mode := range []string{"kafka", "error"} {
		t.Run(mode, func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rng := rand.New(rand.NewPCG(seed, 1))
			k := startKeyed(t, 1, "keyframe.stale.fetch", mode, "delete.retention.ms", "0")
			state := map[string]string{}
			write := func() {
				key := fmt.Sprint("k", rng.IntN(12))
				if rng.IntN(2) == 0 {
					k.put(0, tombstone(key))
					delete(state, key)
				} else {
					value := fmt.Sprint(rng.Uint32())
					k.put(0, raw.KV(key, value))
					state[key] = value
				}
			}
			c := k.bootstrap()
			staleBefore := 0
			arrived := func() {
				if now := k.stale(); mode == "error" || now == staleBefore {
					require.Equal(t, state, c.rows)
				}
				staleBefore = k.stale()
				c.restart()
			}
			write()
			for left := 400; left > 0 || !c.atEnd(); left-- {
				switch {
				case left > 0 && rng.IntN(3) == 0:
					write()
				case left > 0 && rng.IntN(20) == 0:
					k.trim()
					state["last"] = "v"
				case c.fetch() != 0:
					require.Equal(t, "error", mode)
					c.restart()
				case left > 0 && c.atEnd() && rng.IntN(4) > 0:
					arrived()
				}
			}
			arrived()
		})
	}
}

// What is deleted, trimmed and forgotten while the first answer is under way is not in that answer.
func TestStaleFetchBehindTheFirstAnswer(t *testing.T) {
	k := startKeyed(t, 1, "keyframe.stale.fetch", "error")
	for i := range 4 {
		k.put(0, raw.KV(fmt.Sprint("k", i), "v"))
	}
	k.trim() // rows [0, 4)
	k.answered = func() {
		k.put(0, tombstone("k0")) // 5
		k.trim()
		k.forget(6)
	}
	c := k.bootstrap()
	require.Zero(t, c.fetch())
	require.Equal(t, map[string]string{"k0": "v"}, c.rows)
	require.Equal(t, int16(1), c.fetch(), "it will not see that k0 is gone")
}

// An answer that had no room in the response was given to nobody.
func TestSkippedAnswersAreNotRead(t *testing.T) {
	k := startKeyed(t, 2, "keyframe.stale.fetch", "error")
	value := strings.Repeat("v", 10_000)
	for p := range int32(2) {
		for i := range 6 {
			k.put(p, raw.KV(fmt.Sprint("k", i), value))
		}
		k.put(p, tombstone("k5")) // 6
	}
	k.trim()
	k.forget(7, 7)
	c := k.bootstrap()
	for c.next[1] = range int64(2) {
		p := c.ask(1, 1)[0]
		require.Zero(t, p.ErrorCode)
		require.NotEmpty(t, p.RecordBatches)
	}
	c.next[1] = 2
	both := c.ask(15_000, 0, 1)
	require.NotEmpty(t, both[0].RecordBatches)
	require.Empty(t, both[1].RecordBatches, "no room")
	c.next[1] = 3
	require.Equal(t, int16(1), c.ask(1, 1)[0].ErrorCode, "[2, 3) was never given")
	c.next[1] = 2
	p := c.ask(1, 1)[0]
	require.Zero(t, p.ErrorCode)
	require.NotEmpty(t, p.RecordBatches)
}

// A look-up by time is no fetch, however many rows it has to look at.
func TestListOffsetsByTimeAmongRows(t *testing.T) {
	for _, mode := range []string{"kafka", "error"} {
		k := startKeyed(t, 1, "keyframe.stale.fetch", mode)
		base := time.Now().UnixMilli() - 100_000
		for i := range int64(8) {
			b := raw.NewBatch(raw.KV(fmt.Sprint("k", i), strings.Repeat("v", 320_000)))
			b.FirstTimestamp = base + i*1000
			b.MaxTimestamp = b.FirstTimestamp
			p := raw.Produce(k.Conn, k.Topic, raw.Seal(b))
			raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
		}
		k.put(0, raw.KV("gone", "v"))
		k.put(0, tombstone("gone")) // 9
		k.trim()
		k.forget(10)
		for ts, want := range map[int64]int64{base + 500: 1, base + 6500: 7, base + 7500: 10} {
			p := raw.ListOffset(k.Conn, k.Topic, 0, ts)
			require.Zero(t, p.ErrorCode)
			require.Equal(t, want, p.Offset)
		}
		require.Zero(t, k.stale(), "nothing was fetched")
	}
}

// What a trim has made rows of still takes space.
func TestDescribeLogDirsCountsRows(t *testing.T) {
	k := startKeyed(t, 1)
	size := func() int64 {
		req := kmsg.NewPtrDescribeLogDirsRequest()
		req.Version = 4
		resp := raw.Do[*kmsg.DescribeLogDirsResponse](k.Conn, req)
		require.Len(t, resp.Dirs, 1)
		require.Len(t, resp.Dirs[0].Topics, 1)
		return resp.Dirs[0].Topics[0].Partitions[0].Size
	}
	const n, value = 10, 10_000
	for range 2 {
		for i := range n {
			k.put(0, raw.KV(fmt.Sprint("key", i), strings.Repeat("v", value)))
		}
	}
	require.Greater(t, size(), int64(2*n*value))
	k.trim()
	require.InDelta(t, n*(value+4), size(), 200, "a row of each key, and the record behind them")
}

// consume reads a topic from its start to where it ends now, with a client that reads committed records.
func (k *keyed) consume() (records []*kgo.Record) {
	k.T.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(k.b.Addr), kgo.ConsumeTopics(k.Name), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	require.NoError(k.T, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for end := k.partition(0).Bounds().LogEnd; len(records) == 0 || records[len(records)-1].Offset < end-1; {
		fetches := cl.PollFetches(ctx)
		require.NoError(k.T, fetches.Err())
		records = append(records, fetches.Records()...)
	}
	return records
}

// Rows keep the time at which the broker appended them. It is their own timestamp by then: records of many batches are packed into
// one, and LogAppendTime would give them all the same.
func TestRowsOfLogAppendTime(t *testing.T) {
	k := startKeyed(t, 1, "message.timestamp.type", "LogAppendTime")
	for i := range 4 {
		k.put(0, raw.Record{Key: fmt.Append(nil, "k", i), Value: []byte("v"), Timestamp: -50_000}, raw.KV("often", fmt.Sprint(i)))
	}
	const appendTime = 1
	times := map[int64]int64{}
	for _, r := range k.consume() {
		require.EqualValues(t, appendTime, r.Attrs.TimestampType())
		require.InDelta(t, time.Now().UnixMilli(), r.Timestamp.UnixMilli(), 30_000, "not the producer's")
		times[r.Offset] = r.Timestamp.UnixMilli()
	}
	k.trim()
	var offsets []int64
	for _, r := range k.consume() {
		offsets = append(offsets, r.Offset)
		if r.Offset == 8 {
			require.EqualValues(t, appendTime, r.Attrs.TimestampType(), "a raw batch")
			times[8] = r.Timestamp.UnixMilli()
			continue
		}
		require.Equal(t, times[r.Offset], r.Timestamp.UnixMilli(), "offset %d", r.Offset)
		require.Zero(t, r.Attrs.TimestampType(), "a row")
	}
	require.Equal(t, []int64{0, 2, 4, 6, 7, 8}, offsets)
	first := slices.IndexFunc(offsets, func(o int64) bool { return times[o] >= times[8] }) // others may be of the same millisecond
	p := raw.ListOffset(k.Conn, k.Topic, 0, times[8])
	require.Zero(t, p.ErrorCode)
	require.Equal(t, offsets[first], p.Offset, "the times that look-ups know are the rows' too")
}

// Rows are of committed records: there is nothing to be left out of them.
func TestRowsReadCommitted(t *testing.T) {
	k := startKeyed(t, 1)
	for i := range 4 {
		k.put(0, raw.KV(fmt.Sprint("k", i%3), fmt.Sprint(i)))
	}
	k.put(0, tombstone("k1")) // 4
	k.trim()
	for _, version := range []int16{4, 11, 12, 16} {
		req := raw.FetchFrom(k.Topic, 0, version)
		req.IsolationLevel = 1
		p := raw.FetchAs(k.Conn, req)
		require.Zero(t, p.ErrorCode)
		require.EqualValues(t, 6, p.HighWatermark)
		require.EqualValues(t, 6, p.LastStableOffset)
		require.Empty(t, p.AbortedTransactions)
		batches := raw.BatchesOf(k.Conn, p.RecordBatches)
		require.Len(t, batches, 2, "the rows and the raw batch behind them")
		const transactional, control = 0x10, 0x20
		require.Zero(t, batches[0].Attributes&(transactional|control))
		require.Equal(t, [3]int64{-1, -1, -1}, [3]int64{batches[0].ProducerID, int64(batches[0].ProducerEpoch), int64(batches[0].FirstSequence)})
	}
	var seen []string
	for _, r := range k.consume() {
		seen = append(seen, fmt.Sprintf("%d %s=%s", r.Offset, r.Key, r.Value))
	}
	require.Equal(t, []string{"2 k2=2", "3 k0=3", "4 k1=", "5 last=v"}, seen)
}

package kafka_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/kafka"
	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/raw"
	"github.com/keyframelog/keyframe/broker/topics"
)

// fakeRows has a row at every second offset below the delta start offset, in batches of one.
type fakeRows struct {
	base int64 // timestamp of offset 0; one second an offset
	err  error

	looked func() // at the end of EachRow
}

func (f *fakeRows) Rows(_ context.Context, _ *topics.Topic, p *topics.Partition, from int64, maxBytes int, dst []byte) ([]byte, int64, error) {
	if f.err != nil {
		return nil, 0, f.err
	}
	end := p.Log.Bounds().DeltaStart
	n := 0
	for offset := (from + 1) / 2 * 2; offset < end; offset += 2 {
		b := raw.NewBatch(raw.KV("row", "value"))
		b.FirstOffset, b.LastOffsetDelta = offset, 1
		b.FirstTimestamp = f.base + offset*1000
		b.MaxTimestamp = b.FirstTimestamp
		sealed := raw.Seal(b)
		if n > 0 && n+len(sealed) > maxBytes {
			return dst, offset, nil
		}
		dst, n = append(dst, sealed...), n+len(sealed)
	}
	return dst, end, nil
}

func (f *fakeRows) EachRow(_ context.Context, _ *topics.Topic, p *topics.Partition, from int64, visit func(offset, timestamp int64) bool) (int64, error) {
	if f.err != nil {
		return 0, f.err
	}
	end := p.Log.Bounds().DeltaStart
	for offset := (from + 1) / 2 * 2; offset < end; offset += 2 {
		if !visit(offset, f.base+offset*1000) {
			break
		}
	}
	if f.looked != nil {
		f.looked()
	}
	return end, nil
}

func (f *fakeRows) RowBytes(*topics.Topic, *topics.Partition) int64 { return 0 }

func TestBelowTheDeltaStartAreRows(t *testing.T) {
	rows := &fakeRows{base: time.Now().UnixMilli() - 100_000}
	b := startOwn(t, options{kafka: func(cfg *kafka.Config) { cfg.Rows = rows }})
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1, "cleanup.policy", "compact")
	for range 10 {
		raw.MustProduce(c, tp, raw.KV("k", "v"))
	}
	tt, _ := b.registry.Get(tp.Name)
	require.NoError(t, tt.Partitions[0].Log.TrimTo(t.Context(), 6))

	offsets := func(from int64, partitionMax int32) (got []int64) {
		req := raw.FetchFrom(tp, from, 12)
		req.Topics[0].Partitions[0].PartitionMaxBytes = partitionMax
		p := raw.FetchAs(c, req)
		require.Zero(t, p.ErrorCode)
		require.Zero(t, p.LogStartOffset, "earliest does not move with a trim")
		for _, batch := range raw.BatchesOf(c, p.RecordBatches) {
			got = append(got, batch.FirstOffset)
		}
		return got
	}
	require.Equal(t, []int64{0, 2, 4, 6, 7, 8, 9}, offsets(0, 1<<20), "rows, then raw batches")
	require.Equal(t, []int64{2, 4, 6, 7, 8, 9}, offsets(1, 1<<20))
	require.Equal(t, []int64{6, 7, 8, 9}, offsets(6, 1<<20))
	require.Equal(t, []int64{0}, offsets(0, 1))
	require.Equal(t, []int64{4}, offsets(3, 1))
	require.Equal(t, int64(0), raw.ListOffset(c, tp, 0, -2).Offset)

	p := raw.ListOffset(c, tp, 0, rows.base+1000)
	require.Equal(t, [2]int64{2, rows.base + 2000}, [2]int64{p.Offset, p.Timestamp}, "a time among the rows")
	p = raw.ListOffset(c, tp, 0, rows.base+5000)
	require.Equal(t, int64(6), p.Offset, "a time after the rows")
	p = raw.ListOffset(c, tp, 0, -3)
	require.GreaterOrEqual(t, p.Offset, int64(6))

	rows.err = keyframer.ErrStaleFetch
	require.Equal(t, int16(1), raw.FetchAt(c, tp, 0).ErrorCode)
	require.Zero(t, raw.FetchAt(c, tp, 6).ErrorCode)
}

// What a trim turns into rows between the two halves of a look-up by time is in neither of them.
func TestListOffsetsByTimeWhileTrimming(t *testing.T) {
	rows := &fakeRows{base: time.Now().UnixMilli() - 100_000}
	b := startOwn(t, options{kafka: func(cfg *kafka.Config) { cfg.Rows = rows }})
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1, "cleanup.policy", "compact")
	for offset := range int64(10) {
		batch := raw.NewBatch(raw.KV("k", "v"))
		batch.FirstTimestamp = rows.base + offset*1000
		batch.MaxTimestamp = batch.FirstTimestamp
		p := raw.Produce(c, tp, raw.Seal(batch))
		raw.RequireCode(t, 0, p.ErrorCode, p.ErrorMessage)
	}
	tt, _ := b.registry.Get(tp.Name)
	trim := func(to int64) { require.NoError(t, tt.Partitions[0].Log.TrimTo(t.Context(), to)) }
	trim(2)
	var trims []int64 // to come, one a look at the rows
	rows.looked = func() {
		if len(trims) > 0 {
			trim(trims[0])
			trims = trims[1:]
		}
	}
	trims = []int64{4, 7}
	p := raw.ListOffset(c, tp, 0, rows.base+3000)
	require.Zero(t, p.ErrorCode)
	require.Equal(t, [2]int64{4, rows.base + 4000}, [2]int64{p.Offset, p.Timestamp}, "of rows [0, 7) and raw batches [7, 10)")
	require.Empty(t, trims)
	trims = []int64{8}
	p = raw.ListOffset(c, tp, 0, -3)
	require.Zero(t, p.ErrorCode)
	require.Equal(t, [2]int64{9, rows.base + 9000}, [2]int64{p.Offset, p.Timestamp})
	require.Empty(t, trims)
}

func TestWithoutRowsBelowTheDeltaStartIsOutOfRange(t *testing.T) {
	b := startOwn(t, options{})
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1, "cleanup.policy", "compact")
	for range 3 {
		raw.MustProduce(c, tp, raw.KV("k", "v"))
	}
	tt, _ := b.registry.Get(tp.Name)
	require.NoError(t, tt.Partitions[0].Log.TrimTo(t.Context(), 2))
	require.Equal(t, int16(1), raw.FetchAt(c, tp, 0).ErrorCode)
	require.Len(t, raw.BatchesOf(c, raw.FetchAt(c, tp, 2).RecordBatches), 1)
}

// gatheredRows gives everybody one row, when all readers are there.
type gatheredRows struct {
	fakeRows
	mu      sync.Mutex
	asked   []int // maxBytes of each
	readers int
	all     chan struct{}
}

func (g *gatheredRows) Rows(ctx context.Context, t *topics.Topic, p *topics.Partition, from int64, maxBytes int, dst []byte) ([]byte, int64, error) {
	g.mu.Lock()
	if g.asked = append(g.asked, maxBytes); len(g.asked) == g.readers {
		close(g.all)
	}
	g.mu.Unlock()
	<-g.all
	return g.fakeRows.Rows(ctx, t, p, from, 1, dst)
}

// TestFetchOutstandingHoldsForReadersAtOnce: the room is given to one of those that read at the same time, not to each; those
// that get none read a batch all the same.
func TestFetchOutstandingHoldsForReadersAtOnce(t *testing.T) {
	const limit, n = 1 << 20, 8
	rows := &gatheredRows{readers: n, all: make(chan struct{})}
	b := startOwn(t, options{kafka: func(cfg *kafka.Config) { cfg.Rows, cfg.FetchOutstandingMax = rows, limit }})
	tp := raw.CreateTopic(b.Dial(t), 1, "cleanup.policy", "compact")
	for range 4 {
		raw.MustProduce(b.Dial(t), tp, raw.KV("k", "v"))
	}
	tt, _ := b.registry.Get(tp.Name)
	require.NoError(t, tt.Partitions[0].Log.TrimTo(t.Context(), 3))
	read := func() {
		var conns []*raw.Conn
		for range n {
			c := b.Dial(t)
			c.Send(raw.FetchFrom(tp, 0, 12))
			conns = append(conns, c)
		}
		for _, c := range conns {
			resp, _ := c.Receive(raw.FetchFrom(tp, 0, 12))
			require.Len(t, raw.BatchesOf(c, resp.(*kmsg.FetchResponse).Topics[0].Partitions[0].RecordBatches), 1)
		}
	}
	sum := func() (sum int) {
		for _, maxBytes := range rows.asked {
			sum += maxBytes
		}
		return sum
	}
	read()
	require.Equal(t, limit, sum())

	rows.asked, rows.all = nil, make(chan struct{})
	read()
	require.InDelta(t, limit, sum(), 10_000, "what was not used is given back, what was when its response is out")
}

package client

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
)

const benchRows = 1_000_000

// benchFrame is a frame of 1 M rows with keys of 16 and values of 100 bytes.
func benchFrame(b *testing.B) []byte {
	noise := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
	var out bytes.Buffer
	w := frame.NewWriter(&out, frame.Header{Cut: benchRows, Since: -1, Fold: fold.LastValue})
	var h digest.Hasher
	var d digest.Digest
	for i := range benchRows {
		row := frame.Row{Key: fmt.Appendf(nil, "key-%012d", i), Value: noise[(i*7919)%(len(noise)-100):][:100], Offset: int64(i)}
		d.Add(h.Entry(row.Key, row.Value))
		require.NoError(b, w.Append(&row))
	}
	require.NoError(b, w.Close(frame.Footer{Digest: d, Rows: benchRows, Pub: d.Pub(digest.FrameID{Cut: benchRows})}))
	return out.Bytes()
}

// BenchmarkBootstrap loads a frame of 1 M rows over HTTP on loopback, verified; a Dir store is durable afterwards.
func BenchmarkBootstrap(b *testing.B) {
	encoded := benchFrame(b)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(encoded))
	}))
	defer server.Close()
	for name, dir := range map[string]bool{"memory": false, "dir": true} {
		b.Run(name, func(b *testing.B) {
			cfg := Config{Topic: "t", Brokers: []string{"x"}, StateURL: server.URL}
			if dir {
				cfg.Store = Dir(b.TempDir())
			}
			cfg = cfg.withDefaults()
			s, err := openStores(cfg, topicInfo{})
			require.NoError(b, err)
			defer s.close()
			for b.Loop() {
				body, err := plane.New(cfg.HTTPClient, cfg.StateURL, cfg.Topic).Download(context.Background(), plane.Whole(0, benchRows), "", time.Millisecond)
				require.NoError(b, err)
				fr, err := frame.NewReader(body, 0)
				require.NoError(b, err)
				rows, err := s.load(0, fr)
				require.NoError(b, err)
				b.StopTimer()
				require.NoError(b, body.Close())
				require.NoError(b, rows.discard())
				b.StartTimer()
			}
			b.ReportMetric(benchRows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

// benchPartition is a partition of 1 M rows that is followed.
func benchPartition(b *testing.B, encoded []byte, cfg Config) (*partition, rows) {
	r := &Replica{cfg: cfg.withDefaults()}
	r.reporter = newReporter(r)
	var err error
	r.stores, err = openStores(r.cfg, topicInfo{})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, r.stores.close()) })
	fr, err := frame.NewReader(bytes.NewReader(encoded), 0)
	require.NoError(b, err)
	state, err := r.stores.load(0, fr)
	require.NoError(b, err)
	p := newPartition(r, 0)
	require.NoError(b, p.adopt(state, 0, Event{Kind: Bootstrapped}))
	p.attach(p.generation)
	return p, state
}

func benchStores(b *testing.B, run func(b *testing.B, cfg Config)) {
	cfg := Config{Topic: "t", Brokers: []string{"x"}, From: FromEarliest}
	b.Run("memory", func(b *testing.B) { run(b, cfg) })
	cfg.Store = Dir(b.TempDir())
	b.Run("dir", func(b *testing.B) { run(b, cfg) })
}

// BenchmarkFollow applies runs of 1,000 records to 1 M rows as the tail does: ring, history and digest included in memory.
func BenchmarkFollow(b *testing.B) {
	encoded := benchFrame(b)
	benchStores(b, func(b *testing.B, cfg Config) {
		p, state := benchPartition(b, encoded, cfg)
		value := bytes.Repeat([]byte("v"), 100)
		offset, n := state.position(), 0
		var used time.Duration
		for b.Loop() {
			b.StopTimer()
			recs := make([]batch.Record, 1000)
			for i := range recs {
				recs[i] = batch.Record{Offset: offset, Key: fmt.Appendf(nil, "key-%012d", rand.IntN(benchRows)), Value: value}
				offset++
			}
			b.StartTimer()
			before := cpuTime(b)
			p.apply(b.Context(), segment{first: recs[0].Offset, next: offset, records: recs})
			used += cpuTime(b) - before
			n += len(recs)
		}
		before := cpuTime(b)
		_, at, err := state.digest()
		used += cpuTime(b) - before
		require.NoError(b, err)
		require.Equal(b, offset, at)
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "deltas/s")
		b.ReportMetric(float64(n)/used.Seconds(), "deltas/cpu-s")
	})
}

// cpuTime is what the process has used of all cores, for a machine that has others to serve as well.
func cpuTime(b *testing.B) time.Duration {
	var r unix.Rusage
	require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &r))
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkInlineCheck is what a comparison at a cut adds to the time in which the tail applies: a segment of the tail with a frame to be compared
// with where it begins, and one with none, by turns, on 1 M rows. A Dir store commits what it has applied before a comparison, which it had to
// later: that is done here before the time is taken.
func BenchmarkInlineCheck(b *testing.B) {
	encoded := benchFrame(b)
	benchStores(b, func(b *testing.B, cfg Config) {
		cfg.CommitInterval = time.Hour
		p, state := benchPartition(b, encoded, cfg)
		at := state.position()
		marker := func(frames ...plane.Frame) time.Duration {
			logs, committed, err := state.digest()
			require.NoError(b, err)
			require.Equal(b, at, committed)
			for i := range frames {
				frames[i].Digest = logs
			}
			p.pending = frames
			began := time.Now()
			p.apply(b.Context(), segment{first: at, next: at + 1})
			took := time.Since(began)
			require.Empty(b, p.pending)
			at++
			return took
		}
		var with, without []time.Duration
		for b.Loop() {
			without = append(without, marker())
			with = append(with, marker(plane.Frame{Cut: at}))
			require.Equal(b, at-1, p.verified[0].offset)
		}
		require.Empty(b, p.restart)
		slices.Sort(with)
		slices.Sort(without)
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(float64(with[b.N/2]-without[b.N/2]), "ns/check")
	})
}

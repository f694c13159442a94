package client

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

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
				body, err := plane.New(cfg.HTTPClient, cfg.StateURL, cfg.Topic).Download(context.Background(), plane.Whole(0, plane.Newest), "", time.Millisecond)
				require.NoError(b, err)
				rows, _, err := s.load(0, body)
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

// BenchmarkFollow applies runs of 1,000 records to 1 M rows as the tail does: ring, history and digest included in memory.
func BenchmarkFollow(b *testing.B) {
	encoded := benchFrame(b)
	for name, dir := range map[string]bool{"memory": false, "dir": true} {
		b.Run(name, func(b *testing.B) {
			cfg := Config{Topic: "t", Brokers: []string{"x"}, From: FromEarliest}
			if dir {
				cfg.Store = Dir(b.TempDir())
			}
			r := &Replica{cfg: cfg.withDefaults()}
			s, err := openStores(r.cfg, topicInfo{})
			require.NoError(b, err)
			defer s.close()
			state, _, err := s.load(0, bytes.NewReader(encoded))
			require.NoError(b, err)
			p := newPartition(r, 0)
			require.NoError(b, p.adopt(state, 0, Bootstrapped))
			p.attach(p.generation)
			value := bytes.Repeat([]byte("v"), 100)
			offset, n := int64(benchRows), 0
			for b.Loop() {
				b.StopTimer()
				recs := make([]batch.Record, 1000)
				for i := range recs {
					recs[i] = batch.Record{Offset: offset, Key: fmt.Appendf(nil, "key-%012d", rand.IntN(benchRows)), Value: value}
					offset++
				}
				b.StartTimer()
				p.apply(b.Context(), segment{first: recs[0].Offset, next: offset, records: recs})
				n += len(recs)
			}
			_, _, err = state.digest()
			require.NoError(b, err)
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "deltas/s")
		})
	}
}

package workload_test

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/load"
	"github.com/keyframelog/keyframe/bench/peers/nats/kv"
	"github.com/keyframelog/keyframe/bench/peers/nats/server"
	"github.com/keyframelog/keyframe/bench/peers/nats/workload"
	"github.com/keyframelog/keyframe/bench/probe"
	"github.com/keyframelog/keyframe/bench/result"
)

// start serves in this process.
func start(t *testing.T, sync server.Sync) workload.Peer {
	t.Helper()
	dir := t.TempDir()
	s, err := server.Serve(dir, sync)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	p := &server.Process{URL: s.URL, Dir: dir}
	this := probe.Process{PID: os.Getpid()}
	if _, err := this.Usage(); !errors.Is(err, probe.ErrUnsupported) {
		p.Process = &this
	}
	return workload.NewPeer(p)
}

func figure(t *testing.T, r *result.Result, name string) float64 {
	t.Helper()
	f, ok := r.Figure(name)
	require.True(t, ok, name)
	return f.Value
}

func smallBootstrap(via kv.Via, publish kv.Publish) workload.Bootstrap {
	c := workload.DefaultBootstrap()
	c.Shape, c.Updates, c.Consumers, c.Via, c.Publish = load.Shape{ValueBytes: 20, Keys: 500}, []int64{500, 4000}, 2, via, publish
	return c
}

// However many puts there were, and however they were made, a client reads each key once.
func TestBootstrapReadsEachKeyOnce(t *testing.T) {
	p := start(t, server.SyncDefault)
	for _, publish := range kv.Publishes() {
		for _, via := range kv.Vias() {
			r, err := smallBootstrap(via, publish).Run(t.Context(), p, bench.Silent)
			require.NoError(t, err, "%q %q", publish, via)
			require.Equal(t, "bootstrap", r.Figures[0].Name)
			require.Positive(t, r.Figures[0].Value)
			require.Equal(t, 500.0, figure(t, r, "records read"))
			require.Greater(t, figure(t, r, "received")*1e6, 500*36.0, "keys and values at least")
			require.Equal(t, []float64{500, 4000}, r.Series[0].X)
			require.Equal(t, 500.0, figure(t, r, "records read after 4k updates"), "each step has its figures")
			fastest := figure(t, r, "slowest")
			for _, way := range via.Each() {
				fastest = min(fastest, figure(t, r, "by "+string(way)))
			}
			require.Equal(t, r.Figures[0].Value, fastest, "the faster way counts")
			require.Equal(t, server.SyncDefault.Durability(), r.Target.Durability)
		}
	}
}

// A client that goes on where it was reads what changed, each key once.
func TestResyncReadsWhatChanged(t *testing.T) {
	p := start(t, server.SyncDefault)
	for _, via := range kv.Vias() {
		c := workload.DefaultResync()
		c.Shape, c.Updates, c.Changed, c.Via = load.Shape{ValueBytes: 20, Keys: 1000}, 5000, 50, via
		r, err := c.Run(t.Context(), p, bench.Silent)
		require.NoError(t, err, "%q", via)
		require.Equal(t, "resync", r.Figures[0].Name)
		require.Equal(t, 50.0, figure(t, r, "records read"))
		require.Less(t, figure(t, r, "received")*1e6, 50*1000.0)
	}
}

// What a result says of durability is how the server was started, and the bucket made.
func TestEveryDurability(t *testing.T) {
	told := map[string]bool{}
	for _, sync := range server.Syncs() {
		p := start(t, sync)
		for _, publish := range kv.Publishes() {
			if publish == kv.PublishAtomic && sync == server.SyncAsync {
				continue
			}
			c := workload.DefaultProduce()
			c.Shape, c.Duration, c.Sync, c.Publish, c.Settle = load.Shape{ValueBytes: 20, Keys: 100}, 50*time.Millisecond, sync, publish, sync == server.SyncDefault && publish == kv.PublishBest
			r, err := c.Run(t.Context(), p, bench.Silent)
			require.NoError(t, err, "%q %q", sync, publish)
			require.Equal(t, "throughput", r.Figures[0].Name)
			require.InEpsilon(t, r.Figures[0].Value*1e6, figure(t, r, "records")*36, 1e-9)
			if c.Settle && p.Target.Process != nil {
				require.LessOrEqual(t, figure(t, r, "settled throughput"), r.Figures[0].Value)
			}
			told[r.Target.Durability] = true
		}
	}
	require.Len(t, told, 3)
	require.True(t, told["fsync before the acknowledgement"], "as bench/target says it")
}

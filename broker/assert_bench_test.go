package broker

import (
	"encoding/binary"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/fold"
)

// Records of 115 bytes over 1 M keys, acks=all: what a producer that keeps its state costs beside one that does not, each operation a flushed 100,000.
func BenchmarkProduceKeepState(b *testing.B) {
	const keys, burst = 1_000_000, 100_000
	cfg := DefaultConfig()
	cfg.DataDir, cfg.KafkaAddr, cfg.StateAddr = filepath.Join(b.TempDir(), "data"), "127.0.0.1:0", "127.0.0.1:0"
	br, err := Start(b.Context(), cfg)
	require.NoError(b, err)
	defer func() { require.NoError(b, br.Close()) }()
	_, err = br.topics.Create(b.Context(), topics.Spec{Name: "said", Partitions: 1, Configs: keyFramed(fold.LastValue)})
	require.NoError(b, err)
	n := uint64(0)
	produce := func(p *client.Producer, count int) {
		buf := make([]byte, 115*count)
		for range count {
			key, value := buf[:16:16], buf[16:115:115]
			buf = buf[115:]
			binary.BigEndian.PutUint64(key, n*0x9e3779b97f4a7c15%keys)
			binary.BigEndian.PutUint64(value, n)
			n++
			p.Produce(b.Context(), p.Put(key, value), nil)
		}
		require.NoError(b, p.Flush(b.Context()))
	}
	open := func(keep bool) *client.Producer {
		p, err := client.NewProducer(b.Context(), client.ProducerConfig{
			Brokers: []string{br.KafkaAddr().String()}, StateURL: "http://" + br.StateAddr().String(), Topic: "said", KeepState: keep,
		})
		require.NoError(b, err)
		return p
	}
	first := open(false)
	produce(first, keys)
	first.Close()
	for _, keep := range []bool{false, true, false, true} {
		name := "without"
		if keep {
			name = "with"
		}
		b.Run(name, func(b *testing.B) {
			p := open(keep)
			defer p.Close()
			for b.Loop() {
				produce(p, burst)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*burst), "ns/record")
		})
	}
	b.Run("assert", func(b *testing.B) {
		p := open(true)
		defer p.Close()
		for b.Loop() {
			produce(p, 1)
			a, err := p.Assert(b.Context())
			require.NoError(b, err)
			require.Equal(b, client.Equal, a.Outcome)
		}
	})
	b.Run("begin", func(b *testing.B) {
		for b.Loop() {
			open(true).Close()
		}
	})
}

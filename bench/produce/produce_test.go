package produce

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/process"
)

const (
	pairs      = 5
	runSeconds = 8
)

// BenchmarkProduce fills eight partitions of a broker of our own, in a process of its own, with 1 KiB records, acks=all; every
// acknowledgement is fsynced. With KEYFRAME_PEER=host:port the same is done to that broker in turn, A B A B, each after a sync of the
// file systems, and the median of the pairs' ratios is printed:
//
//	KEYFRAME_PEER=127.0.0.1:19092 go test -run '^$' -bench Produce -benchtime 1x ./bench/produce
func BenchmarkProduce(b *testing.B) {
	binary := filepath.Join(b.TempDir(), "keyframe")
	require.NoError(b, process.Build(b.Context(), binary))
	broker, err := process.Start(b.Context(), binary, filepath.Join(b.TempDir(), "data"), process.Options{})
	require.NoError(b, err)
	defer func() { require.NoError(b, broker.Stop()) }()
	ours := broker.Kafka
	peer := os.Getenv("KEYFRAME_PEER")
	for range b.N {
		var rates, ratios []float64
		for pair := range pairs {
			a := run(b, ours, pair)
			rates = append(rates, a)
			if peer == "" {
				continue
			}
			other := run(b, peer, pair)
			ratios = append(ratios, a/other)
			b.Logf("pair %d: ours, fsync before the answer: %.0f MB/s; peer, its own durability: %.0f MB/s; ratio %.2f", pair+1, a, other, a/other)
		}
		b.ReportMetric(median(rates), "MB/s")
		if len(ratios) > 0 {
			b.ReportMetric(median(ratios), "x-of-peer")
		}
	}
}

func run(b *testing.B, addr string, pair int) float64 {
	b.Helper()
	syscall.Sync() // what the run before left for the kernel to write is not this one's to pay
	r, err := Run(b.Context(), Config{Brokers: []string{addr}, Topic: fmt.Sprintf("bench-produce-%d-%d", os.Getpid(), pair),
		Partitions: 8, RecordBytes: 1024, Duration: runSeconds * time.Second})
	require.NoError(b, err)
	return r.MBPerSecond()
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

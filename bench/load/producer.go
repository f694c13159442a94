package load

import (
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Producer is how records are sent.
type Producer struct {
	Acks        string        `json:"acks"`        // all, 1 or 0
	Compression string        `json:"compression"` // none, gzip, snappy, lz4 or zstd
	Linger      time.Duration `json:"linger_ns"`
	BatchBytes  int32         `json:"batch_bytes"` // at most
}

// DefaultProducer is one that is after throughput: large batches, nothing that is not acknowledged.
func DefaultProducer() Producer {
	return Producer{Acks: "all", Compression: "none", Linger: 5 * time.Millisecond, BatchBytes: 1_000_000}
}

var (
	acks         = map[string]kgo.Acks{"all": kgo.AllISRAcks(), "1": kgo.LeaderAck(), "0": kgo.NoAck()}
	compressions = map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
)

// Acks are the values of acks.
func Acks() []string { return []string{"all", "1", "0"} }

// Compressions are the values of compression.
func Compressions() []string { return []string{"none", "gzip", "snappy", "lz4", "zstd"} }

// Validate refuses what there is not.
func (p Producer) Validate() error {
	switch {
	case !slices.Contains(Acks(), p.Acks):
		return fmt.Errorf("acks %q: all, 1 or 0", p.Acks)
	case !slices.Contains(Compressions(), p.Compression):
		return fmt.Errorf("compression %q: none, gzip, snappy, lz4 or zstd", p.Compression)
	case p.Linger < 0:
		return fmt.Errorf("a linger of %s", p.Linger)
	case p.BatchBytes < 1<<10:
		return fmt.Errorf("batches of at most %d bytes: 1024 at least", p.BatchBytes)
	}
	return nil
}

// buffered bounds what a producer holds that is not acknowledged: enough for every connection to be busy, and little beside what the broker has.
const (
	bufferedRecords = 1 << 20
	bufferedBytes   = 256 << 20
)

// Options are those of a client that sends so to a topic. Records without a key fill one batch after the other.
func (p Producer) Options(topic string) []kgo.Opt {
	opts := []kgo.Opt{
		kgo.DefaultProduceTopic(topic), kgo.RequiredAcks(acks[p.Acks]), kgo.ProducerBatchCompression(compressions[p.Compression]),
		kgo.ProducerLinger(p.Linger), kgo.ProducerBatchMaxBytes(p.BatchBytes), kgo.MaxBufferedRecords(bufferedRecords), kgo.MaxBufferedBytes(bufferedBytes),
		kgo.RecordPartitioner(kgo.UniformBytesPartitioner(int(p.BatchBytes), true, true, nil)),
	}
	if p.Acks != "all" {
		opts = append(opts, kgo.DisableIdempotentWrite())
	}
	return opts
}

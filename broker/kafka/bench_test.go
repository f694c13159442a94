package kafka_test

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// benchBatch is 64 records of 1 KiB.
func benchBatch() []byte {
	records := make([]testRecord, 64)
	for i := range records {
		records[i] = kv("key", string(make([]byte, 1000)))
	}
	return seal(newBatch(records...))
}

// BenchmarkProduce is the protocol's and the log's share of a produce, on an in-memory file system: 5 requests in flight.
func BenchmarkProduce(b *testing.B) {
	c := startOwn(b, options{}).dial(b)
	tp := createTopic(c, 1)
	req := produceTo(tp, 0, 9, benchBatch())
	frame := kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)
	b.SetBytes(int64(len(req.Topics[0].Partitions[0].Records)))
	b.ReportAllocs()
	const inFlight = 5
	sent := 0
	for b.Loop() {
		if _, err := c.Write(frame); err != nil {
			b.Fatal(err)
		}
		if sent++; sent > inFlight {
			c.receive(req)
		}
	}
}

// BenchmarkFetch reads 1 MiB a request from the tail cache.
func BenchmarkFetch(b *testing.B) {
	c := startOwn(b, options{}).dial(b)
	tp := createTopic(c, 1)
	batch := benchBatch()
	for range 1<<20/len(batch) + 1 {
		produce(c, tp, append([]byte{}, batch...))
	}
	req := fetchFrom(tp, 0, 12)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n = len(fetchAs(c, req).RecordBatches)
	}
	b.SetBytes(int64(n))
}

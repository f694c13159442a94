package kafka_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// benchBatch is 64 records of 1 KiB.
func benchBatch() []byte {
	records := make([]raw.Record, 64)
	for i := range records {
		records[i] = raw.KV("key", string(make([]byte, 1000)))
	}
	return raw.Seal(raw.NewBatch(records...))
}

// BenchmarkProduce is the protocol's and the log's share of a produce, on an in-memory file system: 5 requests in flight.
func BenchmarkProduce(b *testing.B) {
	c := startOwn(b, options{}).Dial(b)
	tp := raw.CreateTopic(c, 1)
	req := raw.ProduceTo(tp, 0, 9, benchBatch())
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
			c.Receive(req)
		}
	}
}

// BenchmarkFetch reads 1 MiB of each partition a request from the tail cache.
func BenchmarkFetch(b *testing.B) {
	for _, partitions := range []int32{1, 16} {
		b.Run(fmt.Sprintf("partitions-%d", partitions), func(b *testing.B) { benchmarkFetch(b, partitions) })
	}
}

func benchmarkFetch(b *testing.B, partitions int32) {
	c := startOwn(b, options{}).Dial(b)
	tp := raw.CreateTopic(c, partitions)
	batch := benchBatch()
	req := raw.FetchFrom(tp, 0, 12)
	req.Topics[0].Partitions = nil
	for p := range partitions {
		for range 1<<20/len(batch) + 1 {
			raw.ProduceAs(c, raw.ProduceTo(tp, p, 9, append([]byte{}, batch...)))
		}
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, raw.FetchPartition(p, 0))
	}
	frame := kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)
	var answer []byte
	b.ReportAllocs()
	for b.Loop() {
		var head [4]byte
		_, err := c.Write(frame)
		if err == nil {
			_, err = io.ReadFull(c, head[:])
		}
		if size := int(binary.BigEndian.Uint32(head[:])); len(answer) < size {
			answer = make([]byte, size)
		}
		if err == nil {
			_, err = io.ReadFull(c, answer[:binary.BigEndian.Uint32(head[:])])
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	b.SetBytes(int64(len(answer)))
}

// BenchmarkFetchIdle is a fetch of 1,000 partitions that have nothing new, as a consumer at the tail sends it: with a session, which
// names none of them, and without.
func BenchmarkFetchIdle(b *testing.B) {
	const partitions = 1000
	for _, wait := range []int32{0, 1} {
		for _, session := range []bool{false, true} {
			b.Run(fmt.Sprintf("wait-%dms/session-%v", wait, session), func(b *testing.B) {
				c := startOwn(b, options{}).Dial(b)
				tp := raw.CreateTopic(c, partitions)
				req := raw.FetchFrom(tp, 0, 12)
				req.Topics[0].Partitions = nil
				for p := range int32(partitions) {
					req.Topics[0].Partitions = append(req.Topics[0].Partitions, raw.FetchPartition(p, 0))
				}
				if session {
					req.SessionEpoch = 0
					req.SessionID = raw.Do[*kmsg.FetchResponse](c, req).SessionID
					req.Topics, req.SessionEpoch = nil, 1
				}
				req.MaxWaitMillis = wait
				fetch := func() {
					raw.Do[*kmsg.FetchResponse](c, req)
					if session {
						req.SessionEpoch++
					}
				}
				fetch()
				b.ReportAllocs()
				before := cpuTime(b)
				for b.Loop() {
					fetch()
				}
				b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N)/1000, "cpu-us/op")
			})
		}
	}
}

// cpuTime is what this process has used.
func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

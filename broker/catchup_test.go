package broker_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker"
	"github.com/keyframelog/keyframe/broker/raw"
)

// Many readers at once, one of them slow, get from disk what was produced, byte for byte: what the broker reads it into is given back when it is sent, and
// under the race detector it is overwritten then.
func TestCatchUpReadersGetWhatWasProduced(t *testing.T) {
	const partitions, batches, size, readers = 3, 24, 200_000, 6
	dir := t.TempDir() + "/data"
	config := func(c *broker.Config) { c.DataDir, c.TailCacheBytes = dir, 0 }
	var tp raw.Topic
	sums := map[int32][]uint32{}
	t.Run("produce", func(t *testing.T) {
		c := startBroker(t, config).Dial(t)
		tp = raw.CreateTopic(c, partitions)
		for i := range batches {
			for p := range int32(partitions) {
				b := raw.NewBatch(raw.KV(fmt.Sprint(p), string(fill(make([]byte, size), uint64(i)<<8|uint64(p)))))
				sealed := raw.Seal(b)
				sums[p] = append(sums[p], crc32.Checksum(sealed[21:], crc32.MakeTable(crc32.Castagnoli)))
				answer := raw.ProduceAs(c, raw.ProduceTo(tp, p, 9, sealed))
				raw.RequireCode(t, 0, answer.ErrorCode, answer.ErrorMessage)
			}
		}
	})
	addr := startBroker(t, config).Addr // what was in memory is in files now
	var running sync.WaitGroup
	failed := make(chan error, readers)
	for i := range readers {
		running.Go(func() {
			if err := catchUp(addr, tp, sums, i == 0); err != nil {
				failed <- fmt.Errorf("reader %d: %w", i, err)
			}
		})
	}
	running.Wait()
	close(failed)
	for err := range failed {
		require.NoError(t, err)
	}
}

// Damage behind good batches of a long answer, whose length was sent already, ends the connection; the next one gets what lies before it, and then the error.
func TestDamageInALongAnswer(t *testing.T) {
	const batches, size, bad = 40, 16_000, 30
	dir := t.TempDir() + "/data"
	config := func(c *broker.Config) { c.DataDir, c.TailCacheBytes = dir, 0 }
	value := func(i int) []byte { return fill(make([]byte, size), uint64(i)) }
	var tp raw.Topic
	t.Run("produce", func(t *testing.T) {
		c := startBroker(t, config).Dial(t)
		tp = raw.CreateTopic(c, 1)
		for i := range batches {
			raw.MustProduce(c, tp, raw.KV("k", string(value(i))))
		}
	})
	t.Run("flush", func(t *testing.T) { startBroker(t, config) })
	damageBlob(t, dir, value(bad))
	b := startBroker(t, config)
	ask := func(offset int64) *kmsg.FetchRequest {
		req := raw.FetchFrom(tp, offset, 12)
		req.Topics[0].Partitions[0].PartitionMaxBytes = 8 << 20
		return req
	}
	c := b.Dial(t)
	c.Send(ask(0))
	_, _, err := c.TryReceive(ask(0))
	require.Error(t, err, "what was promised cannot be sent")
	c = b.Dial(t)
	require.Len(t, raw.BatchesOf(c, raw.FetchAs(c, ask(0)).RecordBatches), bad)
	require.Equal(t, kerr.KafkaStorageError.Code, raw.FetchAs(c, ask(bad)).ErrorCode)
	require.Len(t, raw.BatchesOf(c, raw.FetchAs(c, ask(0)).RecordBatches), bad, "and it goes on")
}

// damageBlob changes a bit in the middle of a value.
func damageBlob(t *testing.T, dir string, value []byte) {
	paths, err := filepath.Glob(dir + "/log/*.blob")
	require.NoError(t, err)
	for _, path := range paths {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		if at := bytes.Index(b, value); at >= 0 {
			b[at+len(value)/2] ^= 1
			require.NoError(t, os.WriteFile(path, b, 0o600))
			return
		}
	}
	require.Fail(t, "no blob file has it")
}

func fill(b []byte, seed uint64) []byte {
	for i := range b {
		seed = seed*6364136223846793005 + 1442695040888963407
		b[i] = byte(seed >> 56)
	}
	return b
}

// catchUp reads all partitions to their ends over a connection of its own. A slow reader has the broker wait with every answer half sent.
func catchUp(addr string, tp raw.Topic, sums map[int32][]uint32, slow bool) error {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	if slow {
		if err := nc.(*net.TCPConn).SetReadBuffer(64 << 10); err != nil {
			return err
		}
	}
	next := map[int32]int64{}
	for len(next) < len(sums) || !atEnds(next, sums) {
		req := raw.FetchFrom(tp, 0, 12)
		req.Topics[0].Partitions = nil
		for p := range sums {
			if next[p] < int64(len(sums[p])) {
				asked := raw.FetchPartition(p, next[p])
				asked.PartitionMaxBytes = 3 << 20
				req.Topics[0].Partitions = append(req.Topics[0].Partitions, asked)
			}
		}
		if _, err := nc.Write(kmsg.NewRequestFormatter().AppendRequest(nil, req, 1)); err != nil {
			return err
		}
		var head [4]byte
		if _, err := io.ReadFull(nc, head[:]); err != nil {
			return err
		}
		frame := make([]byte, binary.BigEndian.Uint32(head[:]))
		for have := 0; have < len(frame); {
			n, err := nc.Read(frame[have:min(len(frame), have+50_000)])
			if err != nil {
				return err
			}
			have += n
		}
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		if err := resp.ReadFrom(frame[5:]); err != nil {
			return err
		}
		for _, p := range resp.Topics[0].Partitions {
			if p.ErrorCode != 0 {
				return fmt.Errorf("partition %d: error %d", p.Partition, p.ErrorCode)
			}
			for b := p.RecordBatches; len(b) > 0; {
				size := len(b)
				if len(b) > 61 {
					size = 12 + int(binary.BigEndian.Uint32(b[8:]))
				}
				if size > len(b) || size <= 61 {
					return fmt.Errorf("partition %d: no whole batch at offset %d", p.Partition, next[p.Partition])
				}
				if base := int64(binary.BigEndian.Uint64(b)); base != next[p.Partition] {
					return fmt.Errorf("partition %d: offset %d instead of %d", p.Partition, base, next[p.Partition])
				}
				if crc32.Checksum(b[21:size], crc32.MakeTable(crc32.Castagnoli)) != sums[p.Partition][next[p.Partition]] {
					return fmt.Errorf("partition %d: offset %d is not what was produced", p.Partition, next[p.Partition])
				}
				next[p.Partition]++
				b = b[size:]
			}
		}
	}
	return nil
}

func atEnds(next map[int32]int64, sums map[int32][]uint32) bool {
	for p, want := range sums {
		if next[p] < int64(len(want)) {
			return false
		}
	}
	return true
}

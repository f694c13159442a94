package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/broker/process"
	"github.com/keyframelog/keyframe/client"
)

// startProcess starts the real binary: a broker with a real process to kill.
func startProcess(t *testing.T, binary, dir string, flags ...string) *process.Broker {
	t.Helper()
	p, err := process.Start(t.Context(), binary, dir, process.Options{Flags: flags})
	require.NoError(t, err)
	return p
}

// The process is killed in the middle of the load; everything that was acknowledged with acks=all is there after the restart,
// in order, once, and the folded state equals the log.
func TestKillLosesNothingAcknowledged(t *testing.T) {
	binary, dir := filepath.Join(t.TempDir(), "keyframe"), filepath.Join(t.TempDir(), "data")
	build(t, binary)
	cycles := 12
	if n, err := strconv.Atoi(os.Getenv("KEYFRAME_KILL_CYCLES")); err == nil {
		cycles = n
	}
	acked := map[int64]string{} // offset to value
	for cycle := range cycles {
		p := startProcess(t, binary, dir)
		if cycle == 0 {
			createDemoTopic(t, p.Kafka)
		}
		verifyAcked(t, p.Kafka, acked)
		loadAndKill(t, p, cycle, acked)
	}
	p := startProcess(t, binary, dir)
	verifyAcked(t, p.Kafka, acked)
	verifyReplica(t, p)
	p.Kill()
	t.Logf("%d kills, %d records acknowledged", cycles, len(acked))
	require.Greater(t, len(acked), 10*cycles, "the load was too small to prove anything")
}

func createDemoTopic(t *testing.T, addr string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	require.NoError(t, err)
	defer cl.Close()
	policy, records := "compact", "100"
	_, err = kadm.NewClient(cl).CreateTopic(t.Context(), 1, 1, map[string]*string{"cleanup.policy": &policy, "keyframe.interval.records": &records}, "kill")
	require.NoError(t, err)
}

// loadAndKill produces until enough is acknowledged, then kills with requests under way.
func loadAndKill(t *testing.T, p *process.Broker, cycle int, acked map[int64]string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(p.Kafka), kgo.DefaultProduceTopic("kill"), kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0), kgo.MaxBufferedRecords(64), kgo.UnknownTopicRetries(-1))
	require.NoError(t, err)
	var mu sync.Mutex
	answers, enough := 0, make(chan struct{})
	go func() {
		for i := 0; ctx.Err() == nil; i++ {
			value := fmt.Sprintf("%d-%d", cycle, i)
			cl.Produce(ctx, &kgo.Record{Key: []byte(strconv.Itoa(i % 37)), Value: []byte(value)}, func(r *kgo.Record, err error) {
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					return
				}
				acked[r.Offset] = value
				if answers++; answers == 150+50*(cycle%7) {
					close(enough)
				}
			})
		}
	}()
	select {
	case <-enough:
	case <-time.After(time.Minute):
		t.Fatal("no acknowledgements within a minute")
	}
	p.Kill()
	cancel()
	cl.Close()
	mu.Lock() // no callback comes after Close
	defer mu.Unlock()
}

// verifyAcked reads the whole log.
func verifyAcked(t *testing.T, addr string, acked map[int64]string) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics("kill"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(t, err)
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListEndOffsets(t.Context(), "kill")
	require.NoError(t, err)
	end, ok := ends.Lookup("kill", 0)
	require.True(t, ok)
	seen := map[string]bool{}
	for next := int64(0); next < end.Offset; {
		fetches := cl.PollFetches(t.Context())
		require.NoError(t, fetches.Err())
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			require.Equal(t, next, r.Offset, "offsets have no gap")
			next++
			require.False(t, seen[string(r.Value)], "%s stands in the log twice", r.Value)
			seen[string(r.Value)] = true
			if want, ok := acked[r.Offset]; ok {
				require.Equal(t, want, string(r.Value), "at offset %d", r.Offset)
			}
		}
	}
	for offset, value := range acked {
		require.Less(t, offset, end.Offset, "%s was acknowledged and is gone", value)
	}
}

func verifyReplica(t *testing.T, p *process.Broker) {
	t.Helper()
	r, err := client.OpenReplica(t.Context(), client.Config{Brokers: []string{p.Kafka}, StateURL: p.State, Topic: "kill", Store: client.Memory()})
	require.NoError(t, err)
	defer r.Close()
	for _, v := range r.Verify(t.Context()) {
		require.Equal(t, client.Equal, v.Outcome, "%+v", v)
	}
}

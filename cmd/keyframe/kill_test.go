package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	benchprocess "github.com/keyframelog/keyframe/bench/process"
	"github.com/keyframelog/keyframe/client"
)

// process is a broker of its own: the real binary, with a real process to kill.
type process struct {
	cmd   *exec.Cmd
	kafka string
	state string
}

func startProcess(t *testing.T, binary, dir string, flags ...string) *process {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"serve", "--data-dir", dir, "--kafka-addr", "127.0.0.1:0", "--state-addr", "127.0.0.1:0",
		"--log-format", "json"}, flags...)...)
	cmd.Env = benchprocess.Environ()
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	p := &process{cmd: cmd}
	var said []string
	lines := bufio.NewScanner(stderr)
	for p.kafka == "" && lines.Scan() {
		said = append(said, lines.Text())
		p.kafka, p.state = logged(lines.Text(), "kafka_addr"), logged(lines.Text(), "state_addr")
	}
	require.NotEmpty(t, p.kafka, "the broker did not start: %s", strings.Join(said, "\n"))
	go func() {
		for lines.Scan() { // keep the pipe empty; ends with the process
		}
	}()
	return p
}

func logged(line, name string) string {
	_, rest, _ := strings.Cut(line, `"`+name+`":"`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

func (p *process) kill(t *testing.T) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Kill())
	_ = p.cmd.Wait() // killed: its status says so
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
			createDemoTopic(t, p.kafka)
		}
		verifyAcked(t, p.kafka, acked)
		loadAndKill(t, p, cycle, acked)
	}
	p := startProcess(t, binary, dir)
	verifyAcked(t, p.kafka, acked)
	verifyReplica(t, p)
	p.kill(t)
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
func loadAndKill(t *testing.T, p *process, cycle int, acked map[int64]string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(p.kafka), kgo.DefaultProduceTopic("kill"), kgo.RequiredAcks(kgo.AllISRAcks()),
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
	p.kill(t)
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

func verifyReplica(t *testing.T, p *process) {
	t.Helper()
	r, err := client.OpenReplica(t.Context(), client.Config{Brokers: []string{p.kafka}, StateURL: "http://" + p.state, Topic: "kill", Store: client.Memory()})
	require.NoError(t, err)
	defer r.Close()
	for _, v := range r.Verify(t.Context()) {
		require.Equal(t, client.Equal, v.Outcome, "%+v", v)
	}
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/table"
)

// What cannot become a replica ends at once, with the reason; what takes too long ends at --timeout.
func TestReplicaRunEnds(t *testing.T) {
	n, p := startBehindProxy(t)
	n.run(t, "", "topic", "create", "plain")
	_, err := n.try(t, "", "replica", "run", "plain", "--exit")
	require.ErrorContains(t, err, "replicate topic plain")
	require.ErrorContains(t, err, "cleanup.policy")
	n.run(t, "", "topic", "create", "framed", "--cleanup-policy", "compact")
	n.run(t, "a\t1\n", "produce", "framed")
	_, err = n.try(t, "", "replica", "run", "framed", "--exit", "--state-url", "http://127.0.0.1:1")
	require.ErrorContains(t, err, "the state plane at http://127.0.0.1:1 (flag --state-url)")

	out := n.run(t, "", "replica", "run", "framed", "--exit")
	last := strings.Split(strings.TrimSpace(out), "\n")
	require.Contains(t, last[len(last)-1], "partition 0 at 1: equal, 1 row,")
	require.NotContains(t, last[len(last)-2], "equal", "the verdict at the end is printed once:\n%s", out)

	p.withhold(kmsg.Fetch)
	const far = "is at 0, not yet at 1"
	after, _, err := n.givenUp(t, "", far, "replica", "run", "framed", "--exit")
	require.ErrorContains(t, err, "not verified within "+after+" (--timeout)")
	require.ErrorContains(t, err, far)
}

// A broker that is away is told once, and once that it is back.
func TestReplicaRunTellsThatTheBrokerIsAway(t *testing.T) {
	n, p := startBehindProxy(t)
	n.run(t, "", "topic", "create", "r", "--cleanup-policy", "compact")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	read, write := io.Pipe()
	root := newRootCommand()
	root.SetOut(write)
	root.SetArgs([]string{"replica", "run", "r", "--interval", "1h"})
	go func() { write.CloseWithError(root.ExecuteContext(ctx)) }()

	var away, back int
	said := bufio.NewScanner(read)
	for said.Scan() {
		switch line := said.Text(); {
		case strings.HasPrefix(line, "topic:"):
			p.hangUp(true)
		case strings.Contains(line, "the broker at "+p.addr+" does not answer"):
			away++
			p.hangUp(false)
		case strings.Contains(line, "the broker at "+p.addr+" answers again"):
			back++
			cancel()
		}
	}
	require.NoError(t, said.Err())
	require.Equal(t, []int{1, 1}, []int{away, back})
}

// A replica that ends while it connects does not say that the broker is away.
func TestReplicaRunThatEndsBlamesNobody(t *testing.T) {
	var out bytes.Buffer
	l := newReplicaLog(replicaLines{&out}, true)
	for _, err := range []error{context.Canceled, kgo.ErrClientClosed} {
		l.OnBrokerConnect(kgo.BrokerMetadata{Host: "localhost", Port: 9092}, 0, nil, fmt.Errorf("unable to dial: %w", err))
	}
	require.Empty(t, out.String())
}

// Each key that differs is printed, however many there are.
func TestReplicaRunPrintsEachKey(t *testing.T) {
	var out bytes.Buffer
	l := newReplicaLog(replicaLines{&out}, true)
	for i := range 1000 {
		l.difference(client.Difference{Cut: 7, Key: fmt.Append(nil, i), Here: digest.Entry{1}, Log: digest.Entry{2, byte(i)}})
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 1000)
	require.Equal(t, `partition 0 at 7: key "7" differs: 0100000000000000 here, 0207000000000000 in the log`, lines[7])
}

// A directory that holds something else than the log is put right before --exit ends the command, where that is the policy.
func TestReplicaRunRepairsBeforeItExits(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "users", "--cleanup-policy", "compact")
	n.run(t, "alice\tonline\nbob\taway\n", "produce", "users")
	for _, policy := range []string{"report", "halt", "repair", "rebootstrap"} { // each wrong in a way of its own: those that agree are not repaired
		dir := filepath.Join(t.TempDir(), "replica")
		wrong, err := client.OpenReplica(t.Context(), client.Config{
			Brokers: []string{n.kafka}, StateURL: n.state, Topic: "users", From: client.FromEarliest, Store: client.Dir(dir), OnDrift: client.Report,
			KafkaOptions: []kgo.Opt{kgo.WithHooks(mutate{policy})},
		})
		require.NoError(t, err)
		require.NoError(t, errors.Join(wrong.WaitFor(t.Context(), 0, 2), wrong.Close()))
		out, err := n.try(t, "", "replica", "run", "users", "--exit", "--dir", dir, "--on-drift", policy)
		switch policy {
		case "repair":
			require.NoError(t, err, out)
			require.Contains(t, out, `key "bob" differs`)
			require.Contains(t, out, "repaired, logical drift: 1 key by")
			require.Regexp(t, "(?m)^partition 0 at 2: equal, 2 rows, digest [0-9a-f]+$", out) // said once: before the positions, or after
		case "rebootstrap":
			require.NoError(t, err, out)
			require.Regexp(t, "(?m)^partition 0 at 2: equal, 2 rows, digest [0-9a-f]+$", out) // said once: before the positions, or after
		default:
			require.Error(t, err, out)
			require.Contains(t, out, "partition 0 at 2: drifted")
			require.Contains(t, out, `key "bob" differs`)
		}
	}
}

// What to do about a damaged copy is not what to do about a broker's directory, which is the only one there is.
func TestReplicaRunOnADamagedDirectory(t *testing.T) {
	err := fmt.Errorf("replica directory d: %w", &damage.Error{Path: "d/table/000004.sst", Offset: -1, Why: "checksum mismatch"})
	require.Equal(t, "replica directory d: d/table/000004.sst is damaged: checksum mismatch\n"+
		"  To go on: remove d, or choose another directory; the copy is loaded anew from a key frame", explain(adviseDir("d", err)))
	for _, is := range []error{client.ErrCorrupt, table.ErrCorrupt} {
		require.Equal(t, is.Error()+": d/table/000004.sst is damaged: it is cut short\n  To go on: run it again: with --on-drift repair, the default, d/table is set aside as d/table.damaged, "+
			"and the copy is loaded anew from a key frame", explain(adviseDir("d", fmt.Errorf("%w: %w", is, &damage.Error{Path: "d/table/000004.sst", Offset: -1, Why: "it is cut short"}))))
	}
	rotten := &client.PartitionError{Topic: "users", Partition: 3, Offset: 7, Err: fmt.Errorf("%w: %w", client.ErrCorrupt, &damage.Error{Path: "d/table/000004.sst", Offset: -1, Why: "checksum mismatch"})}
	require.Equal(t, rotten.Error()+"\n  To go on: run it again: with --on-drift repair, the default, the rows that are damaged are fetched again", explain(adviseDir("d", rotten)))
	rotten.Err = fmt.Errorf("%w: %w", rotten.Err, client.ErrReopen)
	require.Contains(t, explain(adviseDir("d", rotten)), "d/table is set aside as d/table.damaged")
}

// What opening the directory again mends, replica run mends by itself, unless it is told to leave things as they are; and what the replica before has said of its
// end says nothing of the next one.
func TestReplicaRunOpensADamagedDirectoryAgain(t *testing.T) {
	why := fmt.Errorf("%w: beside it: %w", client.ErrCorrupt, client.ErrReopen)
	for policy, reopens := range map[string]bool{"repair": true, "rebootstrap": true, "report": false, "halt": false} {
		require.Equal(t, reopens, replicaFlags{policy: policy}.reopens(why), policy)
		require.False(t, replicaFlags{policy: policy}.reopens(client.ErrCorrupt), policy)
		require.False(t, replicaFlags{policy: policy}.reopens(nil), policy)
	}
	var out bytes.Buffer
	l := newReplicaLog(replicaLines{&out}, true)
	l.event(client.Event{Kind: client.Stopped, Partition: 3, Err: why})
	l.expectAnswers(false)
	require.Equal(t, 1, l.stay(t.Context(), []int32{3}))
	l.reopened()
	require.Empty(t, l.stopped)
	l.expectAnswers(false)
	l.event(client.Event{Kind: client.Bootstrapped, Partition: 3})
	require.Zero(t, l.stay(t.Context(), []int32{3}))
	require.Contains(t, out.String(), "opening the directory again")
}

// What is tried again and again is said once, and again after something else happened.
func TestReplicaRunSaysOnceWhatIsTriedAgain(t *testing.T) {
	var out bytes.Buffer
	l := newReplicaLog(replicaLines{&out}, true)
	gone, away := errors.New("unknown topic"), errors.New("connection refused")
	for range 2 {
		for range 3 {
			l.event(client.Event{Kind: client.TailFailed, Topic: "users", Partition: -1, Offset: -1, Err: gone})
			l.event(client.Event{Kind: client.BootstrapFailed, Topic: "users", Err: away})
		}
		l.event(client.Event{Kind: client.Bootstrapped, Topic: "users", Offset: 7, Rows: 5})
	}
	require.Equal(t, strings.Repeat(`topic users: tail failed, trying again: unknown topic
partition 0 at 0: bootstrap failed, trying again: connection refused
partition 0 at 7: bootstrapped, 5 rows
`, 2), out.String())
}

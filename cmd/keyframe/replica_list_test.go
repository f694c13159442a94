package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/state"
)

// What is listed, to the letter.
func TestReplicaTable(t *testing.T) {
	now := time.UnixMilli(1_700_000_600_000)
	ms := now.UnixMilli()
	m := &state.ReplicasResponse{
		Replicas: []*state.Replica{
			{Topic: "users", Replica: "cache-1", Host: "a pid 7", ReportedMs: ms - 3000, Partitions: []*state.ReplicaPartition{
				{
					Phase: "following", Position: 1200, LagRecords: 34, LagMs: 1234, Outcome: state.Outcome_OUTCOME_EQUAL, Compared: &state.Point{Offset: 1100},
					ComparedMs: ms - 61_000, Verified: 1100, VerifiedMs: ms - 61_000, Repairs: 2,
					Repair: &state.Repair{Cut: 900, Keys: 3, Bytes: 2210, Method: "sketch", DurationUs: 5300, TimeMs: ms - 600_000},
				},
				{
					Partition: 1, Phase: "halted", Position: 80, Outcome: state.Outcome_OUTCOME_DRIFTED, Compared: &state.Point{Offset: 80},
					ComparedMs: ms - 10_000, Reason: "2 rows here, 3 in the log",
				},
			}},
			{Topic: "users", Replica: "new", Host: "b pid 8", ReportedMs: ms, Partitions: []*state.ReplicaPartition{
				{Phase: "bootstrapping", LagRecords: 5, LagMs: -1},
				{Partition: 1, Phase: "following", Position: 9, Verified: 7},
			}},
			{Topic: "users", Replica: "twice", Host: "c pid 1", Instance: []byte{1}, Processes: 2, ReportedMs: ms, Partitions: []*state.ReplicaPartition{
				{Phase: "following", Position: 9, Outcome: state.Outcome_OUTCOME_EQUAL},
			}},
			{Topic: "users", Replica: "twice", Host: "d pid 1", Instance: []byte{2}, Processes: 2, ReportedMs: ms, Partitions: []*state.ReplicaPartition{
				{Phase: "halted", Position: 8},
			}},
		},
		Disputes: []*state.Dispute{{Topic: "users", Partition: 1, Point: &state.Point{Offset: 80}, Replicas: []string{"cache-1", "cache-2"}}},
	}
	list := func(format string) string {
		t.Setenv(envName("format"), format)
		cmd := newReplicaListCommand()
		var out bytes.Buffer
		cmd.SetOut(&out)
		cmd.SetErr(&out)
		c, err := loadConfig(cmd)
		require.NoError(t, err)
		require.NoError(t, printReplicas(cmd, c, m, now))
		return trailing.ReplaceAllString(out.String(), "\n")
	}
	require.Equal(t, `TOPIC  REPLICA  HOST     PARTITION  POSITION  LAG              VERIFIED         VERDICT                    LAST REPAIR                    REPORTED
users  cache-1  a pid 7          0      1200  34, 1.2s         1100, 1m1s ago   equal                      3 keys, 2210 bytes, 10m0s ago  3s ago
users  cache-1  a pid 7          1        80  0                never            drifted at 80, halted      none                           3s ago
users  new      b pid 8          0         0  5, time unknown  never            none, bootstrapping        none                           0s ago
users  new      b pid 8          1         9  0                7, time unknown  none                       none                           0s ago
users  twice    c pid 1          0         9  0                never            equal, shared name         none                           0s ago
users  twice    d pid 1          0         8  0                never            none, halted, shared name  none                           0s ago
2 processes are replica twice of users: c pid 1, d pid 1. They run on copies of one directory, or were given one name.
  What they find counts once. Give each a name of its own (keyframe replica run --name), and a directory that it loaded itself.
partition 1 of users is disputed: cache-1, cache-2 agree with one another at 80 and not with the broker, so nothing is repaired from it.
  Stop the broker and run keyframe check, which folds the log again. If it finds no problem, the replicas are wrong: start the broker,
  which goes on with the dispute, and decide for the log: keyframe replica settle users 1
`, list("table"))
	m.Disputes = nil
	require.Equal(t, `{"topic":"users","replica":"cache-1","host":"a pid 7","processes":1,"partition":0,"phase":"following","position":1200,"lag_records":34,"lag_ms":1234,`+
		`"verified":1100,"verified_time":1700000539000,"verdict":"equal","compared":1100,"compared_time":1700000539000,"repairs":2,"repair_cut":900,`+
		`"repair_method":"sketch","repair_keys":3,"repair_bytes":2210,"repair_us":5300,"repair_time":1700000000000,"reported":1700000597000}
{"topic":"users","replica":"cache-1","host":"a pid 7","processes":1,"partition":1,"phase":"halted","position":80,"lag_records":0,"lag_ms":0,"verdict":"drifted",`+
		`"compared":80,"compared_time":1700000590000,"reason":"2 rows here, 3 in the log","repairs":0,"reported":1700000597000}
{"topic":"users","replica":"new","host":"b pid 8","processes":1,"partition":0,"phase":"bootstrapping","position":0,"lag_records":5,"lag_ms":-1,"verdict":"none",`+
		`"repairs":0,"reported":1700000600000}
{"topic":"users","replica":"new","host":"b pid 8","processes":1,"partition":1,"phase":"following","position":9,"lag_records":0,"lag_ms":0,"verified":7,`+
		`"verdict":"none","repairs":0,"reported":1700000600000}
{"topic":"users","replica":"twice","host":"c pid 1","instance":"01","processes":2,"partition":0,"phase":"following","position":9,"lag_records":0,"lag_ms":0,`+
		`"verdict":"equal","compared":0,"compared_time":0,"repairs":0,"reported":1700000600000}
{"topic":"users","replica":"twice","host":"d pid 1","instance":"02","processes":2,"partition":0,"phase":"halted","position":8,"lag_records":0,"lag_ms":0,`+
		`"verdict":"none","repairs":0,"reported":1700000600000}
2 processes are replica twice of users: c pid 1, d pid 1. They run on copies of one directory, or were given one name.
  What they find counts once. Give each a name of its own (keyframe replica run --name), and a directory that it loaded itself.
`, list("jsonl"))
}

var trailing = regexp.MustCompile(` +\n`)

// mutate is a replica that reads something else than was written.
type mutate struct{ value string }

func (m mutate) OnFetchRecordBuffered(r *kgo.Record) {
	if string(r.Key) == "bob" {
		r.Value = []byte(m.value)
	}
}

// openReplica runs a replica of users beside the node.
func (n *node) openReplica(t *testing.T, name string, opts ...kgo.Opt) *client.Replica {
	t.Helper()
	r, err := client.OpenReplica(t.Context(), client.Config{
		Brokers: []string{n.kafka}, StateURL: n.state, Topic: "users", Name: name, OnDrift: client.Report, KafkaOptions: opts,
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	return r
}

// listed is `keyframe replica list` as soon as what is asked for is there, without what is different each time.
func (n *node) listed(t *testing.T, want ...string) string {
	t.Helper()
	var out string
	found := assert.Eventually(t, func() bool {
		out = n.run(t, "", "replica", "list", "users")
		out = regexp.MustCompile(`\S+ pid \d+`).ReplaceAllString(out, "HOST")
		out = regexp.MustCompile(`\b\d+s ago`).ReplaceAllString(out, "AGO")
		out = regexp.MustCompile(` +`).ReplaceAllString(trailing.ReplaceAllString(out, "\n"), " ")
		return !slices.ContainsFunc(want, func(w string) bool { return !strings.Contains(out, w) })
	}, time.Minute, 10*time.Millisecond)
	require.True(t, found, "%q in\n%s", want, out)
	return out
}

// Real replicas of a real broker: one that is right, and two that went wrong in the same way, which the broker must not repair by its own word.
func TestReplicaListAndSettle(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "users", "--cleanup-policy", "compact")
	n.run(t, "alice\tonline\n", "produce", "users")
	n.run(t, "", "frames", "cut", "users")
	right := n.openReplica(t, "right")
	require.Equal(t, `TOPIC REPLICA HOST PARTITION POSITION LAG VERIFIED VERDICT LAST REPAIR REPORTED
users right HOST 0 1 0 1, AGO equal none AGO
`, n.listed(t, " 1, AGO"))

	wrong := []*client.Replica{n.openReplica(t, "wrong-1", kgo.WithHooks(mutate{"x"})), n.openReplica(t, "wrong-2", kgo.WithHooks(mutate{"x"}))}
	n.run(t, "bob\taway\n", "produce", "users")
	for _, r := range append(wrong, right) {
		require.NoError(t, r.WaitFor(t.Context(), 0, 2))
	}
	_, err := n.try(t, "", "replica", "settle", "users", "0")
	require.ErrorContains(t, err, "partition 0 of topic users is not disputed")
	n.run(t, "", "frames", "cut", "users")
	require.Equal(t, `TOPIC REPLICA HOST PARTITION POSITION LAG VERIFIED VERDICT LAST REPAIR REPORTED
users right HOST 0 2 0 2, AGO equal none AGO
users wrong-1 HOST 0 2 0 1, AGO drifted at 2 none AGO
users wrong-2 HOST 0 2 0 1, AGO drifted at 2 none AGO
partition 0 of users is disputed: wrong-1, wrong-2 agree with one another at 2 and not with the broker, so nothing is repaired from it.
 Stop the broker and run keyframe check, which folds the log again. If it finds no problem, the replicas are wrong: start the broker,
 which goes on with the dispute, and decide for the log: keyframe replica settle users 0
`, n.listed(t, "disputed", "2, AGO equal"))

	require.Equal(t, "partition 0 of users is repaired from again\n", n.run(t, "", "replica", "settle", "users", "0"))
	require.NotContains(t, n.listed(t), "disputed")
	require.NoError(t, wrong[0].Close())
	var rows []map[string]any
	require.NoError(t, json.Unmarshal([]byte(n.run(t, "", "replica", "list", "--format", "json")), &rows))
	require.Len(t, rows, 2, "who leaves is not listed any more")
	require.Equal(t, []any{"users", "wrong-2", 2.0, "drifted"}, []any{rows[1]["topic"], rows[1]["replica"], rows[1]["compared"], rows[1]["verdict"]})
	require.Contains(t, rows[1]["reason"], "at least one value differs")

	_, err = n.try(t, "", "replica", "list", "nope")
	require.ErrorContains(t, err, "nope")
	_, err = n.try(t, "", "replica", "list", "users", "more")
	require.ErrorContains(t, err, "more")
	_, err = n.try(t, "", "replica", "settle", "users", "first")
	require.ErrorContains(t, err, "a number is expected")
	for _, r := range append(wrong, right) {
		require.NoError(t, r.Close())
	}
	n.run(t, "", "topic", "delete", "users")
	require.Equal(t, 1, strings.Count(n.run(t, "", "replica", "list"), "\n"), "the header alone")
}

// What a directory says was verified is listed when a replica goes on with it, also where it has drifted since; without a time if the directory has none.
func TestResumedReplicaIsListedAsVerified(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "users", "--cleanup-policy", "compact")
	n.run(t, "alice\tonline\n", "produce", "users")
	n.run(t, "", "frames", "cut", "users")
	dir := filepath.Join(t.TempDir(), "replica")
	open := func(opts ...kgo.Opt) *client.Replica {
		r, err := client.OpenReplica(t.Context(), client.Config{
			Brokers: []string{n.kafka}, StateURL: n.state, Topic: "users", Name: "stored", Store: client.Dir(dir), OnDrift: client.Report, KafkaOptions: opts,
		})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, r.Close()) })
		return r
	}
	r := open(kgo.WithHooks(mutate{"x"}))
	n.run(t, "bob\taway\n", "produce", "users")
	require.NoError(t, r.WaitFor(t.Context(), 0, 2))
	n.run(t, "", "frames", "cut", "users")
	n.listed(t, "users stored HOST 0 2 0 1, AGO drifted at 2")
	require.NoError(t, r.Close())
	require.NotContains(t, n.listed(t), "stored")

	r = open()
	n.listed(t, "users stored HOST 0 2 0 1, AGO drifted at 2")
	require.NoError(t, r.Close())

	path := filepath.Join(dir, "replica.json")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	without := regexp.MustCompile(`,\s*"time_ms": \d+|\n  "crc32c": "[^"]*",`).ReplaceAll(b, nil)
	require.NotEqual(t, len(b), len(without))
	require.NoError(t, os.WriteFile(path, without, 0o644))
	open()
	n.listed(t, "users stored HOST 0 2 0 1, time unknown drifted at 2")
}

// The name that replica run is given is the one that is listed, until it is interrupted.
func TestReplicaRunIsListed(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "users", "--cleanup-policy", "compact")
	n.run(t, "alice\tonline\n", "produce", "users")
	n.run(t, "", "frames", "cut", "users")
	root := newRootCommand()
	var out lockedBuffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs([]string{"replica", "run", "users", "--name", "mine", "--interval", "1h"})
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { ended <- root.ExecuteContext(ctx) }()
	n.listed(t, "users mine HOST 0 1 0 1, AGO")
	cancel()
	require.NoError(t, <-ended, out.String())
	require.NotContains(t, n.listed(t), "mine")
}

// A replica that runs on a copy of another's directory has the other's name; it shows as soon as that one reports again, and no longer than both run.
func TestCopiedDirectoryIsListed(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "users", "--cleanup-policy", "compact")
	n.run(t, "alice\tonline\n", "produce", "users")
	n.run(t, "", "frames", "cut", "users")
	open := func(dir string) *client.Replica {
		r, err := client.OpenReplica(t.Context(), client.Config{Brokers: []string{n.kafka}, StateURL: n.state, Topic: "users", Store: client.Dir(dir)})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, r.Close()) })
		return r
	}
	dir, copied := filepath.Join(t.TempDir(), "replica"), filepath.Join(t.TempDir(), "copied")
	require.NoError(t, open(dir).Close())
	require.NoError(t, os.CopyFS(copied, os.DirFS(dir)))
	first, second := open(dir), open(copied)
	require.Equal(t, first.Name(), second.Name())
	n.run(t, "bob\taway\n", "produce", "users")
	n.run(t, "", "frames", "cut", "users")
	name := first.Name()
	both := strings.Repeat("users "+name+" HOST 0 2 0 2, AGO equal, shared name none AGO\n", 2)
	require.Equal(t, "TOPIC REPLICA HOST PARTITION POSITION LAG VERIFIED VERDICT LAST REPAIR REPORTED\n"+
		both+
		"2 processes are replica "+name+" of users: HOST, HOST. They run on copies of one directory, or were given one name.\n"+
		" What they find counts once. Give each a name of its own (keyframe replica run --name), and a directory that it loaded itself.\n",
		n.listed(t, "2 processes", both))
	require.NoError(t, second.Close())
	require.NotContains(t, n.listed(t), "shared name")
}

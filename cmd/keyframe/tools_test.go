package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/storage/engine"
)

// lines decodes JSON lines.
func lines(t *testing.T, text string) (rows []map[string]any) {
	t.Helper()
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "{") {
			continue
		}
		var row map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &row), line)
		rows = append(rows, row)
	}
	return rows
}

// What consume prints as JSON lines, produce takes: bytes, headers, null and empty survive the way through another topic.
func TestConsumeOutputIsProduceInput(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "a", "--partitions", "2")
	n.run(t, "", "topic", "create", "b", "--partitions", "2")
	input := `{"key":"k","value":"v","partition":0,"timestamp":1700000000000,"headers":[{"key":"h","value":"x"},{"key":"n","value":null}]}
{"key_base64":"/w==","value_base64":"/v8=","partition":1,"timestamp":1700000000001}
{"key":"gone","value":null,"partition":0,"timestamp":1700000000002}
{"key":"","value":"","partition":1,"timestamp":1700000000003}
`
	n.run(t, input, "produce", "a", "--input", "jsonl")
	first := n.run(t, "", "consume", "a", "--exit", "--format", "jsonl")
	require.Len(t, lines(t, first), 4)
	n.run(t, first, "produce", "b", "--input", "jsonl")
	second := n.run(t, "", "consume", "b", "--exit", "--format", "jsonl")
	require.ElementsMatch(t, lines(t, first), lines(t, second))
	require.Contains(t, first, `{"key_base64":"/w==","value_base64":"/v8=","offset":0,"timestamp":1700000000001,"partition":1}`)
	require.Contains(t, first, `"headers":[{"key":"h","value":"x"},{"key":"n","value":null}]`)

	var array []map[string]any
	require.NoError(t, json.Unmarshal([]byte(n.run(t, "", "consume", "a", "--exit", "--format", "json")), &array))
	require.Len(t, array, 4)
}

func TestConsumeFrom(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "t")
	for i, at := range []string{"1700000000000", "1700000060000", "1700000120000"} {
		n.run(t, `{"value":"`+string(rune('a'+i))+`","timestamp":`+at+`}`, "produce", "t", "--input", "jsonl")
	}
	for from, want := range map[string][]string{
		"earliest":             {"a", "b", "c"},
		"1":                    {"b", "c"},
		"2023-11-14T22:13:50Z": {"b", "c"},
		"2023-11-14T22:15:20Z": {"c"},
	} {
		var got []string
		for _, row := range lines(t, n.run(t, "", "consume", "t", "--from", from, "--exit", "--format", "jsonl")) {
			got = append(got, row["value"].(string))
		}
		require.Equal(t, want, got, "from %s", from)
	}
	require.Len(t, lines(t, n.run(t, "", "consume", "t", "--exit", "-n", "2", "--format", "jsonl")), 2)
	_, err := n.try(t, "", "consume", "t", "--from", "yesterday", "--exit")
	require.ErrorContains(t, err, "yesterday")
}

// State at an offset, inside a batch as well, at a cut's name, at P:OFFSET; a bare offset is refused where it is ambiguous.
func TestStateAtAnyPoint(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "s", "--fold", "counter")
	n.run(t, "x\t1\nx\t2\ny\t5\nx\t4\n", "produce", "s") // one batch
	value := func(args ...string) []any {
		var got []any
		for _, row := range lines(t, n.run(t, "", append(args, "--format", "jsonl")...)) {
			got = append(got, row["value"])
		}
		return got
	}
	require.Equal(t, []any{"7"}, value("state", "get", "s", "x"))
	require.Equal(t, []any{"1"}, value("state", "get", "s", "x", "--at", "1"))
	require.Equal(t, []any{"3"}, value("state", "get", "s", "x", "--at", "0:2"))
	require.Equal(t, []any{"3", "5"}, value("state", "scan", "s", "--at", "3"))
	require.Equal(t, []any{"5"}, value("state", "scan", "s", "--prefix", "y"))
	require.Empty(t, value("state", "scan", "s", "--at", "0"))

	cut := strings.Fields(n.run(t, "", "frames", "cut", "s"))[1]
	n.run(t, "x\t100\n", "produce", "s")
	require.Equal(t, []any{"107"}, value("state", "get", "s", "x"))
	require.Equal(t, []any{"7"}, value("state", "get", "s", "x", "--at", strings.TrimSuffix(cut, ",")))

	_, err := n.try(t, "", "state", "get", "s", "x", "--at", "99")
	require.Error(t, err, "a point beyond the end is no state")
	out, err := n.try(t, "", "state", "get", "s", "nobody")
	require.Equal(t, exitError(1), err)
	require.Contains(t, out, `has no key "nobody"`)

	n.run(t, "", "topic", "create", "two", "--cleanup-policy", "compact", "--partitions", "2")
	n.run(t, "a\t1\nb\t2\nc\t3\n", "produce", "two")
	_, err = n.try(t, "", "state", "scan", "two", "--at", "1")
	require.Error(t, err, "a bare offset says nothing with two partitions")
	require.Len(t, value("state", "scan", "two"), 3)
}

func TestExportIsAFrame(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "e", "--cleanup-policy", "compact")
	n.run(t, "a\t1\nb\t2\na\t3\n", "produce", "e")
	path := filepath.Join(t.TempDir(), "e.frame")
	n.run(t, "", "state", "export", "e", "--output", path)
	rows := readFrame(t, path)
	require.Equal(t, map[string]string{"a": "3", "b": "2"}, rows)
	n.run(t, "", "state", "export", "e", "--at", "2", "--output", path)
	require.Equal(t, map[string]string{"a": "1", "b": "2"}, readFrame(t, path))
}

// A refused line is named with its reason, and the others are produced.
func TestRefusedLines(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "c", "--fold", "counter")
	out, err := n.try(t, "a\t1\nb\tmany\nno key\nc\t3\n", "produce", "c")
	require.ErrorContains(t, err, "2 line(s)")
	require.Contains(t, out, "line 2:")
	require.Contains(t, out, "many")
	require.Contains(t, out, "line 3:")
	require.Contains(t, out, "key")
	require.Len(t, lines(t, n.run(t, "", "state", "scan", "c", "--format", "jsonl")), 2)
}

func TestReplicaResumesFromItsDirectory(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "r", "--cleanup-policy", "compact")
	n.run(t, "a\t1\nb\t2\n", "produce", "r")
	dir := filepath.Join(t.TempDir(), "replica")
	first := n.run(t, "", "replica", "run", "r", "--dir", dir, "--exit")
	require.Contains(t, first, "equal, 2 rows")
	n.run(t, "c\t3\n", "produce", "r")
	second := n.run(t, "", "replica", "run", "r", "--dir", dir, "--exit")
	require.Contains(t, second, "resumed")
	require.Contains(t, second, "equal, 3 rows")
	n.run(t, "", "frames", "cut", "r")
	third := n.run(t, "", "replica", "run", "r", "--dir", dir, "--exit")
	require.Equal(t, 1, strings.Count(third, "partition 0 at 3: equal"), "a frame was cut at the end, and both verdicts are one:\n%s", third)
}

func TestClearMessages(t *testing.T) {
	n := startNode(t)
	replica := t.TempDir()
	d, err := engine.OpenDir(engine.Config{Dir: replica, Kind: engine.Replica})
	require.NoError(t, err)
	require.NoError(t, d.Close())
	for name, x := range map[string]struct {
		args []string
		want string
	}{
		"no such topic":       {[]string{"state", "scan", "nope"}, `"nope": keyframe topic list`},
		"describe no topic":   {[]string{"topic", "describe", "nope"}, "nope"},
		"not key-framed":      {[]string{"state", "scan", "plain"}, "keyframe topic alter plain --cleanup-policy compact"},
		"bad fold":            {[]string{"topic", "create", "x", "--fold", "sum"}, "sum"},
		"bad config":          {[]string{"topic", "create", "x", "--topic-config", "keyframe.retian=3"}, "keyframe.retain"},
		"bad topic name":      {[]string{"topic", "create", "a/b"}, "a/b"},
		"bad format":          {[]string{"topic", "list", "--format", "xml"}, "jsonl"},
		"unknown flag":        {[]string{"topic", "list", "--fromat", "json"}, "--format"},
		"unknown command":     {[]string{"topics"}, "topic"},
		"beyond loopback":     {[]string{"serve", "--kafka-addr", "0.0.0.0:0", "--data-dir", filepath.Join(t.TempDir(), "d")}, "--insecure"},
		"replica's directory": {[]string{"serve", "--kafka-addr", "127.0.0.1:0", "--state-addr", "127.0.0.1:0", "--data-dir", replica}, "the state of a replica"},
		"offline replica":     {[]string{"check", "--data-dir", replica}, "it is a replica's"},
		"directory is in use": {[]string{"serve", "--kafka-addr", "127.0.0.1:0", "--state-addr", "127.0.0.1:0", "--data-dir", n.dir}, "in use"},
		"no data directory":   {[]string{"check", "--data-dir", filepath.Join(t.TempDir(), "nope")}, "nope"},
	} {
		if name == "not key-framed" {
			n.run(t, "", "topic", "create", "plain")
		}
		_, err := n.try(t, "", x.args...)
		require.ErrorContains(t, err, x.want, name)
	}
	t.Setenv(envName("brokers"), "127.0.0.1:1")
	_, err = command(t, "", "topic", "list")
	require.ErrorContains(t, err, "127.0.0.1:1")
	require.Contains(t, explain(err), "keyframe serve")
}

package main

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTopicDescribe(t *testing.T) {
	n := startNode(t)
	created := n.run(t, "", "topic", "create", "users", "--cleanup-policy", "compact", "--partitions", "2")
	n.run(t, `{"key":"a","value":"1","partition":1}`, "produce", "users", "--input", "jsonl")
	n.run(t, "", "frames", "cut", "users")
	n.run(t, `{"key":"b","value":"2","partition":1}`, "produce", "users", "--input", "jsonl")

	rows := lines(t, n.run(t, "", "topic", "describe", "users", "--format", "jsonl"))
	require.Len(t, rows, 1, "one object")
	requireListOfOne(t, n.run(t, "", "topic", "describe", "users", "--format", "json"), n.run(t, "", "topic", "describe", "--help"))
	id := rows[0]["id"].(string)
	bytes, err := base64.RawURLEncoding.DecodeString(id)
	require.NoError(t, err, "an id is printed as Kafka's tools do")
	require.Len(t, bytes, 16)
	require.Contains(t, created, "id "+id)
	require.Equal(t, id, lines(t, n.run(t, "", "topic", "list", "--format", "jsonl"))[0]["id"])
	partitions := rows[0]["partitions"].([]any)
	require.Len(t, partitions, 2)
	p := partitions[1].(map[string]any)
	for column, want := range map[string]float64{"partition": 1, "log_start": 0, "delta_start": 0, "high_watermark": 2, "frames": 1, "newest_cut": 1} {
		require.Equal(t, want, p[column], column)
	}
	require.Contains(t, rows[0]["configs"], map[string]any{"config": "cleanup.policy", "value": "compact", "source": "DYNAMIC_TOPIC_CONFIG"})

	out := n.run(t, "", "topic", "describe", "users")
	tables := strings.Split(out, "\n\n")
	require.Len(t, tables, 3, "the topic, its configs, its partitions:\n%s", out)
	require.Contains(t, tables[0], id)
	require.Contains(t, tables[1], "cleanup.policy")
	require.Contains(t, strings.ToLower(tables[2]), "delta_start")
	require.NotContains(t, strings.ToLower(tables[2]), "failure", "a column that is empty throughout is left out")

	// Without the state plane there is what Kafka knows.
	out = n.run(t, "", "topic", "describe", "users", "--state-url", "http://127.0.0.1:1")
	require.Contains(t, out, "without delta start and key frames: the state plane at http://127.0.0.1:1 (flag --state-url)")
	require.Contains(t, strings.ToLower(out), "high_watermark")
}

// What a topic gives up is said where somebody looks at it.
func TestTopicDescribeSaysWhatIsNotSynced(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "synced")
	n.run(t, "", "topic", "create", "fast", "--topic-config", "flush.messages=9223372036854775807")
	require.NotContains(t, n.run(t, "", "topic", "describe", "synced"), "before they are synced")
	require.Contains(t, n.run(t, "", "topic", "describe", "fast"), "records are acknowledged and visible before they are synced")
}

func TestTopicAlter(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "users")
	configs := func() map[string]string {
		set := map[string]string{}
		for _, c := range lines(t, n.run(t, "", "topic", "describe", "users", "--format", "jsonl"))[0]["configs"].([]any) {
			if c := c.(map[string]any); c["source"] == "DYNAMIC_TOPIC_CONFIG" {
				set[c["config"].(string)] = c["value"].(string)
			}
		}
		return set
	}
	// A topic that another tool made, which knows no fold, gets it here while it is empty.
	out := n.run(t, "", "topic", "alter", "users", "--cleanup-policy", "compact,delete", "--fold", "counter", "--topic-config", "retention.ms=1000", "--partitions", "3")
	require.Contains(t, out, "3 config(s)")
	require.Contains(t, out, "3 partition(s)")
	require.Equal(t, map[string]string{"cleanup.policy": "compact,delete", "keyframe.fold": "counter", "retention.ms": "1000"}, configs())
	require.EqualValues(t, 3, lines(t, n.run(t, "", "topic", "list", "--format", "jsonl"))[0]["partitions"])

	n.run(t, "", "topic", "alter", "users", "--unset", "retention.ms", "--cleanup-policy", "compact")
	require.Equal(t, map[string]string{"cleanup.policy": "compact", "keyframe.fold": "counter"}, configs())

	n.run(t, "a\t1\n", "produce", "users")
	for name, x := range map[string]struct {
		args []string
		want string
	}{
		"a fold among records": {[]string{"users", "--fold", "last-value"}, "keyframe.fold"},
		"one of two is wrong":  {[]string{"users", "--topic-config", "retention.ms=5", "--topic-config", "retention.mss=5"}, "did you mean retention.ms"},
		"less partitions":      {[]string{"users", "--partitions", "1"}, "1 would not be an increase. (INVALID_PARTITIONS)"},
		"unset a misspelt one": {[]string{"users", "--topic-config", "retention.ms=5", "--unset", "retention.bites"}, "did you mean retention.bytes?"},
		"unset what is none":   {[]string{"users", "--unset", "nonsense"}, "keyframe topic describe users lists them"},
		"no such topic":        {[]string{"none", "--unset", "retention.ms"}, "does not exist"},
		"nothing":              {[]string{"users"}, "nothing to change"},
	} {
		out, err := n.try(t, "", append([]string{"topic", "alter"}, x.args...)...)
		require.ErrorContains(t, err, x.want, "%s: %s", name, out)
	}
	require.Equal(t, map[string]string{"cleanup.policy": "compact", "keyframe.fold": "counter"}, configs(), "all or nothing")
}

// requireListOfOne checks what --format json prints, and that the help says so.
func requireListOfOne(t *testing.T, printed, help string) {
	t.Helper()
	var list []map[string]any
	require.NoError(t, json.Unmarshal([]byte(printed), &list))
	require.Len(t, list, 1)
	require.Contains(t, help, "--format json prints a list of one object")
}

package main

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What a shell asks at a tab.
func TestCompletion(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "users")
	n.run(t, "", "topic", "create", "stock")
	for _, x := range []struct{ line, want string }{
		{"consume |", "stock users"},
		{"state scan |", "stock users"},
		{"state get users |", ""},
		{"topic delete users |", "stock"},
		{"topic list --format |", "table json jsonl"},
		{"topic create x --fold |", "last-value json-merge-patch counter debezium"},
		{"topic create x --cleanup-policy |", "delete compact compact,delete"},
		{"topic alter |", "stock users"},
		{"produce users --op |", "put delete merge add"},
		{"produce users --input |", "text jsonl"},
		{"consume users --from |", "earliest latest"},
		{"replica run users --from |", "frame earliest"},
		{"replica run users --on-drift |", "repair report halt rebootstrap"},
		{"serve --log-level |", "debug info warn error"},
		{"serve --fold 'stock-*=|", "stock-*=last-value stock-*=json-merge-patch stock-*=counter stock-*=debezium"},
	} {
		args := strings.Split(strings.ReplaceAll(strings.TrimSuffix(x.line, "|"), "'", ""), " ")
		require.Eventually(t, func() bool { // a shell waits for a second at most, whatever keeps the broker
			words, _, _ := strings.Cut(n.run(t, "", append([]string{"__complete"}, args...)...), ":")
			return x.want == strings.Join(strings.Fields(words), " ")
		}, time.Minute, time.Millisecond, x.line)
	}
	t.Setenv(envName("brokers"), "127.0.0.1:1")
	out, err := command(t, "", "__complete", "consume", "")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(out, ":"), "nothing to complete, and no message in its place: %s", out)
}

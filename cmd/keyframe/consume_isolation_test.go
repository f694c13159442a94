package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// What a transaction has not committed is printed only to who takes everything; --exit waits for no open transaction.
func TestConsumeIsolation(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "t")
	n.run(t, "plain\n", "produce", "t")
	transact := func(id, value string) *kgo.Client {
		cl, err := kgo.NewClient(kgo.SeedBrokers(n.kafka), kgo.TransactionalID(id), kgo.DefaultProduceTopic("t"))
		require.NoError(t, err)
		t.Cleanup(cl.Close)
		require.NoError(t, cl.BeginTransaction())
		require.NoError(t, cl.ProduceSync(t.Context(), kgo.StringRecord(value)).FirstErr())
		return cl
	}
	require.NoError(t, transact("c", "committed").EndTransaction(t.Context(), kgo.TryCommit))
	require.NoError(t, transact("a", "aborted").EndTransaction(t.Context(), kgo.TryAbort))
	transact("o", "open")
	n.run(t, "behind\n", "produce", "t")

	values := func(args ...string) string {
		var all []string
		for _, r := range lines(t, n.run(t, "", append([]string{"consume", "t", "--exit", "--format", "jsonl"}, args...)...)) {
			all = append(all, r["value"].(string))
		}
		return strings.Join(all, " ")
	}
	require.Equal(t, "plain committed aborted open behind", values())
	require.Equal(t, "plain committed", values("--isolation-level", "read_committed"))
	require.Equal(t, "plain committed", values("--isolation-level", "read_committed", "--group", "g"))
	require.Empty(t, values("--isolation-level", "read_committed", "--group", "g"), "the group is at the end of what is decided")
	require.Equal(t, "open behind", values("--group", "g"), "and not beyond it")

	p := lines(t, n.run(t, "", "topic", "describe", "t", "--format", "jsonl"))[0]["partitions"].([]any)[0].(map[string]any)
	require.EqualValues(t, 5, p["last_stable"], "describe says where the open transaction holds readers back")
	require.Greater(t, p["high_watermark"], p["last_stable"])

	_, err := n.try(t, "", "consume", "t", "--isolation-level", "commited")
	require.ErrorContains(t, err, "read_committed")
}

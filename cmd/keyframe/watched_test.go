package main

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client"
)

// Whoever watched a copy that was wrong, and comes back after it was put right while nobody had it open, is not left with what was wrong.
func TestWatchersOfARepairedCopy(t *testing.T) {
	n := startNode(t)
	dir := filepath.Join(t.TempDir(), "replica")
	n.run(t, "", "topic", "create", "users", "--cleanup-policy", "compact")
	n.run(t, "alice\t1\nbob\t1\n", "produce", "users")
	n.copyTo(t, "users", dir, mutated(map[string]string{"bob": "wrong"}))
	open := func() *client.Replica {
		r, err := client.OpenReplica(t.Context(), client.Config{
			Brokers: []string{n.kafka}, StateURL: n.state, Topic: "users", Store: client.Dir(dir), OnDrift: client.Report,
		})
		require.NoError(t, err)
		return r
	}
	r, told := open(), map[string]string{}
	var at client.Positions
	for c, err := range r.Watch(t.Context(), nil) {
		require.NoError(t, err)
		if told[string(c.Key)] = string(c.Value); len(told) == 2 {
			at = client.Positions{c.Partition: c.Next}
			break
		}
	}
	require.Equal(t, map[string]string{"alice": "1", "bob": "wrong"}, told)
	require.NoError(t, r.Close())
	require.Contains(t, n.run(t, "", "repair", "users", "--dir", dir), "repaired, logical drift: 1 key")
	r = open()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var reset *client.WatchResetError
	for c, err := range r.Watch(ctx, at) {
		require.ErrorAs(t, err, &reset, "%+v", c)
	}
	require.NotNil(t, reset)
	require.Equal(t, at[0].Offset+1, reset.Horizon.Offset)
	require.NoError(t, r.Close())
}

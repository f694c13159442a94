package topics

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// flush.messages reaches the logs: of a new topic, of partitions that it gets later, after a change, by default, and after a restart.
func TestFlushMessagesReachesTheLogs(t *testing.T) {
	fs := vfs.NewMem()
	shows := func(topic *Topic) (list []bool) {
		for _, p := range topic.Partitions {
			list = append(list, p.Log.ShowsUnsynced())
		}
		return list
	}
	t.Run("before", func(t *testing.T) {
		r := open(t, fs, nil)
		topic := mustCreate(t, r, "t", 2)
		require.Equal(t, []bool{false, false}, shows(topic), "our default is to sync")
		require.NoError(t, r.AlterConfigs(t.Context(), "t", []Change{{Name: "flush.messages", Value: "9223372036854775807"}}, false))
		require.Equal(t, []bool{true, true}, shows(topic))
		topic, err := r.Grow(t.Context(), "t", 3)
		require.NoError(t, err)
		require.Equal(t, []bool{true, true, true}, shows(topic))
		other := mustCreate(t, r, "other", 1)
		require.NoError(t, r.SetDefaults(t.Context(), Defaults{"flush.messages": "1000"}, nil))
		require.Equal(t, []bool{true}, shows(other))
		require.NoError(t, r.SetDefaults(t.Context(), nil, nil))
		require.Equal(t, []bool{false}, shows(other))
		require.Equal(t, []bool{true}, shows(mustCreate(t, r, "lazy", 1, "flush.messages", "2")))
	})
	r := open(t, fs, nil)
	topic, _ := r.Get("t")
	require.Equal(t, []bool{true, true, true}, shows(topic))
	require.NoError(t, r.AlterConfigs(t.Context(), "t", []Change{{Name: "flush.messages", Op: OpDelete}}, false))
	require.Equal(t, []bool{false, false, false}, shows(topic))
}

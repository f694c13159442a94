package topics

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// A topic that grows is the same topic: what is there stays, who holds the old one shares its configuration and hears of its end.
func TestGrow(t *testing.T) {
	fs := vfs.NewMem()
	t.Run("live", func(t *testing.T) {
		r := open(t, fs, nil)
		before := mustCreate(t, r, "a", 1, "retention.ms", "5")
		var told []*Topic
		r.AddHooks(Hooks{Grown: func(t *Topic) { told = append(told, t) }})
		after, err := r.Grow(t.Context(), "a", 3)
		require.NoError(t, err)
		require.Equal(t, []*Topic{after}, told)
		require.Len(t, before.Partitions, 1)
		require.Len(t, after.Partitions, 3)
		require.Same(t, before.Partitions[0], after.Partitions[0])
		for i, p := range after.Partitions {
			require.Equal(t, int32(i), p.Index)
			require.NotZero(t, p.Incarnation())
			require.Zero(t, p.Log.Bounds().LogEnd)
		}
		require.Equal(t, before.ID, after.ID)
		got, _ := r.ByID(before.ID)
		require.Same(t, after, got)
		require.NoError(t, r.SetConfigs(t.Context(), "a", map[string]string{"retention.ms": "6"}))
		require.EqualValues(t, 6, before.Config().RetentionMs)
		require.EqualValues(t, 6, after.Config().RetentionMs)
		renewed, err := after.Partitions[2].RenewIncarnation(t.Context())
		require.NoError(t, err)
		require.Equal(t, renewed, after.Partitions[2].Incarnation())

		for _, total := range []int32{3, 2, 0, -1, maxPartitions + 1} {
			_, err := r.Grow(t.Context(), "a", total)
			require.ErrorAs(t, err, new(*PartitionsError), "%d", total)
		}
		_, err = r.Grow(t.Context(), "nope", 2)
		require.ErrorIs(t, err, ErrNotFound)
	})
	t.Run("after a restart", func(t *testing.T) {
		r := open(t, fs, nil)
		topic, ok := r.Get("a")
		require.True(t, ok)
		require.Len(t, topic.Partitions, 3)
		require.NoError(t, r.Delete(t.Context(), "a"))
		<-topic.Gone()
	})
}

func TestGoneIsOfTheTopicOfBeforeToo(t *testing.T) {
	r := open(t, vfs.NewMem(), nil)
	before := mustCreate(t, r, "a", 1)
	_, err := r.Grow(t.Context(), "a", 2)
	require.NoError(t, err)
	require.NoError(t, r.Delete(t.Context(), "a"))
	<-before.Gone()
	require.NoError(t, r.Close())
	_, err = r.Grow(t.Context(), "a", 2)
	require.ErrorIs(t, err, ErrClosed)
}

package catalog

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

func TestGrow(t *testing.T) {
	c, db := open(t, vfs.NewMem())
	defer func() { require.NoError(t, db.Close()) }()
	before, err := c.Create(Spec{Name: "t", Partitions: 2, Configs: []Config{{"a", "1"}}})
	require.NoError(t, err)
	_, err = c.Create(Spec{Name: "u", Partitions: 3})
	require.NoError(t, err)

	after, err := c.Grow("t", 4)
	require.NoError(t, err)
	require.Equal(t, before.Partitions, after.Partitions[:2], "what was there stays")
	require.Equal(t, []uint32{5, 6}, []uint32{after.Partitions[2].Ordinal, after.Partitions[3].Ordinal})
	require.NotEqual(t, after.Partitions[2].Incarnation, after.Partitions[3].Incarnation)
	require.NotZero(t, after.Partitions[2].Incarnation)
	require.Len(t, before.Partitions, 2, "nobody's copy changes")
	after.Partitions = before.Partitions
	require.Equal(t, before, after, "nothing else changes")

	for _, total := range []int{4, 3, 0, -1, maxPartitions + 1} {
		_, err = c.Grow("t", total)
		require.ErrorIs(t, err, ErrInvalid, "%d", total)
	}
	_, err = c.Grow("nope", 2)
	require.ErrorIs(t, err, ErrTopicNotFound)
}

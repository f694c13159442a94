package catalog

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/storage/keys"
)

func TestResourceConfigs(t *testing.T) {
	fs := vfs.NewMem()
	c, db := open(t, fs)
	all, err := c.ResourceConfigs()
	require.NoError(t, err)
	require.Empty(t, all)

	brokers, broker, group := Resource{4, ""}, Resource{4, "1"}, Resource{32, "a/b 0\x00"}
	require.NoError(t, c.SetResourceConfigs(brokers, []Config{{"log.retention.ms", "5"}, {"a", ""}}, false))
	require.NoError(t, c.SetResourceConfigs(broker, []Config{{"message.max.bytes", "7"}}, false))
	require.NoError(t, c.SetResourceConfigs(group, []Config{{"consumer.session.timeout.ms", "46000"}}, false))
	require.ErrorIs(t, c.SetResourceConfigs(group, []Config{{"a", "1"}, {"a", "2"}}, false), ErrInvalid)

	require.NoError(t, db.Close())
	c, db = open(t, fs)
	defer db.Close()
	all, err = c.ResourceConfigs()
	require.NoError(t, err)
	require.Equal(t, map[Resource][]Config{
		brokers: {{"a", ""}, {"log.retention.ms", "5"}}, broker: {{"message.max.bytes", "7"}}, group: {{"consumer.session.timeout.ms", "46000"}},
	}, all)

	require.NoError(t, c.SetResourceConfigs(brokers, nil, false))
	all, err = c.ResourceConfigs()
	require.NoError(t, err)
	require.NotContains(t, all, brokers)
	require.Len(t, all, 2)
	require.NotEmpty(t, c.ClusterID(), "the other broker-wide values are untouched")
}

func TestDamagedResourceConfigs(t *testing.T) {
	good := keys.Versioned(appendConfigs(nil, []Config{{"a", "1"}}))
	for _, bad := range [][]byte{{}, good[:len(good)-1], append(good[:len(good):len(good)], 0), keys.Versioned([]byte{9})} {
		_, err := decodeConfigs(bad)
		require.ErrorIs(t, err, keys.ErrCorrupt)
	}
	_, err := decodeConfigs([]byte{9, 0})
	require.ErrorIs(t, err, keys.ErrVersion)
	for _, bad := range []string{"", "4", "x/1", "256/1"} {
		_, err := parseResource(bad)
		require.ErrorIs(t, err, keys.ErrCorrupt)
	}
}

package keyframer_test

import (
	"fmt"
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/topics"
)

// Rows that a topic has lost while it was not key-framed: counters that were folded onto them add up to something else now, so positions of
// before mean nothing any more. Last values are what they were.
func TestFoldedAnewAboveLostRows(t *testing.T) {
	for _, x := range []struct {
		kind             string
		renewed, restart bool
	}{{"counter", true, false}, {"counter", true, true}, {"json-merge-patch", true, false}, {"last-value", false, false}, {"last-value", false, true}} {
		t.Run(fmt.Sprintf("%s/restart %v", x.kind, x.restart), func(t *testing.T) {
			n := newNode(t, keyframer.Config{})
			r := n.register()
			defer func() { r.close() }()
			configs := map[string]string{"cleanup.policy": "compact,delete", "keyframe.fold": x.kind, "retention.ms": "-1"}
			topic, err := r.topics.Create(t.Context(), topics.Spec{Name: topicName, Partitions: 1, Configs: configs})
			require.NoError(t, err)
			policy := func(p string) {
				c := maps.Clone(configs)
				c["cleanup.policy"] = p
				require.NoError(t, r.topics.SetConfigs(t.Context(), topicName, c))
			}
			put(t, topic, "a", "10")
			put(t, topic, "b", "1")
			put(t, topic, "a", "1")
			p := topic.Partitions[0]
			was := p.Incarnation()
			n.applied() // else there may be a frame at 1, from which everything can be folded on
			_, err = r.topics.DeleteRecords(t.Context(), topic, p, 1)
			require.NoError(t, err)
			n.cut()
			require.EqualValues(t, 1, n.table(0).Start())
			held := n.partition(0)
			policy("delete")
			r.topics.Retain(t.Context())
			require.EqualValues(t, 1, p.Log.Bounds().DeltaStart)
			if x.restart {
				r.close()
				n.restart()
				r = n.register()
				topic, _ = r.topics.Get(topicName)
				p = topic.Partitions[0]
				require.Equal(t, was, p.Incarnation())
			}
			policy("compact,delete")
			n.applied()
			v, ok := n.get(0, "a")
			require.True(t, ok)
			require.Equal(t, "1", v)
			require.Equal(t, x.renewed, was != p.Incarnation())
			require.Equal(t, p.Incarnation(), n.partition(0).Incarnation)
			require.Equal(t, p.Incarnation(), n.table(0).Identity().Incarnation)

			if !x.restart {
				_, err = held.Live()
				require.ErrorIs(t, err, keyframer.ErrReopening, "whoever came too early asks again")
			}
		})
	}
}

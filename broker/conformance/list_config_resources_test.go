package conformance_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

func configResources(c *raw.Conn, version int16, types ...int8) (list map[int8][]string, code int16) {
	c.T.Helper()
	resp := raw.Do[*kmsg.ListConfigResourcesResponse](c, &kmsg.ListConfigResourcesRequest{Version: version, ResourceTypes: types})
	list = map[int8][]string{}
	for _, r := range resp.ConfigResources {
		kind := r.Type
		if version == 0 {
			kind = int8(ofMetrics) // version 0 has no types
		}
		list[kind] = append(list[kind], r.Name)
	}
	return list, resp.ErrorCode
}

func TestListConfigResources(t *testing.T) {
	c := start(t).Dial(t)
	tp, group, metrics := raw.CreateTopic(c, 1), raw.TopicName(t), raw.TopicName(t)
	require.Zero(t, alter(c, ofGroup, group, set("consumer.session.timeout.ms", "46000")))
	require.Zero(t, alter(c, ofMetrics, metrics, set("interval.ms", "1000")))
	t.Cleanup(func() {
		alter(c, ofGroup, group, unset("consumer.session.timeout.ms"))
		alter(c, ofMetrics, metrics, unset("interval.ms"))
	})
	require.Eventually(t, func() bool {
		all, code := configResources(c, 1)
		require.Zero(t, code)
		require.Equal(t, []string{"1"}, all[int8(ofBroker)])
		require.Equal(t, []string{"1"}, all[int8(ofLogger)])
		return contains(all[int8(ofTopic)], tp.Name) && contains(all[int8(ofGroup)], group) && contains(all[int8(ofMetrics)], metrics)
	}, time.Minute, 5*time.Millisecond)
	some, code := configResources(c, 1, int8(ofGroup), int8(ofBroker))
	require.Zero(t, code)
	require.Len(t, some, 2)
	require.Contains(t, some[int8(ofGroup)], group)
	subscriptions, code := configResources(c, 0)
	require.Zero(t, code)
	require.Contains(t, subscriptions[int8(ofMetrics)], metrics)
	_, code = configResources(c, 1, 99)
	require.Equal(t, int16(35), code)
}

func contains(list []string, name string) bool {
	for _, n := range list {
		if n == name {
			return true
		}
	}
	return false
}

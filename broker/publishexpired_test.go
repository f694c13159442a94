package broker

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/state"
)

// A row that the log start has passed since the cut nobody wrote: the topic lacks it, whether it is compared at that cut or now, run dry or published, and
// it is put again.
func TestPublishStateOfRowsThatHaveExpired(t *testing.T) {
	b := startBroker(t)
	s := b.sourced(t, "u", "last-value", 1)
	require.NoError(t, b.topics.SetConfigs(s.ctx, "u", map[string]string{
		"cleanup.policy": "compact,delete", "retention.ms": "-1", "keyframe.fold": "last-value", "keyframe.interval.ms": "3600000",
	}))
	source := map[string]string{"a": "1", "b": "2", "c": "3"}
	for _, key := range []string{"a", "b", "c"} {
		s.write(0, key, source[key])
	}
	first, err := s.p.PublishState(s.ctx, sourceOf(source), client.PublishOptions{DryRun: true})
	require.NoError(t, err)
	require.Equal(t, client.Equal, first.Verdict)
	point := &state.At{Point: &state.At_Cut{Cut: first.Cut}}
	expire := func(start int64) {
		_, err := b.topics.DeleteRecords(s.ctx, s.topic, s.topic.Partitions[0], start)
		require.NoError(t, err)
		_, err = b.keyframer.Cut(s.ctx, "u")
		require.NoError(t, err)
	}
	s.write(0, "a", "1") // as it is
	expire(2)
	require.Equal(t, map[string]string{"a": "1", "c": "3"}, s.state())

	var named []client.Difference
	requireLacks := func(c client.Comparison, err error) {
		t.Helper()
		require.NoError(t, err)
		require.Equal(t, client.Drifted, c.Outcome)
		require.Empty(t, c.Reason)
		require.EqualValues(t, 1, c.Puts)
		require.Zero(t, c.Deletes+c.Moved)
		require.Len(t, named, 1)
		require.Equal(t, "b", string(named[0].Key))
		require.Zero(t, named[0].Log)
		require.EqualValues(t, 4, named[0].Cut)
		named = nil
	}
	onDifference := func(d client.Difference) { named = append(named, d) }
	for _, at := range []*state.At{nil, point} {
		requireLacks(client.Compare(s.ctx, client.CompareConfig{
			StateURL: "http://" + b.StateAddr().String(), HTTPClient: s.http, Topic: "u", At: at, OnDifference: onDifference,
		}, sourceOf(source)))
		dry, err := s.p.PublishState(s.ctx, sourceOf(source), client.PublishOptions{At: at, DryRun: true, OnDifference: onDifference})
		requireLacks(dry.Comparison, err)
		require.Equal(t, client.Drifted, dry.Verdict)
	}
	done, err := s.p.PublishState(s.ctx, sourceOf(source), client.PublishOptions{At: point, OnDifference: onDifference})
	requireLacks(done.Comparison, err)
	require.Equal(t, first.Offsets, done.Offsets, "the cut that counts is the one that was asked for")
	require.Equal(t, client.Equal, done.Verdict, done.Reason)
	require.EqualValues(t, 1, done.Written)
	require.Equal(t, source, s.state())
	again, err := s.p.PublishState(s.ctx, sourceOf(source), client.PublishOptions{At: point})
	require.NoError(t, err)
	require.Equal(t, client.Equal, again.Verdict)
	require.Zero(t, again.Written)
}

package state_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/broker/lease"
	api "github.com/keyframelog/keyframe/proto/state"
)

// A lease is renewed as long as what it names is there, or is needed no more; else it ends with the reason, whatever the desk knows of it.
func TestRenewLooksAtWhatIsThere(t *testing.T) {
	n := newNode(t, 1, nil)
	changed(n, 100)
	n.cut()
	n.logs[0].Append(memlog.Delete("key37")) // the last delta below the delta start offset, so that the horizon comes to lie there
	n.cut()
	n.logs[0].Append(memlog.Put("end", "x"))
	n.trimTo(101, calm())
	p, err := n.k.Partition(topicName, 0)
	require.NoError(t, err)
	tab, err := p.Table()
	require.NoError(t, err)
	settings := calm()
	settings.DeltaRetentionMs, settings.DeleteRetentionMs = 0, 0
	require.Eventually(t, func() bool {
		n.clock.ms.Add(2000)
		_ = n.k.Configure(topicName, settings)
		return tab.Horizon() == 101
	}, time.Minute, time.Millisecond)
	horizon := tab.Horizon()

	for name, x := range map[string]struct {
		change   func(*lease.Terms)
		position int64
		why      api.Reason // unspecified: renewed
	}{
		"all is there":               {func(*lease.Terms) {}, -1, 0},
		"another incarnation":        {func(l *lease.Terms) { l.Incarnation[5] = 1 }, -1, api.Reason_REASON_LEASE_REVOKED},
		"a partition that is not":    {func(l *lease.Terms) { l.Partition = 1 }, -1, api.Reason_REASON_LEASE_REVOKED},
		"a frame that is gone":       {func(l *lease.Terms) { l.Cut = 100 }, -1, api.Reason_REASON_LEASE_REVOKED},
		"it repairs at such a frame": {func(l *lease.Terms) { l.Cut = 100 }, 100, api.Reason_REASON_LEASE_REVOKED},
		"it has passed such a frame": {func(l *lease.Terms) { l.Cut, l.From = 100, 100 }, 101, 0},
		"deltas that are gone":       {func(l *lease.Terms) { l.From = 50 }, -1, api.Reason_REASON_LEASE_REVOKED},
		"deltas it has applied":      {func(l *lease.Terms) { l.From = 50 }, 101, 0},
		"tombstones from here on":    {func(l *lease.Terms) { l.Since = horizon }, -1, 0},
		"tombstones that are gone":   {func(l *lease.Terms) { l.Since = horizon - 1 }, -1, api.Reason_REASON_LEASE_REVOKED},
		"tombstones it has applied":  {func(l *lease.Terms) { l.Since = horizon - 1 }, 101, 0},
		"not key-framed any more":    {func(l *lease.Terms) { l.Topic, l.TopicID = "plain", [16]byte{5} }, -1, api.Reason_REASON_LEASE_REVOKED},
		"deleted":                    {func(l *lease.Terms) { l.Topic, l.TopicID = "gone", [16]byte{6} }, -1, api.Reason_REASON_TOPIC_DELETED},
		"created anew":               {func(l *lease.Terms) { l.TopicID[5] = 1 }, -1, api.Reason_REASON_TOPIC_DELETED},
	} {
		terms := leaseTerms(n, 101)
		terms.Replica = name
		x.change(&terms)
		l, err := n.leases.Grant(terms)
		require.NoError(t, err)
		err = n.renew(l.ID[:], x.position, false)
		if x.why == 0 {
			require.NoError(t, err, name)
			continue
		}
		for range 2 {
			_, why, _ := reason(t, err)
			require.Equal(t, x.why, why, name)
			err = n.renew(l.ID[:], x.position, false)
		}
	}
}

// A call that is over lets its frame go: as many partitions as one likes are repaired one after the other.
func TestRepairsMakeRoom(t *testing.T) {
	n := newNode(t, 5, nil)
	for _, l := range n.logs {
		l.Append(memlog.Put("a", "1"))
	}
	n.cut()
	for partition := range int32(5) {
		_, _, _, err := n.sketch(&api.SketchRequest{Partition: partition, Cut: 1, Cells: 8})
		require.NoError(t, err)
		_, _, err = n.resolve(&api.ResolveRequest{Partition: partition, Cut: 1, Tags: packed(1)})
		require.NoError(t, err)
		_, _, err = n.tags(&api.TagsRequest{Partition: partition, Cut: 1})
		require.NoError(t, err)
		n.clock.ms.Add(10_000)
	}
}

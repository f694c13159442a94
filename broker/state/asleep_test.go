package state_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/broker/lease"
	"github.com/keyframelog/keyframe/proto/batch"
	api "github.com/keyframelog/keyframe/proto/state"
)

// updates appends so many updates of few keys, and returns the state after them.
func (n *node) updates(m model, many, keys int) model {
	m = m.clone()
	at := n.logs[0].Bounds().LogEnd
	records := make([]batch.Record, many)
	for i := range records {
		key, value := fmt.Sprint("few", i%keys), fmt.Sprint("value", at+int64(i))
		records[i] = memlog.Put(key, value)
		m[key] = modelRow{value, at + int64(i)}
	}
	n.logs[0].Append(records...)
	return m
}

// Who slept through many updates of few keys is given each key once, though the log has all of them; who was away for a moment follows the log.
func TestResumeAfterManyUpdatesOfFewKeys(t *testing.T) {
	n := newLimitedNode(t, 1, func(c *lease.Config) { c.LeasesMax = 2 }, nil)
	at := changed(n, 100)
	n.cut()
	slept := n.updates(at[100], 10_000, 7)
	n.cut()
	require.Zero(t, n.logs[0].Bounds().DeltaStart, "nothing was trimmed")
	ask := func(replica string, m model, position int64) *api.ResumeResponse {
		t.Helper()
		got, err := n.resume(&api.ResumeRequest{Replica: replica, Incarnation: incarnation(), LeaderEpoch: -1, Points: []*api.Point{pointAt(position, m.digest())}})
		require.NoError(t, err)
		return got
	}
	got := ask("asleep", at[60], 60)
	require.Equal(t, api.Answer_ANSWER_DELTA, got.Answer, got.Why)
	require.Equal(t, []int64{10_100, 60, 10_100}, []int64{got.From, got.Since, got.Frame.Cut})
	from, since, cuts := n.leases.Held([16]byte{7}, 0)
	require.Equal(t, []int64{10_100, 60}, []int64{from, since}, "what changed since is held")
	require.Equal(t, []int64{10_100}, cuts)
	_, body := n.request(http.MethodGet, sincePath(got.From, got.Since))
	m := at[60].clone()
	_, footer := m.apply(t, body)
	require.Equal(t, slept, m)
	require.LessOrEqual(t, footer.Rows, uint64(48), "each key once")
	require.Less(t, len(body), 3000)

	require.Equal(t, api.Answer_ANSWER_CONTINUE, ask("away for a moment", slept, 9000).Answer)
	require.Equal(t, api.Answer_ANSWER_CONTINUE, ask("never away", slept, 10_100).Answer)
	other := ask("differs", at[60], 100)
	require.Equal(t, api.Answer_ANSWER_REPAIR, other.Answer, "a state that is known to differ is repaired, whatever it slept through")

	// All leases are out: the log has everything.
	require.Len(t, n.leases.Leases(), 2)
	got = ask("one too many", at[60], 60)
	require.Equal(t, api.Answer_ANSWER_CONTINUE, got.Answer, got.Why)
	require.EqualValues(t, 60, got.From)
	require.Nil(t, got.Frame)
	require.Nil(t, got.Lease)
	require.NotEmpty(t, got.Why)
}

// Where each update is of a key of its own, the log is as good.
func TestResumeAfterManyUpdatesOfManyKeys(t *testing.T) {
	n := newNode(t, 1, nil)
	at := changed(n, 100)
	n.updates(at[100], 10_000, 3000)
	n.cut()
	got, err := n.resume(held(at, 60))
	require.NoError(t, err)
	require.Equal(t, api.Answer_ANSWER_CONTINUE, got.Answer, got.Why)
	require.Nil(t, got.Lease)
}

// 1,000 replicas that slept come at once: what changed is counted once for all.
func TestManyResumeAfterManyUpdates(t *testing.T) {
	n := newNode(t, 1, nil)
	at := changed(n, 100)
	n.cut()
	n.updates(at[100], 10_000, 7)
	n.cut()
	first, err := n.resume(held(at, 100))
	require.NoError(t, err)
	require.Equal(t, api.Answer_ANSWER_DELTA, first.Answer, first.Why)
	reads := n.blockReads()
	var all sync.WaitGroup
	for worker := range 50 {
		all.Go(func() {
			for i := range 20 {
				m := held(at, 100)
				m.Replica = fmt.Sprint("r", worker*20+i)
				if got, err := n.resume(m); err != nil || got.Answer != api.Answer_ANSWER_DELTA {
					t.Errorf("%v: %v", got, err)
				}
			}
		})
	}
	all.Wait()
	require.Len(t, n.leases.Leases(), 1001)
	require.Less(t, n.blockReads()-reads, int64(500), "no table is read for any of the 1,000")
}

package txn

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Transactions that time out at the same moment are ended by a bounded number of writers, and most of them wait their turn as what they
// are: a client's own end has few before it.
func TestCoordinatorEndsManyAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 3 * (endWriters + endBacklog)
		gate := make(chan struct{})
		markers := &memMarkers{gate: gate}
		c := open(t, newMemStore(), markers)
		for i := range n {
			id := fmt.Sprint(i)
			require.Nil(t, wait(t, c.Add(id, initID(t, c, id), []Partition{p0})).Err)
		}
		in := func(state State) int {
			list, _, err := c.List(Filter{States: []string{state.String()}, LongerThanMs: -1})
			require.Nil(t, err)
			return len(list)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		require.Equal(t, endWriters, markers.called())
		require.Equal(t, endWriters+endBacklog, in(PrepareAbort))
		require.Equal(t, n-endWriters-endBacklog, in(Ongoing))
		close(gate)
		synctest.Wait()
		require.Equal(t, n, in(CompleteAbort))
		require.Len(t, markers.ends, n)
		require.NoError(t, c.Close())
	})
}

// A transaction has no more groups than somebody means: each one that comes saves all of them.
func TestGroupsOfATransactionAreBounded(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	x := New("tx", 1, time.Hour)
	r, _ := x.Init(now, InitRequest{Timeout: time.Minute})
	for i := range groupsMax {
		err, _ := x.AddGroup(now, r.Producer, fmt.Sprint(i))
		require.Nil(t, err)
	}
	err, fx := x.AddGroup(now, r.Producer, "one more")
	require.Equal(t, kerr.InvalidRequest, err)
	require.Nil(t, fx.Save)
	err, _ = x.BeginGroup(now, r.Producer, "one more", true)
	require.Equal(t, kerr.InvalidRequest, err)
	err, _ = x.AddGroup(now, r.Producer, "7")
	require.Nil(t, err)
	require.NotNil(t, x.End(now, 1, EndRequest{Producer: r.Producer, Commit: true}).End, "nothing is under way")
}

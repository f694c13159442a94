package txn

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
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
		require.Equal(t, endWriters, markers.calls)
		require.Equal(t, endWriters+endBacklog, in(PrepareAbort))
		require.Equal(t, n-endWriters-endBacklog, in(Ongoing))
		close(gate)
		synctest.Wait()
		require.Equal(t, n, in(CompleteAbort))
		require.Len(t, markers.ends, n)
		require.NoError(t, c.Close())
	})
}

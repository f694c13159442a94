package group

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
)

// Many groups that have something to write at the same moment, because their topic is deleted, are written by a bounded number of
// goroutines.
func TestManyGroupsAreWrittenInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 3 * writersMax
		store := newMemStore()
		c := open(t, store)
		for i := range n {
			require.Equal(t, []*kerr.Error{nil}, commit(c, fmt.Sprint(i), simple, at("t", 0, 5)))
		}
		gate := make(chan struct{})
		store.set(func(s *memStore) { s.gate = gate })
		c.DropTopic("t")
		synctest.Wait()
		busy := 0
		store.set(func(s *memStore) {
			for _, b := range s.busy {
				if b {
					busy++
				}
			}
			s.gate = nil
		})
		require.Equal(t, writersMax, busy)
		close(gate)
		synctest.Wait()
		for i := range n {
			require.Empty(t, store.offsets[fmt.Sprint(i)])
		}
		require.False(t, store.overlap)
		require.Zero(t, c.running)
		require.NoError(t, c.Close())
	})
}

// The end of a transaction that holds more groups than there are writers keeps no other group waiting, nor the end of another one of the
// same groups behind it.
func TestHeldGroupsAreNoWriters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 2 * writersMax
		c := open(t, newMemStore())
		var groups []string
		for i := range n {
			groups = append(groups, fmt.Sprint(i))
			require.Equal(t, []*kerr.Error{nil}, commitInTxn(c, groups[i], simple, 7, at("t", 0, 5)))
			require.Equal(t, []*kerr.Error{nil}, commitInTxn(c, groups[i], simple, 8, at("t", 0, 6)))
		}
		put, finish := c.EndOffsets(7, groups, true)
		second := make(chan struct{})
		go func() {
			defer close(second)
			endTxn(t, c, 8, true, groups...)
		}()
		synctest.Wait()
		require.Equal(t, []*kerr.Error{nil}, commit(c, "another", simple, at("t", 0, 5)))
		require.NoError(t, put(nil))
		finish(true)
		<-second
		for _, group := range groups {
			requireOffset(t, c, group, 0, 6)
		}
		synctest.Wait()
		require.Zero(t, c.running)
		require.NoError(t, c.Close())
	})
}

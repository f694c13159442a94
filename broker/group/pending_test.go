package group

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
)

func commitInTxn(c *Coordinator, group string, ref MemberRef, producerID int64, offsets ...PartitionOffset) []*kerr.Error {
	ch := make(chan []*kerr.Error, 1)
	c.CommitInTxn(group, ref, producerID, offsets, func(errs []*kerr.Error) { ch <- errs })
	return <-ch
}

// endTxn ends a transaction as its coordinator does.
func endTxn(t *testing.T, c *Coordinator, producerID int64, commit bool, groups ...string) {
	t.Helper()
	put, finish := c.EndOffsets(producerID, groups, commit)
	require.NoError(t, put(nil))
	finish(true)
}

func requireOffset(t *testing.T, c *Coordinator, group string, partition int32, want int64) {
	t.Helper()
	o, ok := c.Offset(group, "t", partition)
	if want < 0 {
		require.False(t, ok, "offset %d", o.Offset)
		return
	}
	require.True(t, ok)
	require.Equal(t, want, o.Offset)
}

// Offsets of a transaction are the group's when it is committed, and are dropped when it is aborted; also after a restart in between.
func TestPendingOffsets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		c := open(t, store)
		require.Equal(t, []*kerr.Error{nil}, commit(c, "g", simple, at("t", 0, 5)))
		require.Equal(t, []*kerr.Error{nil, nil}, commitInTxn(c, "g", simple, 7, at("t", 0, 10), at("t", 1, 11)))
		require.Equal(t, []*kerr.Error{nil}, commitInTxn(c, "h", simple, 7, at("t", 1, 12)))
		require.Equal(t, []*kerr.Error{nil}, commitInTxn(c, "g", simple, 8, at("t", 2, 13)))
		requireOffset(t, c, "g", 0, 5)
		requireOffset(t, c, "g", 1, -1)
		require.True(t, c.Unstable("g", "t", 0))
		require.False(t, c.Unstable("g", "t", 3))
		require.Len(t, c.UnstableOffsets("g"), 3)

		require.NoError(t, c.Close())
		c = open(t, store)
		require.Len(t, c.UnstableOffsets("g"), 3)
		requireOffset(t, c, "g", 1, -1)
		endTxn(t, c, 7, true, "g", "h")
		requireOffset(t, c, "g", 0, 10)
		requireOffset(t, c, "g", 1, 11)
		requireOffset(t, c, "h", 1, 12)
		require.True(t, c.Unstable("g", "t", 2), "of another producer")
		endTxn(t, c, 8, false, "g")
		requireOffset(t, c, "g", 2, -1)
		require.Empty(t, c.UnstableOffsets("g"))

		require.NoError(t, c.Close())
		c = open(t, store)
		requireOffset(t, c, "g", 1, 11)
		require.Empty(t, c.UnstableOffsets("g"))
		require.NoError(t, c.Close())
	})
}

// What the store has refused does not keep the transaction from ending.
func TestPendingOffsetsThatWereRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		c := open(t, store)
		store.set(func(s *memStore) { s.fail = true })
		require.Equal(t, kerr.CoordinatorNotAvailable, commitInTxn(c, "g", simple, 7, at("t", 0, 10))[0])
		endTxn(t, c, 7, true, "g") // does not write to the group
		require.NoError(t, c.Close())
	})
}

// A full disk is told to those who commit, since most clients keep silent about a coordinator that is not available; and not to
// transactional producers, which would take it for their end.
func TestCommitsOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		c := open(t, store)
		require.Equal(t, []*kerr.Error{nil}, commit(c, "g", simple, at("t", 0, 1)))
		store.set(func(s *memStore) { s.full = true })
		require.Equal(t, []*kerr.Error{kerr.KafkaStorageError, kerr.KafkaStorageError}, commit(c, "g", simple, at("t", 0, 2), at("t", 1, 2)))
		require.Equal(t, kerr.CoordinatorNotAvailable, commitInTxn(c, "g", simple, 7, at("t", 0, 10))[0])
		o, _ := c.Offset("g", "t", 0)
		require.EqualValues(t, 1, o.Offset)
		store.set(func(s *memStore) { s.full = false })
		require.Equal(t, []*kerr.Error{nil}, commit(c, "g", simple, at("t", 0, 2)))
		require.NoError(t, c.Close())
	})
}

// What was committed outside of the transaction after it stays.
func TestPendingOffsetIsOlder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, newMemStore())
		require.Equal(t, []*kerr.Error{nil}, commitInTxn(c, "g", simple, 7, at("t", 0, 10)))
		time.Sleep(time.Second)
		require.Equal(t, []*kerr.Error{nil}, commit(c, "g", simple, at("t", 0, 50)))
		endTxn(t, c, 7, true, "g")
		requireOffset(t, c, "g", 0, 50)
		require.NoError(t, c.Close())
	})
}

// While the end of a transaction is being written, other writes to its groups wait.
func TestEndOffsetsKeepsTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		c := open(t, store)
		require.Equal(t, []*kerr.Error{nil}, commitInTxn(c, "g", simple, 7, at("t", 0, 10)))
		put, finish := c.EndOffsets(7, []string{"g"}, true)
		answered := make(chan []*kerr.Error, 1)
		c.Commit("g", simple, []PartitionOffset{at("t", 0, 50)}, func(errs []*kerr.Error) { answered <- errs })
		synctest.Wait()
		require.Empty(t, answered)
		require.NoError(t, put(nil))
		finish(true)
		require.Equal(t, []*kerr.Error{nil}, <-answered)
		requireOffset(t, c, "g", 0, 50)
		require.Equal(t, int64(50), store.offsets["g"][topicPartition{"t", 0}].Offset)

		require.Equal(t, []*kerr.Error{nil}, commitInTxn(c, "g", simple, 7, at("t", 0, 60)))
		_, finish = c.EndOffsets(7, []string{"g", "none"}, true)
		finish(false)
		require.True(t, c.Unstable("g", "t", 0), "nothing was written: the transaction is open still")
		require.NoError(t, c.Close())
	})
}

// A group that is deleted and made again while the end of a transaction is being written has nothing of the one before.
func TestEndOffsetsOfADeletedGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		c := open(t, store)
		require.Equal(t, []*kerr.Error{nil}, commitInTxn(c, "g", simple, 7, at("t", 0, 10)))
		put, finish := c.EndOffsets(7, []string{"g"}, true)
		var deleted []*kerr.Error
		c.Delete("g", func(err *kerr.Error) { deleted = append(deleted, err) })
		answered := make(chan []*kerr.Error, 1)
		c.Commit("g", simple, []PartitionOffset{at("t", 1, 50)}, func(errs []*kerr.Error) { answered <- errs })
		require.NoError(t, put(nil))
		finish(true)
		require.Equal(t, []*kerr.Error{nil}, <-answered)
		require.Equal(t, []*kerr.Error{nil}, deleted)
		requireOffset(t, c, "g", 0, -1)
		requireOffset(t, c, "g", 1, 50)
		require.NoError(t, c.Close())
		c = open(t, store)
		requireOffset(t, c, "g", 0, -1)
		require.NoError(t, c.Close())
	})
}

// KIP-447: a commit that names a member is fenced as a plain one is.
func TestCommitInTxnIsFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, newMemStore(), func(cfg *Config) { cfg.InitialRebalanceDelay = 0 })
		require.Equal(t, kerr.IllegalGeneration, commitInTxn(c, "none", MemberRef{MemberID: "x", Generation: 3}, 7, at("t", 0, 1))[0])
		require.Equal(t, kerr.InvalidGroupID, commitInTxn(c, "", simple, 7, at("t", 0, 1))[0])
		ref := stable(t, c, "g")
		require.Nil(t, commitInTxn(c, "g", ref, 7, at("t", 0, 1))[0])
		require.Nil(t, commitInTxn(c, "g", simple, 7, at("t", 0, 1))[0], "a client from before KIP-447")
		stale, stranger := ref, ref
		stale.Generation--
		stranger.MemberID = "x"
		require.Equal(t, kerr.IllegalGeneration, commitInTxn(c, "g", stale, 7, at("t", 0, 1))[0])
		require.Equal(t, kerr.UnknownMemberID, commitInTxn(c, "g", stranger, 7, at("t", 0, 1))[0])
		instance := ref
		instance.InstanceID = "i"
		require.Equal(t, kerr.UnknownMemberID, commitInTxn(c, "g", instance, 7, at("t", 0, 1))[0])
		require.NoError(t, c.Close())
	})
}

// A group, and a topic, take their pending offsets with them.
func TestPendingOffsetsAreDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		c := open(t, store)
		require.Nil(t, commitInTxn(c, "g", simple, 7, at("t", 0, 1), at("u", 0, 1))[0])
		c.DropTopic("u")
		synctest.Wait()
		require.Len(t, c.UnstableOffsets("g"), 1)
		require.Len(t, store.pending["g"][7], 1)
		require.Nil(t, remove(c, "g"))
		require.Empty(t, store.pending["g"])
		require.Empty(t, c.UnstableOffsets("g"))
		require.NoError(t, c.Close())
	})
}

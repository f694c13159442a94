package catalog

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/storage/keys"
)

// What is added to no transaction is damage: it is removed with the batch that ends its own. And so it is to one of the format of before.
func TestTxnAdditionsAreOfOpenTransactions(t *testing.T) {
	c, db := open(t, vfs.NewMem())
	defer func() { require.NoError(t, db.Close()) }()
	put := func(tx Transaction) {
		t.Helper()
		w, err := c.PutTransaction(&tx)
		require.NoError(t, err)
		require.NoError(t, w.Wait())
	}
	add := func(number int) {
		t.Helper()
		a := goldenAddition
		a.Number = number
		w, err := c.PutTxnAddition(&a)
		require.NoError(t, err)
		require.NoError(t, w.Wait())
	}
	read := func() Transaction {
		t.Helper()
		list, err := c.Transactions()
		require.NoError(t, err)
		require.Len(t, list, 1)
		return list[0]
	}
	put(goldenBefore())
	require.Equal(t, goldenBefore(), read())
	add(0)
	_, err := c.Transactions()
	require.ErrorIs(t, err, keys.ErrCorrupt, "of before")
	put(goldenTransactions()[0])
	require.Equal(t, 1, read().Additions)
	add(1)
	add(2)
	require.Equal(t, 3, read().Additions)
	require.Len(t, read().Partitions, 2+3)

	ended := goldenTransactions()[1]
	end := func(additions int) {
		t.Helper()
		pb := db.NewBatch()
		require.NoError(t, c.EndTransaction(pb, &ended, 4000, additions))
		require.NoError(t, pb.Commit(pebble.Sync))
	}
	end(2)
	_, err = c.Transactions()
	require.ErrorIs(t, err, keys.ErrCorrupt, "one is left")
	end(3)
	require.Equal(t, ended, read())
	require.NoError(t, db.Set(append(keys.TxnAdded(1, 0), 0), []byte{1, 0, 0}, pebble.Sync))
	_, err = c.Transactions()
	require.ErrorIs(t, err, keys.ErrCorrupt, "a key that is none")
}

package txn

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/storage/catalog"
)

// openOn opens a coordinator on what a file system has.
func openOn(t *testing.T, fs vfs.FS, markers Markers) (*Coordinator, *catalog.Catalog, *pebble.DB) {
	t.Helper()
	db, err := pebble.Open("db", &pebble.Options{FS: fs, FormatMajorVersion: pebble.FormatValueSeparation, Logger: quiet{}})
	require.NoError(t, err)
	store, err := catalog.Open(db, time.Now, rand.NewChaCha8([32]byte{1}))
	require.NoError(t, err)
	return open(t, batched{store, db}, markers), store, db
}

type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(string, ...any) { panic("a database that cannot go on") }

// A transaction that gets its partitions one by one is not written anew with each: the bytes are those of as many partitions. All of them
// are there after a crash, and none is left behind the end.
func TestPartitionsOneByOne(t *testing.T) {
	const partitions, bytesEach = 2000, 100
	fs := vfs.NewCrashableMem()
	c, _, db := openOn(t, fs, &memMarkers{})
	p := initID(t, c, "tx")
	before := db.Metrics().WAL.BytesIn
	var all []Partition
	for i := range int32(partitions) {
		tp := Partition{Topic: "a-topic", Index: i, Ordinal: uint32(i)}
		all = append(all, tp)
		if i%2 == 0 { // whichever way it comes in
			require.Nil(t, wait(t, c.Add("tx", p, []Partition{tp})).Err)
			continue
		}
		done, err := c.Begin("tx", p, tp, true)
		require.Nil(t, err)
		done()
	}
	require.Nil(t, wait(t, c.AddGroup("tx", p, "g")).Err)
	require.Nil(t, wait(t, c.AddGroup("tx", p, "g")).Err, "again")
	require.Nil(t, wait(t, c.Add("tx", p, all)).Err, "again")
	written := db.Metrics().WAL.BytesIn - before
	require.Less(t, written, uint64(partitions*bytesEach))
	t.Logf("%d bytes", written)

	image := fs.CrashClone(vfs.CrashCloneCfg{})
	require.NoError(t, c.Close())
	require.NoError(t, db.Close())
	markers := &memMarkers{}
	c, store, db := openOn(t, image, markers)
	require.Nil(t, c.Verify("tx", p, all[partitions-1]))
	require.Nil(t, wait(t, c.AddGroup("tx", p, "h")).Err, "it goes on")
	require.Nil(t, wait(t, c.End("tx", p, true, true)).Err)
	require.Equal(t, all, markers.ends[0].Partitions)
	require.Equal(t, []string{"g", "h"}, markers.ends[0].Groups)
	require.NoError(t, c.Close())
	list, err := store.Transactions()
	require.NoError(t, err, "nothing that was added is left")
	require.Len(t, list, 1)
	require.Empty(t, list[0].Partitions)
	require.NoError(t, db.Close())
}

// A transaction that was open in the format of before is saved again before anything is added to it: the program of before would end it
// without that.
func TestTransactionOfBeforeGoesOn(t *testing.T) {
	fs := vfs.NewMem()
	c, store, db := openOn(t, fs, &memMarkers{})
	require.NoError(t, c.Close())
	id, err := store.NextProducerID()
	require.NoError(t, err)
	p := Producer{ID: id}
	_, err = store.PutTransaction(&catalog.Transaction{ID: "tx", ProducerID: id, PreviousProducerID: -1, LastEpoch: -1, State: catalog.TxnOngoing,
		TimeoutMs: 60_000, StartMs: time.Now().UnixMilli(), Partitions: []catalog.TxnPartition{{Topic: "t", Ordinal: 7}}, Additions: -1})
	require.NoError(t, err)
	require.NoError(t, db.Close())

	c, store, db = openOn(t, fs, &memMarkers{})
	read := func() catalog.Transaction {
		t.Helper()
		list, err := store.Transactions()
		require.NoError(t, err)
		return list[0]
	}
	require.Equal(t, -1, read().Additions)
	require.Nil(t, c.Verify("tx", p, p0))
	p1, p2 := p0, p0
	p1.Index, p2.Index = 1, 2
	require.Nil(t, wait(t, c.Add("tx", p, []Partition{p1})).Err)
	require.Zero(t, read().Additions)
	require.Nil(t, wait(t, c.Add("tx", p, []Partition{p2})).Err)
	require.Equal(t, 1, read().Additions)
	require.Len(t, read().Partitions, 3)
	require.NoError(t, c.Close())
	require.NoError(t, db.Close())
}

// What could not be added is saved whole with what comes next, and nothing of it is in the transaction twice.
func TestAdditionAfterOneThatFailed(t *testing.T) {
	store, markers := newMemStore(), &memMarkers{}
	c := open(t, store, markers)
	p := initID(t, c, "tx")
	list := []Partition{p0, {Topic: "t", Index: 1}, {Topic: "t", Index: 2}, {Topic: "t", Index: 3}}
	for i := range list {
		store.fail = i == 2
		r := wait(t, c.Add("tx", p, list[i:i+1]))
		require.Equal(t, store.fail, r.Err != nil)
	}
	require.NoError(t, c.Close())
	require.Len(t, store.all["tx"].Partitions, len(list))
	stored := store.all["tx"]
	stored.Partitions = append(stored.Partitions, stored.Partitions[1]) // as its addition says
	stored.Groups = []string{"g", "g"}
	x := Restore(&stored, expiration)
	require.Equal(t, list, x.partitions)
	require.Equal(t, []string{"g"}, x.groups)
}

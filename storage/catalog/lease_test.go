package catalog

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/storage/keys"
)

// goldenLeases have the id in their keys.
func goldenLeases() []Lease {
	return []Lease{
		{TopicID: [16]byte{1, 15: 2}, Partition: 3, Incarnation: [16]byte{4, 15: 5}, Cut: 1<<40 + 1, Since: 6, From: 1<<40 + 7,
			ExpiryMs: 1_700_000_030_000, Topic: "files", Replica: "host-1"},
		{Since: -1},
	}
}

func TestLeases(t *testing.T) {
	fs := vfs.NewCrashableMem()
	c, db := open(t, fs)
	a, b := goldenLeases()[0], goldenLeases()[1]
	a.ID, b.ID = [16]byte{1}, [16]byte{2}
	require.NoError(t, c.PutLease(&b))
	require.NoError(t, c.PutLease(&a))
	got, err := c.Leases()
	require.NoError(t, err)
	require.Equal(t, []Lease{a, b}, got)
	for _, bad := range []Lease{{Partition: -1}, {Cut: -1}, {Since: -2}, {From: -1}} {
		require.ErrorIs(t, c.PutLease(&bad), ErrInvalid)
	}

	// A grant is durable, and so is that it takes another's place; a drop need not be.
	next := a
	next.ID = [16]byte{3}
	require.NoError(t, c.PutLease(&next, a.ID))
	require.NoError(t, c.DropLeases(b.ID))
	got, err = c.Leases()
	require.NoError(t, err)
	require.Equal(t, []Lease{next}, got)
	after := fs.CrashClone(vfs.CrashCloneCfg{})
	require.NoError(t, db.Close())
	c, db = open(t, after)
	got, err = c.Leases()
	require.NoError(t, err)
	require.Contains(t, got, next)
	require.NotContains(t, got, a)
	require.NoError(t, db.Close())
}

func TestDamagedLease(t *testing.T) {
	c, db := open(t, vfs.NewMem())
	for value, want := range map[string]error{"": keys.ErrCorrupt, "\x02": keys.ErrVersion, "\x01abc": keys.ErrCorrupt} {
		require.NoError(t, db.Set(keys.Lease([16]byte{9}), []byte(value), pebble.Sync))
		_, err := c.Leases()
		require.ErrorIs(t, err, want)
	}
	require.NoError(t, db.Delete(keys.Lease([16]byte{9}), pebble.Sync))
	require.NoError(t, db.Set([]byte("Hshort"), []byte{1}, pebble.Sync))
	_, err := c.Leases()
	require.ErrorIs(t, err, keys.ErrCorrupt)
	require.NoError(t, db.Close())
	for _, l := range goldenLeases() {
		encoded := encodeLease(&l)
		got, err := decodeLease(encoded)
		require.NoError(t, err)
		require.Equal(t, l, got)
		for n := 1; n < len(encoded); n++ {
			_, err := decodeLease(encoded[:n])
			require.ErrorIs(t, err, keys.ErrCorrupt, "%d bytes", n)
		}
	}
}

func FuzzLease(f *testing.F) {
	for _, l := range goldenLeases() {
		f.Add(encodeLease(&l))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := decodeLease(b)
		if err != nil {
			requireKnown(t, err)
			return
		}
		again, err := decodeLease(encodeLease(&l)) // the bytes may differ: a uvarint has longer forms
		require.NoError(t, err)
		require.Equal(t, l, again)
	})
}

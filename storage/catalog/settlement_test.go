package catalog

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/storage/keys"
)

// goldenSettlements have their partition in their keys.
func goldenSettlements() []Settlement {
	return []Settlement{
		{Incarnation: [16]byte{4, 15: 5}, Cut: 1<<40 + 1, Overruled: []Overruled{{"cache-1", 1_700_000_030_000}, {}}},
		{},
	}
}

// A dispute and how the one before it ended are there after a crash, each for itself; both go with the topic and with the incarnation of a log.
func TestSettlements(t *testing.T) {
	fs := vfs.NewCrashableMem()
	c, db := open(t, fs)
	files, err := c.Create(Spec{Name: "files", Partitions: 2})
	require.NoError(t, err)
	other, err := c.Create(Spec{Name: "other", Partitions: 1})
	require.NoError(t, err)
	of := func(t Topic, no int32) (s Settlement) {
		s = goldenSettlements()[0]
		s.DisputedPartition, s.Topic, s.Incarnation = DisputedPartition{t.ID, no}, t.Name, t.Partitions[no].Incarnation
		return s
	}
	requireStored := func(want ...Settlement) {
		t.Helper()
		after := fs.CrashClone(vfs.CrashCloneCfg{})
		require.NoError(t, db.Close())
		fs = after
		c, db = open(t, fs)
		got, err := c.Settlements()
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	requireStored(nil...) // a store of before there were any
	a, b, x := of(files, 0), of(files, 1), of(other, 0)
	d := Dispute{DisputedPartition: a.DisputedPartition, Topic: a.Topic, Incarnation: a.Incarnation, Cut: 7}
	require.NoError(t, c.ChangeDisputes([]Dispute{d}, []Settlement{a, b, x}, nil))
	requireStored(a, b, x)
	a.Cut, a.Overruled = a.Cut+1, nil
	require.NoError(t, c.ChangeDisputes(nil, []Settlement{a}, nil))
	requireStored(a, b, x)
	disputes, err := c.Disputes()
	require.NoError(t, err)
	require.Equal(t, []Dispute{d}, disputes)
	require.NoError(t, c.ChangeDisputes(nil, nil, []DisputedPartition{a.DisputedPartition}))
	requireStored(a, b, x)

	for _, bad := range []Settlement{{Cut: -1}, {Overruled: []Overruled{{Replica: string(make([]byte, 2000))}}}} {
		require.ErrorIs(t, c.ChangeDisputes(nil, []Settlement{bad}, nil), ErrInvalid)
	}
	requireNone := func(ordinal uint32) {
		t.Helper()
		_, ok, err := c.get(keys.Partition(nil, keys.SpaceSettled, ordinal))
		require.NoError(t, err)
		require.False(t, ok)
	}
	_, err = c.RenewIncarnation(files.ID, 1)
	require.NoError(t, err)
	requireNone(files.Partitions[1].Ordinal)
	require.NoError(t, c.ChangeDisputes(nil, []Settlement{b}, nil))
	requireNone(files.Partitions[1].Ordinal)
	require.NoError(t, c.Delete("other"))
	requireNone(other.Partitions[0].Ordinal)
	require.NoError(t, c.ChangeDisputes(nil, []Settlement{x}, nil))
	requireNone(other.Partitions[0].Ordinal)
	requireStored(a)
	for _, late := range []uint32{files.Partitions[1].Ordinal, other.Partitions[0].Ordinal} { // what a release leaves that knows of no settlements
		require.NoError(t, db.Set(keys.Partition(nil, keys.SpaceSettled, late), encodeSettlement(&b), pebble.Sync))
	}
	requireStored(a)
	require.NoError(t, db.Close())
}

func TestDamagedSettlement(t *testing.T) {
	c, db := open(t, vfs.NewMem())
	files, err := c.Create(Spec{Name: "files", Partitions: 1})
	require.NoError(t, err)
	key := keys.Partition(nil, keys.SpaceSettled, files.Partitions[0].Ordinal)
	for value, want := range map[string]error{"": keys.ErrCorrupt, "\x02": keys.ErrVersion, "\x01abc": keys.ErrCorrupt} {
		require.NoError(t, db.Set(key, []byte(value), pebble.Sync))
		_, err := c.Settlements()
		require.ErrorIs(t, err, want)
		require.ErrorContains(t, err, "settlement of files/0")
	}
	require.NoError(t, db.Delete(key, pebble.Sync))
	require.NoError(t, db.Set([]byte("Sshort"), []byte{1}, pebble.Sync))
	_, err = c.Settlements()
	require.ErrorIs(t, err, keys.ErrCorrupt)
	require.NoError(t, db.Close())
	for _, s := range goldenSettlements() {
		encoded := encodeSettlement(&s)
		got, err := decodeSettlement(encoded)
		require.NoError(t, err)
		require.Equal(t, s, got)
		for n := 1; n < len(encoded); n++ {
			_, err := decodeSettlement(encoded[:n])
			require.ErrorIs(t, err, keys.ErrCorrupt, "%d bytes", n)
		}
	}
}

func FuzzSettlement(f *testing.F) {
	for _, s := range goldenSettlements() {
		f.Add(encodeSettlement(&s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeSettlement(b)
		if err != nil {
			requireKnown(t, err)
			return
		}
		again, err := decodeSettlement(encodeSettlement(&s)) // the bytes may differ: a uvarint has longer forms
		require.NoError(t, err)
		require.Equal(t, s, again)
	})
}

package catalog

import (
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/storage/keys"
)

// goldenDisputes have their partition in their keys.
func goldenDisputes() []Dispute {
	return []Dispute{
		{Incarnation: [16]byte{4, 15: 5}, Cut: 1<<40 + 1, Start: 2, Count: 3, Sum: [32]byte{6, 31: 7}, SinceMs: 1_700_000_030_000,
			Parties: []DisputeParty{{"cache-1", "a pid 7", 1<<40 + 1, 8, 9}, {Replica: "b", Cut: 1}}},
		{},
	}
}

// What is disputed is there after a crash, what was settled is not, and both go with the topic and with the incarnation of a log.
func TestDisputes(t *testing.T) {
	fs := vfs.NewCrashableMem()
	c, db := open(t, fs)
	files, err := c.Create(Spec{Name: "files", Partitions: 2})
	require.NoError(t, err)
	other, err := c.Create(Spec{Name: "other", Partitions: 1})
	require.NoError(t, err)
	of := func(t Topic, no int32) (d Dispute) {
		d = goldenDisputes()[0]
		d.DisputedPartition, d.Topic, d.Incarnation = DisputedPartition{t.ID, no}, t.Name, t.Partitions[no].Incarnation
		return d
	}
	stored := func() []Dispute {
		t.Helper()
		got, err := c.Disputes()
		require.NoError(t, err)
		return got
	}
	crash := func() {
		t.Helper()
		after := fs.CrashClone(vfs.CrashCloneCfg{})
		require.NoError(t, db.Close())
		fs = after
		c, db = open(t, fs)
	}
	a, b, x := of(files, 0), of(files, 1), of(other, 0)
	require.NoError(t, c.ChangeDisputes([]Dispute{a, b, x}, nil, nil))
	crash()
	require.Equal(t, []Dispute{a, b, x}, stored())

	b.Cut, b.Parties = b.Cut+100, b.Parties[:1]
	require.NoError(t, c.ChangeDisputes([]Dispute{b}, nil, []DisputedPartition{a.DisputedPartition}))
	crash()
	require.Equal(t, []Dispute{b, x}, stored())

	for _, bad := range []Dispute{{Cut: -1}, {Start: -1}, {Count: -1}, {Parties: []DisputeParty{{Cut: -1}}}, {Parties: []DisputeParty{{Replica: string(make([]byte, 2000))}}}} {
		require.ErrorIs(t, c.ChangeDisputes([]Dispute{bad}, nil, nil), ErrInvalid)
	}
	// A log that lost records is not what was disputed: neither what is stored, nor who comes late, nor what an older release leaves.
	key := keys.Partition(nil, keys.SpaceDispute, files.Partitions[1].Ordinal)
	_, err = c.RenewIncarnation(files.ID, 1)
	require.NoError(t, err)
	require.NoError(t, c.ChangeDisputes([]Dispute{b}, nil, nil))
	_, ok, err := c.get(key)
	require.NoError(t, err)
	require.False(t, ok)
	require.NoError(t, db.Set(key, encodeDispute(&b), pebble.Sync))
	require.Equal(t, []Dispute{x}, stored())

	// Nor is a topic that is deleted, whoever comes late.
	require.NoError(t, c.Delete("other"))
	require.NoError(t, c.ChangeDisputes([]Dispute{x}, nil, []DisputedPartition{{other.ID, 0}, {files.ID, 2}, {files.ID, -1}}))
	crash()
	require.Empty(t, stored())
	require.NoError(t, db.Set(keys.Partition(nil, keys.SpaceDispute, other.Partitions[0].Ordinal), encodeDispute(&x), pebble.Sync))
	require.Empty(t, stored(), "an older release deletes topics, and knows of no disputes")
	require.NoError(t, db.Close())
}

func TestDamagedDispute(t *testing.T) {
	c, db := open(t, vfs.NewMem())
	files, err := c.Create(Spec{Name: "files", Partitions: 1})
	require.NoError(t, err)
	key := keys.Partition(nil, keys.SpaceDispute, files.Partitions[0].Ordinal)
	for value, want := range map[string]error{"": keys.ErrCorrupt, "\x02": keys.ErrVersion, "\x01abc": keys.ErrCorrupt} {
		require.NoError(t, db.Set(key, []byte(value), pebble.Sync))
		_, err := c.Disputes()
		require.ErrorIs(t, err, want)
		require.ErrorContains(t, err, "files/0")
	}
	require.NoError(t, db.Delete(key, pebble.Sync))
	require.NoError(t, db.Set([]byte("Dshort"), []byte{1}, pebble.Sync))
	_, err = c.Disputes()
	require.ErrorIs(t, err, keys.ErrCorrupt)
	require.NoError(t, db.Close())
	for _, d := range goldenDisputes() {
		encoded := encodeDispute(&d)
		got, err := decodeDispute(encoded)
		require.NoError(t, err)
		require.Equal(t, d, got)
		for n := 1; n < len(encoded); n++ {
			_, err := decodeDispute(encoded[:n])
			require.ErrorIs(t, err, keys.ErrCorrupt, "%d bytes", n)
		}
	}
}

func FuzzDispute(f *testing.F) {
	for _, d := range goldenDisputes() {
		f.Add(encodeDispute(&d))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := decodeDispute(b)
		if err != nil {
			requireKnown(t, err)
			return
		}
		again, err := decodeDispute(encodeDispute(&d)) // the bytes may differ: a uvarint has longer forms
		require.NoError(t, err)
		require.Equal(t, d, again)
	})
}

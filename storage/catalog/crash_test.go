package catalog

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// Each change is durable when its call returns: it is there after a crash at once that keeps nothing but what was synced.
func TestEveryChangeIsDurable(t *testing.T) {
	fs := vfs.NewCrashableMem()
	c, db := open(t, fs)
	defer func() { require.NoError(t, db.Close()) }()
	var created Topic
	var epoch int32
	var id int64
	commit := OffsetCommit{Topic: "t", Partition: 3, Offset: 70, LeaderEpoch: 2, Metadata: "m", CommitMs: 9}
	for _, step := range []struct {
		name   string
		change func() error
		holds  func(t *testing.T, after *Catalog)
	}{
		{"cluster id", func() error { return nil }, func(t *testing.T, after *Catalog) {
			require.Equal(t, c.ClusterID(), after.ClusterID())
		}},
		{"leader epoch", func() (err error) { epoch, err = c.BeginEpoch(); return err }, func(t *testing.T, after *Catalog) {
			next, err := after.BeginEpoch()
			require.NoError(t, err)
			require.Equal(t, epoch+1, next)
		}},
		{"producer id", func() (err error) { id, err = c.NextProducerID(); return err }, func(t *testing.T, after *Catalog) {
			next, err := after.NextProducerID()
			require.NoError(t, err)
			require.Greater(t, next, id)
		}},
		{"create", func() (err error) {
			created, err = c.Create(Spec{Name: "t", Partitions: 4, Configs: []Config{{"a", "1"}}})
			return err
		}, func(t *testing.T, after *Catalog) {
			require.Equal(t, []Topic{created}, after.List())
			next, err := after.Create(Spec{Name: "u", Partitions: 1})
			require.NoError(t, err)
			require.Equal(t, uint32(4), next.Partitions[0].Ordinal)
		}},
		{"grow", func() (err error) { created, err = c.Grow("t", 6); return err }, func(t *testing.T, after *Catalog) {
			require.Equal(t, []Topic{created}, after.List())
			next, err := after.Create(Spec{Name: "u", Partitions: 1})
			require.NoError(t, err)
			require.Equal(t, uint32(6), next.Partitions[0].Ordinal)
		}},
		{"configs", func() error { return c.SetConfigs("t", []Config{{"b", "2"}}) }, func(t *testing.T, after *Catalog) {
			got, _ := after.Get("t")
			require.Equal(t, []Config{{"b", "2"}}, got.Configs)
		}},
		{"offsets", func() error { return c.PutOffsets("g", []OffsetCommit{commit}) }, func(t *testing.T, after *Catalog) {
			got, err := after.Offsets("g")
			require.NoError(t, err)
			require.Equal(t, []OffsetCommit{commit}, got)
		}},
		{"group", func() error { return c.PutGroup("g", []byte("members")) }, func(t *testing.T, after *Catalog) {
			got, ok, err := after.GetGroup("g")
			require.NoError(t, err)
			require.True(t, ok)
			require.Equal(t, "members", string(got))
		}},
		{"transaction", func() error {
			w, err := c.PutTransaction(&goldenTransactions()[0])
			if err != nil {
				return err
			}
			return w.Wait()
		}, func(t *testing.T, after *Catalog) {
			got, err := after.Transactions()
			require.NoError(t, err)
			require.Equal(t, goldenTransactions()[:1], got)
		}},
		{"addition to a transaction", func() error {
			w, err := c.PutTxnAddition(&goldenAddition)
			if err != nil {
				return err
			}
			return w.Wait()
		}, func(t *testing.T, after *Catalog) {
			got, err := after.Transactions()
			require.NoError(t, err)
			want := goldenTransactions()[0]
			want.Partitions, want.Groups = append(want.Partitions, goldenAddition.Partitions...), append(want.Groups, goldenAddition.Groups...)
			want.Additions = 1
			require.Equal(t, []Transaction{want}, got)
		}},
		{"pending offsets", func() error { return c.PutPending("g", 4000, []OffsetCommit{commit}) }, func(t *testing.T, after *Catalog) {
			got, err := after.Pending("g")
			require.NoError(t, err)
			require.Equal(t, map[int64][]OffsetCommit{4000: {commit}}, got)
			groups, err := after.Groups()
			require.NoError(t, err)
			require.Equal(t, []string{"g"}, groups)
		}},
		{"the end of a transaction", func() error {
			pb := db.NewBatch()
			ended := goldenTransactions()[1]
			committed := commit
			committed.Offset = 80
			return errors.Join(c.EndTransaction(pb, &ended, 4000, 1), c.EndOffsets(pb, "g", 4000, []OffsetCommit{commit}, []OffsetCommit{committed}), pb.Commit(pebble.Sync))
		}, func(t *testing.T, after *Catalog) {
			transactions, err := after.Transactions()
			require.NoError(t, err)
			require.Equal(t, goldenTransactions()[1:2], transactions)
			pending, err := after.Pending("g")
			require.NoError(t, err)
			require.Empty(t, pending)
			offsets, err := after.Offsets("g")
			require.NoError(t, err)
			require.Equal(t, int64(80), offsets[0].Offset)
		}},
		{"delete transaction", func() error {
			w, err := c.DeleteTransaction("tx")
			if err != nil {
				return err
			}
			return w.Wait()
		}, func(t *testing.T, after *Catalog) {
			got, err := after.Transactions()
			require.NoError(t, err)
			require.Empty(t, got)
		}},
		{"pending offsets of a group that is deleted", func() error { return c.PutPending("g", 4001, []OffsetCommit{commit}) }, func(t *testing.T, after *Catalog) {
			got, err := after.Pending("g")
			require.NoError(t, err)
			require.Len(t, got, 1)
		}},
		{"delete group", func() error { return c.DeleteGroup("g") }, func(t *testing.T, after *Catalog) {
			got, err := after.Groups()
			require.NoError(t, err)
			require.Empty(t, got)
		}},
		{"delete", func() error { return c.Delete("t") }, func(t *testing.T, after *Catalog) {
			require.Empty(t, after.List())
		}},
	} {
		t.Run(step.name, func(t *testing.T) {
			require.NoError(t, step.change())
			step.holds(t, afterCrash(t, fs))
		})
	}
}

// afterCrash opens what is left, with other random numbers: what was lost would not be drawn again.
func afterCrash(t *testing.T, fs *vfs.MemFS) *Catalog {
	db, err := pebble.Open("db", &pebble.Options{FS: fs.CrashClone(vfs.CrashCloneCfg{}), FormatMajorVersion: pebble.FormatValueSeparation})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	c, err := Open(db, time.Now, rand.NewChaCha8([32]byte{2}))
	require.NoError(t, err)
	return c
}

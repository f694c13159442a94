package table_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/delta"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/crashfs"
	"github.com/keyframelog/keyframe/storage/table"
)

func TestMain(m *testing.M) {
	setChecks()
	goleak.VerifyTestMain(m)
}

// fatal is what require needs; *testing.T, *testing.B and *rapid.T have it.
type fatal interface {
	Errorf(format string, args ...any)
	FailNow()
	Helper()
}

// store is a table database and what it lies in.
type store struct {
	fs     vfs.FS
	pdb    *pebble.DB
	opts   *pebble.Options
	db     *table.DB
	clock  *int64 // ms
	max    int
	shrunk bool // small bounds: many windows, pieces, segments, sstables
}

type silent struct{}

func (silent) Infof(string, ...any)  {}
func (silent) Errorf(string, ...any) {}
func (silent) Fatalf(format string, args ...any) {
	panic("pebble: " + format)
}

// options are those of the table database, with sizes small enough that a test reaches every level.
func options(fs vfs.FS, small bool) *pebble.Options {
	o := &pebble.Options{FS: fs, DisableWAL: true, FormatMajorVersion: pebble.FormatValueSeparation, Logger: silent{},
		MemTableSize: 4 << 20, L0CompactionThreshold: 4, L0StopWritesThreshold: 1000, LBaseMaxBytes: 64 << 20,
		CompactionConcurrencyRange: func() (int, int) { return 1, 2 }}
	for i := range o.Levels {
		o.Levels[i].Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
		o.Levels[i].BlockSize = 32 << 10
	}
	for i := range o.TargetFileSizes {
		o.TargetFileSizes[i] = 32 << 20
	}
	if small {
		o.MemTableSize, o.LBaseMaxBytes = 256<<10, 64<<10
		for i := range o.Levels {
			o.Levels[i].BlockSize = 512
			o.TargetFileSizes[i] = 8 << 10
		}
	}
	o.EnsureDefaults()
	return o
}

func openStore(t fatal, fs vfs.FS, clock *int64, max int, shrunk bool) *store {
	t.Helper()
	s := &store{fs: fs, clock: clock, max: max, shrunk: shrunk}
	s.opts = options(fs, true)
	s.open(t)
	return s
}

func (s *store) open(t fatal) {
	t.Helper()
	var err error
	s.pdb, err = pebble.Open("db", s.opts)
	require.NoError(t, err)
	s.open2(t)
}

// open2 opens the tables of a database that is open.
func (s *store) open2(t fatal) {
	t.Helper()
	var err error
	s.db, err = table.Open(table.Config{DB: s.pdb, Options: s.opts, FS: s.fs, Dir: "tmp", Limits: table.Limits{RowBytesMax: s.max},
		Now: func() time.Time { return time.UnixMilli(*s.clock) }})
	require.NoError(t, err)
	if s.shrunk {
		s.db.Shrink()
	}
	if m, ok := s.fs.(*crashfs.FS); ok {
		for _, dir := range []string{"", "tmp"} { // the directories themselves must outlive a crash
			f, err := m.OpenDir(dir)
			require.NoError(t, err)
			require.NoError(t, f.Sync())
			require.NoError(t, f.Close())
		}
	}
}

func (s *store) close(t fatal) {
	t.Helper()
	require.NoError(t, s.db.Close())
	require.NoError(t, s.pdb.Close())
}

func identity(kind fold.Kind, partition int32) table.Identity {
	return table.Identity{TopicID: [16]byte{1, 2, 3}, Partition: partition, Incarnation: [16]byte{9}, Fold: kind}
}

func (d *oracleDelta) table() table.Delta {
	x := table.Delta{Delta: delta.Delta{Op: delta.Op(d.op), Key: []byte(d.key)}, Offset: d.offset, Timestamp: d.time}
	if d.op != oracleDelete {
		x.Value = []byte(d.value)
	}
	if d.header != "" {
		x.Headers = batch.AppendHeaders(nil, batch.Header{Key: "h", Value: []byte(d.header)})
	}
	return x
}

// collapse groups deltas by key, as Commit wants them.
func collapse(deltas []oracleDelta) []table.Change {
	at := map[string]int{}
	var changes []table.Change
	for _, d := range deltas {
		i, ok := at[d.key]
		if !ok {
			i = len(changes)
			at[d.key] = i
			changes = append(changes, table.Change{Key: []byte(d.key)})
		}
		changes[i].Deltas = append(changes[i].Deltas, d.table())
	}
	slices.SortFunc(changes, func(a, b table.Change) int { return slices.Compare(a.Key, b.Key) })
	return changes
}

func digestOf(s oracleState) (d digest.Digest) {
	var h digest.Hasher
	for k, r := range s {
		if !r.dead {
			d.Add(h.Entry([]byte(k), []byte(r.value)))
		}
	}
	return d
}

// requireRow compares a row with the oracle's.
func requireRow(t fatal, kind oracleKind, want oracleRow, got frame.Row) {
	t.Helper()
	require.Equal(t, want.offset, got.Offset)
	require.Equal(t, want.dead, got.Tombstone)
	require.Equal(t, want.value, string(got.Value))
	require.Equal(t, want.time, got.Timestamp)
	h, ok := got.Headers.Get("h")
	require.Equal(t, want.header, string(h))
	require.Equal(t, want.header != "", ok)
	op, ok := got.Headers.Get(delta.HeaderOp)
	require.Equal(t, kind != oracleLast && !want.dead, ok, "a folded value says that it is one")
	if ok {
		require.Equal(t, "put", string(op))
	}
}

var background = context.Background()

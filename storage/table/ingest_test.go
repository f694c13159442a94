package table_test

import (
	"runtime"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/storage/table"
)

// stall ends the goroutine of an ingest where Pebble has installed it and not yet made it visible: nobody will. That is what readers and
// compactions meet that come just then, only for longer. No other versions may be installed while it is set.
type stall struct {
	on   bool
	left int // ingests that go through before
}

func (s *stall) check(*pebble.DB) error {
	if !s.on {
		return nil
	}
	if s.left--; s.left >= 0 {
		return nil
	}
	s.on = false
	runtime.Goexit()
	return nil
}

// Whoever begins to read a table while it changes sees all of an ingest or nothing, also between the moment in which Pebble
// installs it and the one in which it makes it visible, whatever is compacted there; and nobody waits for the ingest.
func TestReadDuringIngest(t *testing.T) {
	commit := tableChange{
		name: "fold",
		do: func(t *testing.T, db *table.DB, x *modelTable) {
			deltas := []oracleDelta{{key: "k00", value: "new", offset: x.next}, {key: "k01", op: oracleDelete, offset: x.next + 1}}
			require.NoError(t, db.Commit(background, []table.Fold{{Table: x.t, Changes: collapse(deltas), End: x.next + 2, Cut: true}}))
		},
		was: func(*modelTable) bool { return false },
	}
	drop := tableChange{
		name: "drop",
		do:   func(t *testing.T, db *table.DB, x *modelTable) { require.NoError(t, db.Drop(background, x.ordinal)) },
		was:  func(*modelTable) bool { return false },
		gone: 1,
	}
	for _, c := range append([]tableChange{commit, drop}, changes...) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := 0
			for readAtIngest(t, &c, n) {
				n++
			}
			require.Positive(t, n)
			t.Logf("%d ingests", n)
		})
	}
}

// readAtIngest stalls the ingest that comes after n others, compacts all, and reads the table. It returns false where there is no such
// ingest.
func readAtIngest(t *testing.T, c *tableChange, n int) bool {
	var clock int64
	s := &store{fs: vfs.NewMem(), clock: &clock, max: rowMax, shrunk: true}
	s.opts = options(s.fs, true)
	s.opts.DisableAutomaticCompactions = true
	gap := stall{left: n}
	s.opts.DebugCheck = gap.check
	m := &model{store: s}
	x := crashTable(t, m)
	first := s.pdb.NewSnapshot() // compactions zero no sequence number then, as those do not that end above other data
	m.fill(t, x)
	if c.prepare != nil {
		c.prepare(t, m.db, x)
	}
	gap.on = true
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.do(t, m.db, x)
	}()
	<-done
	stalled := !gap.on
	if gap.on = false; !stalled || t.Failed() {
		require.NoError(t, first.Close())
		s.close(t)
		return false
	}
	c.tell(x)
	require.NoError(t, s.pdb.Compact(background, []byte{0}, []byte{0xff}, false))
	if c.gone > 0 && n >= c.gone {
		requireClosed(t, x.t)
	} else {
		x.check(t, 0)
	}
	require.NoError(t, first.Close())
	require.NoError(t, s.db.Close())
	_ = s.pdb.Close() // says that the ingest left an iterator open
	return true
}

func requireClosed(t *testing.T, x *table.Table) {
	_, err := x.View(table.Current)
	require.ErrorIs(t, err, table.ErrClosed)
	_, _, err = x.Get([]byte("k00"))
	require.ErrorIs(t, err, table.ErrClosed)
}

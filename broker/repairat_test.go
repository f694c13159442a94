package broker

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/client"
)

// guard is how long a test waits for what must come.
const guard = time.Minute

// mended is a replica of a ledger, and what it says about repairs.
type mended struct {
	*client.Replica
	l      *ledger
	events chan client.Event

	mu   sync.Mutex
	keys []string // that differed
}

// mend opens a replica of a ledger; f changes what it is told.
func (l *ledger) mend(store client.Store, policy client.Policy, f forger) *mended {
	l.t.Helper()
	m := &mended{l: l, events: make(chan client.Event, 1024)}
	r, err := client.OpenReplica(l.t.Context(), client.Config{
		Brokers: []string{l.b.KafkaAddr().String()}, StateURL: "http://" + l.b.StateAddr().String(), Topic: "ledger", Store: store, OnDrift: policy,
		ScrubRate: -1, KafkaOptions: []kgo.Opt{kgo.Dialer(f.dial), kgo.DisableFetchCRCValidation()},
		OnEvent: func(e client.Event) { m.events <- e },
		OnDifference: func(d client.Difference) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.keys = append(m.keys, string(d.Key))
		},
	})
	require.NoError(l.t, err)
	m.Replica = r
	return m
}

func (m *mended) differed() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.keys
}

// await returns the first event of one of the kinds.
func (m *mended) await(kinds ...client.EventKind) client.Event {
	m.l.t.Helper()
	deadline := time.After(guard)
	for {
		select {
		case e := <-m.events:
			for _, kind := range kinds {
				if e.Kind == kind {
					return e
				}
			}
		case <-deadline:
			m.l.t.Fatalf("none of %v came", kinds)
		}
	}
}

// caughtUp waits until everything is applied.
func (m *mended) caughtUp() {
	m.l.t.Helper()
	ctx, cancel := context.WithTimeout(m.l.t.Context(), guard)
	defer cancel()
	require.NoError(m.l.t, m.WaitFor(ctx, 0, m.l.p.Bounds().LastStable))
}

// requireEqual says that the state is what is committed, that the broker says so too, and that nothing is held for the replica once it is closed.
func (m *mended) requireEqual() {
	m.l.t.Helper()
	m.closeEqual()
	topic, ok := m.l.b.keyframer.Topic("ledger")
	require.True(m.l.t, ok)
	_, _, cuts := m.l.b.leases.Held(topic.ID, 0)
	require.Empty(m.l.t, cuts)
}

// closeEqual is requireEqual but for what is held.
func (m *mended) closeEqual() {
	t, l := m.l.t, m.l
	t.Helper()
	l.add(0, change{"key-008", 1})
	m.caughtUp()
	require.Equal(t, client.Equal, m.Verify(t.Context())[0].Outcome)
	require.Equal(t, client.Equal, m.Scrub(t.Context())[0].Outcome)
	require.Equal(t, l.committed, l.state(&follower{Replica: m.Replica}))
	require.NoError(t, m.Close())
}

// withoutFrames is a ledger of 100 keys, half of them long so that they fill several blocks on disk, with one frame and no other that would come by itself.
func withoutFrames(t *testing.T) *ledger {
	l := startBroker(t).ledger(t, map[string]string{"keyframe.interval.ms": "3600000"})
	for i := range 50 {
		l.add(0, change{fmt.Sprintf("key-%03d", i), 7_000_000_000 + i}, change{fmt.Sprintf("other-%03d%08000d", i, i), i})
	}
	l.cut()
	return l
}

func (l *ledger) cut() int64 {
	l.t.Helper()
	cut, err := l.b.keyframer.Cut(l.t.Context(), "ledger")
	require.NoError(l.t, err)
	return cut.Frames[0].Cut
}

// Drift that a comparison at the replica's own position finds, where there is no frame: the broker cuts one for it, the replica goes on to its cut, and
// puts right there what differs. A frame that there is already serves the next.
func TestDriftBesideAFrameIsRepaired(t *testing.T) {
	eachStore(t, func(t *testing.T, store client.Store) {
		l := withoutFrames(t)
		m := l.mend(store, client.Repair, forger{[]byte("key-007"), []byte("nobody7")})
		for range 2 {
			l.add(0, change{"key-006", 1}, change{"key-007", 1}, change{"key-008", 1})
			m.caughtUp()
			at := m.Positions()[0].Offset
			require.Equal(t, client.Drifted, m.Verify(t.Context())[0].Outcome)
			e := m.await(client.Repaired, client.RepairFailed, client.RepairRefused, client.Bootstrapped)
			for e.Kind == client.Bootstrapped && e.Offset < at { // the first
				e = m.await(client.Repaired, client.RepairFailed, client.RepairRefused, client.Bootstrapped)
			}
			require.Equal(t, client.Repaired, e.Kind, "%+v", e)
			require.Equal(t, client.BySketch, e.Repair.Method)
			require.Equal(t, client.LogicalDrift, e.Repair.Cause)
			require.GreaterOrEqual(t, e.Repair.Cut, at)
			require.Equal(t, e.Repair.Cut, l.cut(), "it is the newest frame, at the log's end")
		}
		require.Equal(t, []string{"key-007", "nobody7", "key-007", "nobody7"}, m.differed())
		m.requireEqual()
	})
}

// Rows that rot after they were applied, in memory or on disk: a scrub finds them, the log is followed to a frame that is cut for it, and there they are
// fetched again, one by one where the others can be read.
func TestRottenRowsAreRepairedFromABroker(t *testing.T) {
	never := forger{[]byte("nothing like this"), []byte("nothing like that")}
	for _, dir := range []bool{false, true} {
		for _, behind := range []bool{false, true} { // the frame, or at its cut
			t.Run(fmt.Sprintf("dir %v/behind %v", dir, behind), func(t *testing.T) {
				l := withoutFrames(t)
				store, by := client.Memory(), client.BySketch
				if dir {
					fs := vfs.NewMem()
					store, by = client.DirFS(fs, "replica"), client.ByIndex
					require.NoError(t, l.mend(store, client.Repair, never).Close()) // what was read from a file stays in a cache
					rot(t, fs, "replica/table", "7000000017")
				}
				m := l.mend(store, client.Repair, never)
				if behind {
					l.add(0, change{"key-006", 1})
				}
				m.caughtUp()
				if !dir {
					row, ok, err := m.Get(t.Context(), []byte("key-017"))
					require.NoError(t, err)
					require.True(t, ok)
					row.Value[0] ^= 1 // a row that was given out is the one that is kept
				}
				at := m.Positions()[0].Offset
				require.Equal(t, client.Drifted, m.Scrub(t.Context())[0].Outcome)
				require.ErrorIs(t, m.await(client.CorruptionFound).Err, client.ErrCorrupt)
				e := m.await(client.Repaired)
				require.Equal(t, by, e.Repair.Method)
				require.Equal(t, client.LocalCorruption, e.Repair.Cause)
				require.GreaterOrEqual(t, e.Repair.Cut, at)
				if !dir {
					require.Equal(t, []string{"key-017"}, m.differed())
				}
				m.requireEqual()
			})
		}
	}
}

// rotten is the broker of a ledger, started anew after a byte of a row in its table was changed.
func (l *ledger) rotten(dir string) {
	l.t.Helper()
	require.NoError(l.t, l.b.Close()) // what was read from a file stays in a cache
	rot(l.t, vfs.Default, filepath.Join(dir, "table"), "7000000017")
	cfg := DefaultConfig()
	cfg.DataDir, cfg.KafkaAddr, cfg.StateAddr, cfg.ScrubRows = dir, "127.0.0.1:0", "127.0.0.1:0", 0
	b, err := Start(l.t.Context(), cfg)
	require.NoError(l.t, err)
	l.t.Cleanup(func() { require.NoError(l.t, b.Close()) })
	topic, ok := b.topics.Get("ledger")
	require.True(l.t, ok)
	l.b, l.p = b, topic.Partitions[0].Log
}

// A replica that wants a frame whose rows have rotten on the broker's disk is told why it cannot have it, and makes the broker fold them from the log again.
func TestRottenRowsOfABrokerAreFoldedAgain(t *testing.T) {
	l := withoutFrames(t)
	l.rotten(l.b.cfg.DataDir)
	m := l.mend(client.Memory(), client.Repair, forger{[]byte("nothing like this"), []byte("nothing like that")})
	failed := m.await(client.BootstrapFailed)
	require.ErrorIs(t, failed.Err, client.ErrUnrepairable)
	require.ErrorContains(t, failed.Err, "rows are damaged on this broker's disk: ledger/0: they are folded from its log again: try again")
	m.await(client.Bootstrapped)
	m.caughtUp()
	require.Equal(t, client.Equal, m.Verify(t.Context())[0].Outcome)
	m.requireEqual()
	require.Empty(t, l.b.keyframer.Failures())
}

// Of two replicas that differ from the broker alike, the second at the latest does not load its frame in place of what it has, until an operator has
// looked.
func TestNoFrameIsLoadedWhileReplicasDispute(t *testing.T) {
	l := withoutFrames(t)
	f := forger{[]byte("key-007"), []byte("nobody7")}
	both := []*mended{l.mend(client.Memory(), client.Rebootstrap, f), l.mend(client.Memory(), client.Rebootstrap, f)}
	l.add(0, change{"key-007", 1})
	for _, m := range both {
		m.caughtUp()
		m.await(client.Bootstrapped) // the first
	}
	l.cut()
	var refused []*mended
	for _, m := range both {
		if m.await(client.RepairRefused, client.Bootstrapped).Kind == client.RepairRefused {
			refused = append(refused, m)
		}
	}
	require.NotEmpty(t, refused)
	topic, _ := l.b.keyframer.Topic("ledger")
	require.True(t, l.b.replicas.Disputed(topic.ID, 0))
	l.add(0, change{"key-008", 1})
	for _, m := range refused {
		m.caughtUp()
		_, ok, err := m.Get(t.Context(), []byte("nobody7"))
		require.NoError(t, err)
		require.True(t, ok, "it is as it was")
	}
	ended, err := l.b.replicas.ClearDispute(topic.ID, 0)
	require.NoError(t, err)
	require.True(t, ended)
	l.cut()
	for _, m := range refused {
		m.await(client.Bootstrapped)
	}
	for _, m := range both {
		m.requireEqual()
	}
}

// rot changes a byte of what is stored in a directory's files.
func rot(t *testing.T, fs vfs.FS, dir, text string) {
	t.Helper()
	names, err := fs.List(dir)
	require.NoError(t, err)
	found := 0
	for _, name := range names {
		f, err := fs.OpenReadWrite(fs.PathJoin(dir, name), vfs.WriteCategoryUnspecified)
		if err != nil {
			continue
		}
		info, err := f.Stat()
		require.NoError(t, err)
		b := make([]byte, info.Size())
		_, _ = io.ReadFull(f, b)
		if i := bytes.Index(b, []byte(text)); i >= 0 {
			found++
			_, err = f.WriteAt([]byte("X"), int64(i))
			require.NoError(t, err)
		}
		require.NoError(t, f.Close())
	}
	require.NotZero(t, found)
}

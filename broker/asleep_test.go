package broker

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client"
)

// updates writes to five keys, and cuts a frame.
func (l *ledger) updates(many int) (cut int64) {
	l.t.Helper()
	for many > 0 {
		n := min(many, 1000)
		changes := make([]change, n)
		for i := range changes {
			changes[i] = change{fmt.Sprintf("key-%03d", 10+i%5), 1}
		}
		l.add(0, changes...)
		many -= n
	}
	cut = l.cut()
	require.Zero(l.t, l.p.Bounds().DeltaStart, "the log has everything")
	return cut
}

// kinds closes the replica and returns what it has said.
func (m *mended) kinds() (list []client.EventKind) {
	m.l.t.Helper()
	require.NoError(m.l.t, m.Close())
	close(m.events)
	for e := range m.events {
		list = append(list, e.Kind)
	}
	return list
}

// A directory that slept through many updates of few keys is given each key once, though nothing of the log was trimmed; one that slept through few
// follows the log.
func TestReplicaThatSlept(t *testing.T) {
	store := client.Dir(t.TempDir())
	l := withoutFrames(t)
	m := l.mend(store, client.Repair, forger{})
	m.caughtUp()
	require.NoError(t, m.Close())

	cut := l.updates(9000)
	m = l.mend(store, client.Repair, forger{})
	e := m.await(client.CaughtUp, client.Bootstrapped, client.Repaired)
	require.Equal(t, client.CaughtUp, e.Kind)
	require.Equal(t, []int64{cut, 5}, []int64{e.Offset, e.Rows})
	require.Equal(t, l.committed, l.state(&follower{Replica: m.Replica}))
	require.Equal(t, client.Equal, m.Verify(t.Context())[0].Outcome)
	require.Empty(t, m.kinds(), "nothing else has happened")

	l.updates(2000)
	m = l.mend(store, client.Repair, forger{})
	require.Equal(t, l.committed, l.state(&follower{Replica: m.Replica}))
	require.Equal(t, []client.EventKind{client.Resumed}, m.kinds())
}

// A state that was wrong when the replica fell asleep is found to be wrong where it has what changed, and put right for what the difference costs.
func TestReplicaThatDriftedAndSlept(t *testing.T) {
	store := client.Dir(t.TempDir())
	l := withoutFrames(t)
	m := l.mend(store, client.Repair, forger{[]byte("key-007"), []byte("nobody7")})
	l.add(0, change{"key-007", 1})
	m.caughtUp()
	require.NoError(t, m.Close())

	cut := l.updates(9000)
	m = l.mend(store, client.Repair, forger{})
	m.await(client.DriftFound)
	e := m.await(client.Repaired, client.RepairFailed, client.RepairRefused, client.Bootstrapped)
	require.Equal(t, client.Repaired, e.Kind, "%+v", e)
	require.Equal(t, client.BySketch, e.Repair.Method)
	require.Equal(t, cut, e.Repair.Cut)
	require.Less(t, e.Repair.Bytes, int64(4<<10))
	require.Equal(t, []string{"key-007", "nobody7"}, m.differed())
	m.requireEqual()
}

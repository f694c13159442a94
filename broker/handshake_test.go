package broker

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/state"
)

// told are a replica's events. They come in order, but not by when what they tell of can be seen: Close returns when all are told.
type told struct {
	mu     sync.Mutex
	events []client.Event
	more   chan struct{} // closed by the next; nil while nobody waits
}

func (s *told) event(e client.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
	if s.more != nil {
		close(s.more)
		s.more = nil
	}
}

// await waits until cond holds, which it asks after each event.
func (s *told) await(t *testing.T, cond func() bool) {
	t.Helper()
	for late := time.After(guard); ; {
		s.mu.Lock()
		if s.more == nil {
			s.more = make(chan struct{})
		}
		more := s.more
		s.mu.Unlock()
		if cond() {
			return
		}
		select {
		case <-more:
		case <-late:
			require.FailNow(t, "it was not told", "%v", s)
		}
	}
}

func (s *told) count(kind client.EventKind) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

func (s *told) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprint(s.events)
}

func (b *Broker) replica(t *testing.T, store client.Store, s *told) *follower {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), guard)
	defer cancel()
	r, err := client.OpenReplica(ctx, client.Config{
		Brokers: []string{b.KafkaAddr().String()}, StateURL: "http://" + b.StateAddr().String(), Topic: "ledger", Store: store, OnEvent: s.event,
	})
	require.NoError(t, err)
	return &follower{Replica: r}
}

// A directory whose position is in the log goes on from there, and one of another log is told so, and begins with what that log has.
func TestReplicaResumes(t *testing.T) {
	store := client.Dir(t.TempDir())
	b := startBroker(t)
	l := b.ledger(t, nil)
	l.add(0, change{"a", 1})
	_, err := b.keyframer.Cut(t.Context(), "ledger")
	require.NoError(t, err)
	var first, second, third told
	f := b.replica(t, store, &first)
	l.add(0, change{"a", 1}, change{"b", 2})
	require.Equal(t, l.committed, l.state(f))
	require.NoError(t, f.Close())
	require.Equal(t, 1, first.count(client.Bootstrapped), "%v", &first)

	l.add(0, change{"a", 1})
	f = b.replica(t, store, &second)
	require.Equal(t, l.committed, l.state(f))
	require.NoError(t, f.Close())
	require.Equal(t, 1, second.count(client.Resumed), "%v", &second)
	require.Zero(t, second.count(client.Bootstrapped), "%v", &second)

	b = startBroker(t)
	l = b.ledger(t, nil)
	l.add(0, change{"z", 1})
	f = b.replica(t, store, &third)
	require.Equal(t, map[string]int{"z": 1}, l.state(f))
	require.NoError(t, f.Close())
	var why *client.ReasonError
	third.mu.Lock()
	defer third.mu.Unlock()
	require.Equal(t, client.NewIncarnation, third.events[0].Kind)
	require.ErrorAs(t, third.events[0].Err, &why)
	require.Equal(t, state.Reason_REASON_OTHER_INCARNATION, why.Reason)
}

// A directory whose position was trimmed is given what changed since, deletions included, or the frame where they are not known any more.
func TestReplicaCatchesUp(t *testing.T) {
	store := client.Dir(t.TempDir())
	b := startBroker(t)
	l := b.ledger(t, map[string]string{"keyframe.delta.retention.ms": "0", "keyframe.delta.retention.bytes": "0", "min.compaction.lag.ms": "0"})
	for i := range 20 {
		l.add(0, change{"k" + strconv.Itoa(i), i})
	}
	var first, second told
	f := b.replica(t, store, &first)
	require.Equal(t, l.committed, l.state(f))
	at := f.Positions()[0].Offset
	require.NoError(t, f.Close())
	for i := range 10 {
		l.add(0, change{"k" + strconv.Itoa(i), 100})
	}
	_, err := b.keyframer.Cut(t.Context(), "ledger")
	require.NoError(t, err)
	l.add(0, change{"k1", 1})
	require.Eventually(t, func() bool {
		_, err := b.keyframer.Cut(t.Context(), "ledger")
		require.NoError(t, err)
		return l.p.Bounds().DeltaStart > at
	}, guard, 10*time.Millisecond)
	l.add(0, change{"k2", 1})
	f = b.replica(t, store, &second)
	require.Equal(t, l.committed, l.state(f))
	require.NoError(t, f.Close())
	require.Equal(t, 1, second.count(client.CaughtUp), "%v", &second)
	require.Zero(t, second.count(client.Bootstrapped), "%v", &second)
}

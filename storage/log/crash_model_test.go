package log

import (
	"bytes"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
)

// modelPartition is what a partition must have after a crash.
type modelPartition struct {
	batches   []batch.Batch // as appended, of this line of the log
	acked     int64         // everything below was acknowledged
	seen      int64         // the highest end that a reader was shown
	trimDone  int64         // a trim to here has returned
	trimTried int64         // a trim to here was begun
	stable    int64         // the highest last stable offset that a reader was shown
	unsynced  bool          // it shows what is written
	producers map[int64]ProducerState
	aborted   []AbortedTxn
}

func newModelPartition() *modelPartition {
	return &modelPartition{producers: map[int64]ProducerState{}}
}

// see notes what a reader is shown and may rely on.
func (m *modelPartition) see(b Bounds) {
	shown := b.HighWatermark
	if m.unsynced {
		shown = b.Synced
	}
	m.seen, m.stable = max(m.seen, shown), max(m.stable, b.LastStable)
}

// add takes a batch or marker, stamped, and does to the producers what the log is to do.
func (m *modelPartition) add(t testing.TB, b batch.Batch) {
	m.batches = append(m.batches, b)
	s := m.producer(b.ProducerID())
	if b.ProducerEpoch() != s.Epoch {
		s.Epoch, s.LastSequence, s.LastOffset = b.ProducerEpoch(), -1, -1
	}
	if b.IsControl() {
		end, err := batch.ParseEndTxn(b)
		require.NoError(t, err)
		if s.TxnFirstOffset >= 0 && !end.Commit {
			m.aborted = append(m.aborted, AbortedTxn{s.ProducerID, s.TxnFirstOffset, b.BaseOffset()})
		}
		s.TxnFirstOffset, s.CoordinatorEpoch = -1, end.CoordinatorEpoch
	} else {
		s.LastSequence, s.LastOffset = b.LastSequence(), b.LastOffset()
		if b.IsTransactional() && s.TxnFirstOffset < 0 {
			s.TxnFirstOffset = b.BaseOffset()
		}
	}
	m.producers[s.ProducerID] = s
}

func (m *modelPartition) producer(id int64) ProducerState {
	if s, ok := m.producers[id]; ok {
		return s
	}
	return ProducerState{ProducerID: id, LastSequence: -1, LastOffset: -1, TxnFirstOffset: -1, CoordinatorEpoch: -1}
}

// lastStable is where the oldest open transaction begins, else the end.
func (m *modelPartition) lastStable() int64 {
	stable := m.end()
	for _, s := range m.producers {
		if s.TxnFirstOffset >= 0 {
			stable = min(stable, s.TxnFirstOffset)
		}
	}
	return stable
}

// ending is the end of a transaction: its markers and what was written beside them.
type ending struct {
	markers map[int]int64 // by partition: its offset
	key     []byte
}

func (m *modelPartition) end() int64 {
	if len(m.batches) == 0 {
		return 0
	}
	return m.batches[len(m.batches)-1].NextOffset()
}

// recovered compares a partition after a crash with the model, and cuts the model to what is left. promises guards what is promised.
func recovered(t *testing.T, p *Partition, m *modelPartition, promises sync.Locker) {
	b := p.Bounds()
	require.GreaterOrEqual(t, b.HighWatermark, m.acked, "acknowledged batches are gone")
	require.GreaterOrEqual(t, b.HighWatermark, m.seen, "a reader has seen what is gone")
	require.LessOrEqual(t, b.HighWatermark, m.end())
	require.GreaterOrEqual(t, b.DeltaStart, m.trimDone)
	require.LessOrEqual(t, b.DeltaStart, m.trimTried)
	for len(m.batches) > 0 && m.end() > b.HighWatermark {
		m.batches = m.batches[:len(m.batches)-1]
	}
	require.Equal(t, m.end(), b.HighWatermark, "a part of a batch")
	var kept []batch.Batch
	for _, x := range m.batches {
		if x.NextOffset() > b.DeltaStart {
			kept = append(kept, x)
		}
	}
	got := readAll(t, p, b.DeltaStart, 5000)
	require.Equal(t, len(kept), len(got))
	for i := range kept {
		require.True(t, bytes.Equal(kept[i], got[i]), "batch at %d", kept[i].BaseOffset())
	}
	sizeIs(t, p)
	promises.Lock() // Pebble writes in the background already, and a crash may come
	m.acked, m.seen, m.trimDone, m.trimTried = b.HighWatermark, b.HighWatermark, b.DeltaStart, b.DeltaStart
	promises.Unlock()

	// Producers are exactly as far as their batches and markers in the log.
	batches := m.batches
	m.batches, m.producers, m.aborted = nil, map[int64]ProducerState{}, nil
	for _, x := range batches {
		m.add(t, x)
	}
	states := p.ProducerStates()
	require.Len(t, states, len(m.producers))
	for _, s := range states {
		s.AppendTimeMs = 0
		require.Equal(t, m.producers[s.ProducerID], s)
	}
	require.Equal(t, m.lastStable(), b.LastStable)
	promises.Lock()
	require.GreaterOrEqual(t, b.LastStable, m.stable, "a reader of committed records has seen what is not decided")
	m.stable = b.LastStable
	promises.Unlock()
	sameAborted(t, p, m)
}

func sameAborted(t *testing.T, p *Partition, m *modelPartition) {
	b := p.Bounds()
	got, err := p.Aborted(b.DeltaStart, b.LogEnd)
	for was := b; ; was = b { // a marker may have become durable in between
		require.NoError(t, err)
		if b = p.Bounds(); b == was {
			break
		}
		got, err = p.Aborted(b.DeltaStart, b.LogEnd)
	}
	var want []AbortedTxn
	for _, a := range m.aborted {
		if a.LastOffset >= b.DeltaStart && a.FirstOffset < b.LastStable && b.DeltaStart < b.LastStable {
			want = append(want, a)
		}
	}
	require.Equal(t, want, got)
}

// whole checks that each end of a transaction is there in all its partitions, with what was written beside it, or not at all.
func whole(t *testing.T, n *node, endings []ending) {
	for _, e := range endings {
		_, closer, err := n.store.db.Get(e.key)
		there := err == nil
		if there {
			require.NoError(t, closer.Close())
		} else {
			require.ErrorIs(t, err, pebble.ErrNotFound)
		}
		for i, offset := range e.markers {
			require.Equal(t, there, n.parts[i].Bounds().LogEnd > offset, "marker at %d of partition %d: %v", offset, i, e.markers)
		}
	}
}

// epochOf is the producer's epoch, which is known where its last marker or batch was.
func epochOf(model []*modelPartition, pid int64) (epoch int16) {
	for _, m := range model {
		epoch = max(epoch, m.producer(pid).Epoch)
	}
	return epoch
}

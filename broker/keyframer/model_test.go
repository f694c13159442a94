package keyframer_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"math/big"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/delta"
	"github.com/keyframelog/keyframe/proto/fold"
)

// model folds naively: the state as a map, at every offset that was an end of a batch. It knows nothing of proto/fold.
type model struct {
	counter bool
	state   map[string]string
	at      map[int64]map[string]string
}

func (m *model) apply(op delta.Op, key, value string) {
	switch {
	case op == delta.Delete:
		delete(m.state, key)
	case m.counter && op == 0:
		old, _ := strconv.Atoi(m.state[key])
		add, _ := strconv.Atoi(value)
		m.state[key] = strconv.Itoa(old + add)
	default:
		m.state[key] = value
	}
}

// sum is the digest as package digest defines it, computed in another way.
func sum(state map[string]string) [32]byte {
	total := new(big.Int)
	for key, value := range state {
		b := append([]byte("keyframe/row/1"), 0)
		b = append(binary.AppendUvarint(b, uint64(len(key))), key...)
		b = append(binary.AppendUvarint(b, uint64(len(value))), value...)
		h := sha256.Sum256(b)
		total.Add(total, new(big.Int).SetBytes(h[:]))
	}
	total.Mod(total, new(big.Int).Lsh(big.NewInt(1), 256))
	var out [32]byte
	total.FillBytes(out[:])
	return out
}

// The keyframer's state is the naive fold's: through cuts, folds for memory, thinning, trims, expiry and restarts, now and
// at every offset that is still defined; and a Kafka consumer that starts anywhere at or above the horizon arrives at it.
func TestModel(t *testing.T) {
	runs, err := strconv.Atoi(cmp.Or(os.Getenv("KEYFRAME_CHECKS"), "30"))
	require.NoError(t, err)
	for range runs {
		seed := rand.Uint64()
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { runModel(t, rand.New(rand.NewPCG(seed, 1))) })
	}
}

func runModel(t *testing.T, r *rand.Rand) {
	kind := []fold.Kind{fold.LastValue, fold.Counter}[r.IntN(2)]
	n := newNode(t, keyframer.Config{MemoryBytes: int64(4<<10 + r.IntN(64<<10)), Workers: 1 + r.IntN(3)})
	s := calm()
	s.Retain = 1 + r.IntN(5)
	s.DeleteRetentionMs = int64(r.IntN(3) * 5000)
	s.IntervalRecords = int64(r.IntN(3) * 40)
	l := n.add(kind, s, 1)[0]
	m := &model{counter: kind == fold.Counter, state: map[string]string{}, at: map[int64]map[string]string{0: {}}}
	for range 80 {
		switch r.IntN(12) {
		case 0:
			n.cut()
		case 1:
			n.clock.advance(time.Duration(r.IntN(10)) * time.Second)
			s.DeltaRetentionMs = int64(r.IntN(30) * 1000)
			n.settle(s)
		case 2:
			n.restart()
			require.NoError(t, n.k.Add(spec(kind, l), s))
		default:
			m.append(r, l)
		}
		if r.IntN(20) == 0 {
			m.check(t, n, l)
		}
	}
	n.cut()
	m.check(t, n, l)
}

// append appends one batch of random deltas.
func (m *model) append(r *rand.Rand, l *memlog.Log) {
	l.Append(m.draw(r)...)
	m.at[l.Bounds().LogEnd] = maps.Clone(m.state)
}

// draw makes and applies random deltas.
func (m *model) draw(r *rand.Rand) (list []batch.Record) {
	for range 1 + r.IntN(20) {
		key, value, op := fmt.Sprint("key", r.IntN(50)), strconv.Itoa(r.IntN(1000)-500), delta.Op(0)
		switch r.IntN(8) {
		case 0:
			op = delta.Delete
			list = append(list, memlog.Delete(key))
		case 1:
			op = delta.Put
			list = append(list, memlog.Record(delta.Put, key, []byte(value)))
		default:
			list = append(list, memlog.Put(key, value))
		}
		m.apply(op, key, value)
	}
	return list
}

func (m *model) check(t *testing.T, n *node, l keyframer.Log) {
	t.Helper()
	n.applied()
	require.NoError(t, n.partition(0).Failure())
	live, err := n.partition(0).Live()
	require.NoError(t, err)
	_, rows, _, err := live.Scan(nil, nil)
	require.NoError(t, err)
	got := map[string]string{}
	for row, err := range rows {
		require.NoError(t, err)
		got[string(row.Key)] = string(row.Value)
	}
	require.Equal(t, m.state, got)

	for _, f := range n.table(0).Frames() {
		require.EqualValues(t, len(m.at[f.Cut]), f.Digest.Count)
		require.Equal(t, sum(m.at[f.Cut]), f.Digest.Sum.Bytes(), "frame at %d", f.Cut)
	}
	m.checkPast(t, n, l)
	m.checkConsumer(t, n, l)
}

// checkPast compares the state at every end of a batch that is still defined.
func (m *model) checkPast(t *testing.T, n *node, l keyframer.Log) {
	t.Helper()
	live, err := n.partition(0).Live()
	require.NoError(t, err)
	for offset, want := range m.at {
		past, err := live.At(context.Background(), offset, l)
		if offset < l.Bounds().DeltaStart {
			if err == nil {
				require.NoError(t, past.Close())
			}
			continue // may have been trimmed while this loop runs
		}
		require.NoError(t, err)
		d, err := past.Digest()
		require.NoError(t, err)
		require.Equal(t, sum(want), d.Sum.Bytes(), "at %d", offset)
		require.NoError(t, past.Close())
	}
}

// checkConsumer reads rows and then raw batches as a Kafka client does, from the start and from where it was before.
func (m *model) checkConsumer(t *testing.T, n *node, l keyframer.Log) {
	t.Helper()
	for start, known := range m.at {
		if start != 0 && start < n.table(0).Horizon() {
			continue
		}
		state := &model{counter: m.counter, state: maps.Clone(known)}
		var seen []batch.Record
		for from := start; from < l.Bounds().LogEnd; {
			var batches []batch.Batch
			if from < l.Bounds().DeltaStart {
				batches, from = fetch(t, n, 0, from, 300)
			} else {
				var err error
				batches, err = l.Batches(from, l.Bounds().LogEnd, 1<<20)
				if err != nil {
					continue // trimmed in between: rows
				}
				from = batches[len(batches)-1].NextOffset()
			}
			seen = append(seen, records(t, batches)...)
		}
		for _, record := range seen {
			if record.Offset < start {
				continue // a batch is fetched as a whole
			}
			op := delta.Op(0)
			if name, ok := record.Headers.Get(delta.HeaderOp); ok {
				var err error
				op, err = delta.ParseOp(string(name))
				require.NoError(t, err)
			}
			if record.Value == nil {
				op = delta.Delete
			}
			state.apply(op, string(record.Key), string(record.Value))
		}
		if start >= n.table(0).Horizon() || start == 0 {
			require.Equal(t, m.state, state.state, "from %d", start)
		}
	}
}

package keyframer_test

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/delta"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/log"
	"github.com/keyframelog/keyframe/storage/table"
)

// model folds naively: the state as a map, at every offset that was an end of a batch. It knows nothing of proto/fold.
type model struct {
	counter bool
	events  bool // values are in change events of Debezium
	batches []modelBatch

	// Of what is committed, set by replay.
	state map[string]string
	last  map[string]int64 // the offset at which each key was touched last
	at    map[int64]map[string]string
	moves []table.StartMove // of the log start in the table
}

// start is the log start in force at an offset.
func (m *model) start(offset int64) (start int64) {
	for _, x := range m.moves {
		if x.Cut <= offset {
			start = max(start, x.Start)
		}
	}
	return start
}

// left is what a log start leaves of a state.
func (m *model) left(state map[string]string, start int64) map[string]string {
	state = maps.Clone(state)
	maps.DeleteFunc(state, func(key, _ string) bool { return m.last[key] < start })
	return state
}

// modelBatch is a batch of the log, or a marker.
type modelBatch struct {
	end            int64
	producer       int64 // of a transaction; 0: not in one
	changes        []change
	marker, commit bool
}

type change struct {
	op         delta.Op
	key, value string
}

func newModel(counter bool) *model {
	m := &model{counter: counter}
	m.replay(0)
	return m
}

// open lists the transactions without a marker: their batches.
func (m *model) open() map[int64][]int {
	open := map[int64][]int{}
	for i, b := range m.batches {
		if b.marker {
			delete(open, b.producer)
		} else if b.producer != 0 {
			open[b.producer] = append(open[b.producer], i)
		}
	}
	return open
}

// replay folds what lies below the last stable offset, and is in no aborted transaction.
func (m *model) replay(lastStable int64) {
	m.state, m.at, m.last = map[string]string{}, map[int64]map[string]string{0: {}}, map[string]int64{}
	begin := int64(0)
	aborted := map[int]bool{}
	for i, b := range m.batches {
		if b.marker && !b.commit {
			for _, dropped := range (&model{batches: m.batches[:i]}).open()[b.producer] {
				aborted[dropped] = true
			}
		}
	}
	for i, b := range m.batches {
		if b.end > lastStable {
			return
		}
		for k, c := range b.changes {
			if !aborted[i] {
				m.apply(c.op, c.key, c.value)
				m.last[c.key] = begin + int64(k)
			}
		}
		begin = b.end
		m.at[b.end] = m.left(m.state, m.start(b.end))
	}
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
	kind := []fold.Kind{fold.LastValue, fold.Counter, fold.Debezium}[r.IntN(3)]
	n := newNode(t, keyframer.Config{MemoryBytes: int64(4<<10 + r.IntN(64<<10)), Workers: 1 + r.IntN(3), ScrubRows: 1 << 30, ScrubPause: time.Millisecond})
	s := calm()
	s.Retain = 1 + r.IntN(5)
	s.DeleteRetentionMs = int64(r.IntN(3) * 5000)
	s.IntervalRecords = int64(r.IntN(3) * 40)
	l := n.add(kind, s, 1)[0]
	m := newModel(kind == fold.Counter)
	m.events = kind == fold.Debezium
	for range 80 {
		switch r.IntN(14) {
		case 0:
			n.cut()
		case 1:
			n.clock.advance(time.Duration(r.IntN(10)) * time.Second)
			s.DeltaRetentionMs = int64(r.IntN(30) * 1000)
			n.settle(s)
		case 2:
			n.restart()
			require.NoError(t, n.k.Add(spec(kind, l), s))
		case 6:
			if b := l.Bounds(); !m.counter { // of a counter it matters whether the row was there when the delta came: see storage/live
				require.NoError(t, l.HideBelow(t.Context(), b.LogStart+r.Int64N(b.LastStable-b.LogStart+1)))
			}
		case 3, 4:
			m.append(r, l, 1+r.Int64N(3))
		case 5:
			m.end(l, 1+r.Int64N(3), r.IntN(2) == 0)
		default:
			m.append(r, l, 0)
		}
		if r.IntN(20) == 0 {
			m.check(t, n, l)
		}
	}
	for producer := range m.open() {
		m.end(l, producer, r.IntN(2) == 0)
	}
	n.cut()
	m.check(t, n, l)
	require.Zero(t, n.metric("keyframe_scrub_corrupt_total"), "a scrub that finds something where nothing is")
}

// append appends one batch of random deltas, in a producer's transaction or (0) in none.
func (m *model) append(r *rand.Rand, l *memlog.Log, producer int64) {
	records, changes := m.draw(r)
	if producer == 0 {
		l.Append(records...)
	} else {
		l.AppendIn(producer, records...)
	}
	m.batches = append(m.batches, modelBatch{end: l.Bounds().LogEnd, producer: producer, changes: changes})
}

// end ends a producer's transaction, which may have nothing in it.
func (m *model) end(l *memlog.Log, producer int64, commit bool) {
	marker := l.End(producer, commit)
	m.batches = append(m.batches, modelBatch{end: marker + 1, producer: producer, marker: true, commit: commit})
}

// draw makes random deltas.
func (m *model) draw(r *rand.Rand) (list []batch.Record, changes []change) {
	for range 1 + r.IntN(20) {
		key, value, op := fmt.Sprint("key", r.IntN(50)), strconv.Itoa(r.IntN(1000)-500), delta.Op(0)
		switch n := r.IntN(8); {
		case m.events && n > 2:
			op = delta.Put
			list = append(list, memlog.Put(key, `{"op":"`+[]string{"c", "u", "r"}[r.IntN(3)]+`", "after":`+value+`}`))
		case m.events && n == 2:
			op = delta.Delete
			list = append(list, memlog.Put(key, `{"schema":null, "payload":{"op":"d","before":`+value+`}}`))
		case n == 0:
			op = delta.Delete
			list = append(list, memlog.Delete(key))
		case n == 1:
			op = delta.Put
			list = append(list, memlog.Record(delta.Put, key, []byte(value)))
		default:
			list = append(list, memlog.Put(key, value))
		}
		changes = append(changes, change{op, key, value})
	}
	return list, changes
}

func (m *model) check(t *testing.T, n *node, l keyframer.Log) {
	t.Helper()
	n.applied()
	require.NoError(t, n.partition(0).Failure())
	m.moved(n, l)
	m.replay(l.Bounds().LastStable)
	live, err := n.partition(0).Live()
	require.NoError(t, err)
	_, rows, _, err := live.Scan(nil, nil)
	require.NoError(t, err)
	got := map[string]string{}
	for row, err := range rows {
		require.NoError(t, err)
		got[string(row.Key)] = string(row.Value)
	}
	require.Equal(t, m.at[l.Bounds().LastStable], got)

	for _, f := range n.table(0).Frames() {
		require.EqualValues(t, len(m.at[f.Cut]), f.Digest.Count)
		require.Equal(t, sum(m.at[f.Cut]), f.Digest.Sum.Bytes(), "frame at %d", f.Cut)
	}
	m.checkPast(t, n, l)
	m.checkConsumer(t, n, l)
}

// moved waits until rows have left that are to leave, and takes note.
func (m *model) moved(n *node, l keyframer.Log) {
	n.t.Helper()
	tab := n.table(0)
	n.eventually("rows leave", func() bool {
		return tab.Start() >= l.Bounds().LogStart
	})
	m.moves = tab.Starts()
	for _, f := range tab.Frames() {
		m.moves = append(m.moves, table.StartMove{Cut: f.Cut, Start: f.Start})
	}
}

// readEvent is what a consumer makes of a change event of draw.
func readEvent(t *testing.T, value []byte) (delta.Op, []byte) {
	t.Helper()
	var e struct {
		Op      string
		After   json.RawMessage
		Payload *struct{ Op string }
	}
	if value == nil {
		return delta.Delete, nil
	}
	require.NoError(t, json.Unmarshal(value, &e))
	if e.Op == "" {
		require.Equal(t, "d", e.Payload.Op)
		return delta.Delete, nil
	}
	return delta.Put, e.After
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
	begin := l.Bounds().LogStart
	froms := maps.Clone(m.at)
	froms[begin] = nil // from the beginning
	for start, known := range froms {
		if start < begin || start != begin && start < n.table(0).Horizon() {
			continue
		}
		if known == nil {
			known = map[string]string{}
		}
		state := &model{counter: m.counter, state: maps.Clone(known)}
		var seen []batch.Record
		for from := start; from < l.Bounds().LastStable; {
			var batches []batch.Batch
			if from < l.Bounds().DeltaStart {
				batches, from = fetch(t, n, 0, from, 300)
			} else {
				var err error
				batches, err = l.Batches(from, l.Bounds().LastStable, 1<<20)
				if err != nil {
					continue // trimmed in between: rows
				}
				next := batches[len(batches)-1].NextOffset()
				aborted, err := l.Aborted(from, next)
				if err != nil {
					continue
				}
				batches = slices.DeleteFunc(batches, func(b batch.Batch) bool { return b.IsControl() || log.IsAborted(aborted, b) })
				from = next
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
			if m.events && op == 0 {
				op, record.Value = readEvent(t, record.Value)
			}
			if record.Value == nil {
				op = delta.Delete
			}
			state.apply(op, string(record.Key), string(record.Value))
		}
		if start >= n.table(0).Horizon() || start == begin { // nobody tells a consumer of what expired
			require.Equal(t, m.left(m.state, begin), m.left(state.state, begin), "from %d", start)
		}
	}
}

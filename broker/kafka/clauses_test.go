package kafka_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// copyOf reads a topic from its start, raw batches and rows, as the records that a mirror would produce.
func (k *keyed) copyOf(to int64) (records []raw.Record, offsets, times []int64) {
	k.T.Helper()
	for next := int64(0); next < to; {
		p := raw.FetchAt(k.Conn, k.Topic, next)
		require.Zero(k.T, p.ErrorCode)
		for _, b := range raw.BatchesOf(k.Conn, p.RecordBatches) {
			for _, r := range recordsOf(k.Conn, b) {
				r.Headers = append([]kmsg.Header(nil), r.Headers...)
				records = append(records, raw.Record{Key: r.Key, Value: r.Value, Headers: r.Headers})
				offsets = append(offsets, b.FirstOffset+int64(r.OffsetDelta))
				times = append(times, b.FirstTimestamp+r.TimestampDelta64)
			}
			next = b.FirstOffset + int64(b.LastOffsetDelta) + 1
		}
	}
	return records, offsets, times
}

// A row has the timestamp and the headers of the record that it was, in their order, whatever else is in its batch.
func TestRowsKeepTheirTimestampsAndHeaders(t *testing.T) {
	k := startKeyed(t, 1)
	h := func(pairs ...string) (all []kmsg.Header) {
		for i := 0; i < len(pairs); i += 2 {
			all = append(all, kmsg.Header{Key: pairs[i], Value: []byte(pairs[i+1])})
		}
		return all
	}
	k.put(0,
		raw.Record{Key: []byte("a"), Value: []byte("1"), Timestamp: -3000, Headers: h("z", "1", "a", "2", "z", "3")},
		raw.Record{Key: []byte("b"), Value: []byte("1"), Timestamp: -9000, Headers: h("old", "1")})
	k.put(0,
		raw.Record{Key: []byte("b"), Value: []byte("2"), Timestamp: -1000},
		raw.Record{Key: []byte("c"), Timestamp: -7000, Headers: h("why", "gone")})
	sent, offsets, times := k.copyOf(4)
	require.Equal(t, []int64{0, 1, 2, 3}, offsets)
	k.trim()
	rows, left, rowTimes := k.copyOf(4)
	require.Equal(t, []int64{0, 2, 3}, left[:3])
	for i, offset := range left[:3] {
		require.Equal(t, times[offset], rowTimes[i], "timestamp of offset %d", offset)
		require.Equal(t, sent[offset], rows[i], "offset %d", offset)
	}
}

// A full value is never folded again: who copies rows and the deltas behind them into a topic with the same fold has the same state.
func TestRowsFoldToThemselves(t *testing.T) {
	for kind, values := range map[string][3]string{
		"counter":          {"5", "-7", "40"},
		"json-merge-patch": {`{"a":1,"b":{"c":1,"d":2}}`, `{"b":{"c":null}}`, `{"a":null,"e":[1]}`},
		"debezium":         {`{"op":"c","after":{"id":1}}`, `{"op":"u","after":{"id":2}}`, `{"op":"u","after":{"id":3}}`},
	} {
		t.Run(kind, func(t *testing.T) {
			k := startKeyed(t, 1, "keyframe.fold", kind)
			for range 2 {
				k.put(0, raw.KV("a", values[0]), raw.KV("b", values[0]), raw.KV("gone", values[0]))
				k.put(0, raw.KV("a", values[1]), tombstone("gone"))
			}
			const end = 10
			state := k.stateAt(end)
			require.Len(t, state, 2)
			cut, err := k.b.keyframe.Cut(t.Context(), k.Name)
			require.NoError(t, err)
			k.put(0, raw.KV("a", values[2]), raw.KV("b", values[1]))
			k.eventually(func() bool { return k.partition(0).Bounds().DeltaStart == cut.Frames[0].Cut })
			rows, offsets, _ := k.copyOf(end + 2)
			require.Equal(t, []int64{6, 8, 9, 10, 11}, offsets, "b, a, the tombstone, and two deltas")

			mirror := startKeyed(t, 1, "keyframe.fold", kind)
			for range 2 { // some of it twice, as a mirror that goes back to its last commit
				mirror.put(0, rows[:3]...)
			}
			require.Equal(t, state, mirror.stateAt(6))
			mirror.put(0, rows[3:]...)
			require.Equal(t, k.stateAt(12), mirror.stateAt(8))
		})
	}
}

// stateAt is what the partition is folded to at its end.
func (k *keyed) stateAt(end int64) map[string]string {
	k.T.Helper()
	cut, err := k.b.keyframe.Cut(k.T.Context(), k.Name)
	require.NoError(k.T, err)
	require.Equal(k.T, end, cut.Frames[0].Cut)
	table, err := cut.Frames[0].Partition.Table()
	require.NoError(k.T, err)
	view, err := table.View(end)
	require.NoError(k.T, err)
	defer func() { require.NoError(k.T, view.Close()) }()
	state := map[string]string{}
	for row, err := range view.Offsets(0, false) {
		require.NoError(k.T, err)
		state[string(row.Key)] = string(row.Value)
	}
	return state
}

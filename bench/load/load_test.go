package load

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRecordsHaveTheirShape(t *testing.T) {
	tables, err := Shape{ValueBytes: 100, Keys: 50}.Tables()
	require.NoError(t, err)
	a, b, other := tables.Records(7), tables.Records(7), tables.Records(8)
	seen, differ := map[string]int{}, false
	for range 10_000 {
		r, again, another := a.Next(), b.Next(), other.Next()
		require.Equal(t, r, again, "one seed makes one sequence")
		differ = differ || string(r.Key) != string(another.Key)
		require.Len(t, r.Value, 100)
		require.Len(t, r.Key, KeyBytes)
		seen[string(r.Key)]++
	}
	require.True(t, differ)
	require.Len(t, seen, 50, "every key comes")
	for key, n := range seen {
		require.InDelta(t, 200, n, 100, key)
	}
	require.Equal(t, "key-000000000042", string(tables.Key(42)))
	require.EqualValues(t, 116, tables.shape.RecordBytes())
}

func TestRecordsWithoutKeys(t *testing.T) {
	tables, err := Shape{ValueBytes: 10}.Tables()
	require.NoError(t, err)
	records := tables.Records(1)
	first, second := records.Next(), records.Next()
	require.Nil(t, first.Key)
	require.NotEqual(t, first.Value, second.Value)
}

func TestWhatCannotBeMadeIsRefused(t *testing.T) {
	for _, s := range []Shape{{}, {ValueBytes: -1}, {ValueBytes: 1 << 21}, {ValueBytes: 1, Keys: -1}, {ValueBytes: 1, Keys: 1 << 40}} {
		_, err := s.Tables()
		require.Error(t, err, "%+v", s)
	}
	for _, change := range []func(*Producer){
		func(p *Producer) { p.Acks = "2" }, func(p *Producer) { p.Compression = "bzip2" }, func(p *Producer) { p.Linger = -1 }, func(p *Producer) { p.BatchBytes = 1 },
	} {
		p := DefaultProducer()
		require.NoError(t, p.Validate())
		change(&p)
		require.Error(t, p.Validate(), "%+v", p)
	}
}

// What is due is counted from the beginning: a sender that was held up has the rest due at once, and is not slower for it.
func TestPaceIsThatOfTheBeginning(t *testing.T) {
	began := time.Now()
	pace := Pace{Began: began, Rate: 1000}
	require.Equal(t, began.Add(time.Second), pace.Due(1000))
	late := Pace{Began: began.Add(-time.Hour), Rate: 1000}
	require.NoError(t, late.Wait(t.Context(), 3_000_000), "it was due long ago")
	require.NoError(t, pace.Wait(t.Context(), 20))
	require.GreaterOrEqual(t, time.Since(began), 20*time.Millisecond-grain)
	stopped, stop := context.WithCancel(t.Context())
	stop()
	require.ErrorIs(t, pace.Wait(stopped, 1_000_000), context.Canceled)
	require.Equal(t, began, Pace{Began: began}.Due(5), "no rate: at once")
}

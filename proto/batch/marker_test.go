package batch

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Control batches as Apache Kafka 4.3.1 wrote them: a commit at offset 1 and an abort at offset 3 of one producer.
const (
	kafkaCommit = "00000000000000010000004200000000023a268001003000000000000001a2149e6bc7000001a2149e6bc7" +
		"0000000000000fa90001ffffffff000000012000000008000000010c00000000000000"
	kafkaAbort = "000000000000000300000042000000000246ad8493003000000000000001a2149e6d0c000001a2149e6d0c" +
		"0000000000000fa90002ffffffff000000012000000008000000000c00000000000000"
)

func TestEndTxnEqualsKafka(t *testing.T) {
	for text, want := range map[string]EndTxn{
		kafkaCommit: {ProducerID: 4009, ProducerEpoch: 1, Commit: true},
		kafkaAbort:  {ProducerID: 4009, ProducerEpoch: 2},
	} {
		raw, err := hex.DecodeString(text)
		require.NoError(t, err)
		kafka, rest, err := Split(raw)
		require.NoError(t, err)
		require.Empty(t, rest)
		require.NoError(t, kafka.Validate())
		got, err := ParseEndTxn(kafka)
		require.NoError(t, err)
		require.Equal(t, want, got)
		ours := want.Batch(kafka.MaxTimestamp())
		ours.Stamp(kafka.BaseOffset(), kafka.LeaderEpoch())
		require.Equal(t, kafka, ours)
	}
}

func TestEndTxnRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		want := EndTxn{ProducerID: rapid.Int64Min(0).Draw(rt, "id"), ProducerEpoch: rapid.Int16Min(0).Draw(rt, "epoch"),
			CoordinatorEpoch: rapid.Int32Min(0).Draw(rt, "coordinator"), Commit: rapid.Bool().Draw(rt, "commit")}
		b := want.Batch(rapid.Int64().Draw(rt, "time"))
		require.NoError(rt, b.Validate())
		require.Len(rt, b, EndTxnSize)
		require.Equal(rt, int32(-1), b.LastSequence())
		b.Stamp(77, 3)
		got, err := ParseEndTxn(b)
		require.NoError(rt, err)
		require.Equal(rt, want, got)
	})
}

// Batches of records, and control records of a type that no version has, are not ends of transactions.
func TestParseEndTxnRefuses(t *testing.T) {
	_, err := ParseEndTxn(build(t, None, 1))
	require.ErrorIs(t, err, ErrControl)
	for name, change := range map[string]func(Batch){
		"a type that nobody knows": func(b Batch) { b[HeaderSize+8] = 7 },
		"a negative version":       func(b Batch) { b[HeaderSize+5] = 0x80 },
		"not transactional":        func(b Batch) { b[posAttributes+1] &^= attrTransactional },
		"not of a producer":        func(b Batch) { b[posProducerID] = 0x80 },
		"two records":              func(b Batch) { b[posNumRecords+3] = 2 },
		"a key that is too long":   func(b Batch) { b[HeaderSize+4] = 0x7e },
	} {
		b := EndTxn{ProducerID: 1, Commit: true}.Batch(5)
		change(b)
		_, err := ParseEndTxn(b)
		require.ErrorIs(t, err, ErrControl, name)
	}
}

// No bytes make the parser panic, and what it accepts it can build again.
func FuzzEndTxn(f *testing.F) {
	f.Add([]byte(EndTxn{ProducerID: 1, Commit: true}.Batch(5)))
	for _, text := range []string{kafkaCommit, kafkaAbort} {
		raw, err := hex.DecodeString(text)
		require.NoError(f, err)
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, _, err := Split(raw)
		if err != nil {
			return
		}
		e, err := ParseEndTxn(b)
		if err != nil {
			require.ErrorIs(t, err, ErrControl)
			return
		}
		again, err := ParseEndTxn(e.Batch(b.BaseTimestamp()))
		require.NoError(t, err)
		require.Equal(t, e, again)
	})
}

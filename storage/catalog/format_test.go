package catalog

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/storage/keys"
)

var update = flag.Bool("update", false, "write the golden file")

func goldenTopic() *Topic {
	return &Topic{
		Name: "files", ID: [16]byte{1, 2, 3, 15: 16}, CreatedMs: 1_700_000_000_000,
		Partitions: []Partition{{Ordinal: 4, Incarnation: [16]byte{5, 15: 6}}, {Ordinal: 1 << 31, Incarnation: [16]byte{7}}},
		Configs:    []Config{{"cleanup.policy", "compact"}, {"retention.ms", ""}},
	}
}

// goldenOffsets have the topic and the partition in their keys.
func goldenOffsets() []OffsetCommit {
	return []OffsetCommit{{Offset: 1<<40 + 1, LeaderEpoch: 3, CommitMs: 1_700_000_000_001, Metadata: "m\x00"}, {LeaderEpoch: -1}}
}

// goldenTransactions have the transactional id in their keys.
func goldenTransactions() []Transaction {
	return []Transaction{
		{ID: "tx", ProducerID: 4000, PreviousProducerID: 7, Epoch: 3, LastEpoch: 2, State: TxnOngoing, EpochPerTxn: true, TimeoutMs: 60_000,
			StartMs: 1_700_000_000_000, UpdateMs: 1_700_000_000_001,
			Partitions: []TxnPartition{{"files", 2, 1 << 31}, {"f", 0, 4}}, Groups: []string{"g", ""}},
		{ID: "tx", PreviousProducerID: -1, LastEpoch: -1, State: TxnAborted, TimeoutMs: 1, StartMs: -1},
		goldenBefore(),
	}
}

// goldenBefore is an open transaction as it was stored before there were additions.
func goldenBefore() Transaction {
	return Transaction{ID: "tx", ProducerID: 4000, PreviousProducerID: 7, Epoch: 3, LastEpoch: 2, State: TxnOngoing, EpochPerTxn: true,
		TimeoutMs: 60_000, StartMs: 1_700_000_000_000, UpdateMs: 1_700_000_000_001,
		Partitions: []TxnPartition{{"files", 2, 1 << 31}, {"f", 0, 4}}, Groups: []string{"g", ""}, Additions: -1}
}

// goldenAddition has the producer and the number in its key.
var goldenAddition = TxnAddition{ID: "tx", ProducerID: 4000, Partitions: []TxnPartition{{"files", 3, 1<<31 + 1}}, Groups: []string{"h"}}

// One line a value: what is to be read for as long as version 1 lives.
func TestGolden(t *testing.T) {
	const path = "testdata/values.golden"
	got := fmt.Sprintf("topic      %x\n", encodeTopic(goldenTopic()))
	for _, o := range goldenOffsets() {
		got += fmt.Sprintf("offset     %x\n", encodeOffset(o))
	}
	for _, tx := range goldenTransactions() {
		got += fmt.Sprintf("txn        %x\n", encodeTransaction(&tx))
	}
	got += fmt.Sprintf("added      %x\n", encodeTxnAddition(&goldenAddition))
	got += fmt.Sprintf("cluster id %x\n", keys.Versioned([]byte("AQIDBAUGRweIiQoLDA0ODw")))
	got += fmt.Sprintf("number     %x\n", keys.AppendInt64(nil, 4000))
	got += fmt.Sprintf("ordinals   %x\n", encodeOrdinals([]uint32{3, 1 << 31}))
	got += fmt.Sprintf("configs    %x\n", keys.Versioned(appendConfigs(nil, goldenTopic().Configs)))
	quota := goldenQuotas()
	quotaOf, err := quotaKey(quota.Entity)
	require.NoError(t, err)
	got += fmt.Sprintf("quotas     %x: %x\n", quotaOf, encodeQuotas(quota.Values))
	for _, l := range goldenLeases() {
		got += fmt.Sprintf("lease      %x\n", encodeLease(&l))
	}
	for _, d := range goldenDisputes() {
		got += fmt.Sprintf("dispute    %x\n", encodeDispute(&d))
	}
	for _, s := range goldenSettlements() {
		got += fmt.Sprintf("settled    %x\n", encodeSettlement(&s))
	}
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "the format changed: that needs a new version")
}

func TestRoundTrip(t *testing.T) {
	topic, err := decodeTopic("files", encodeTopic(goldenTopic()))
	require.NoError(t, err)
	require.Equal(t, goldenTopic(), topic)
	for _, want := range goldenOffsets() {
		got, err := decodeOffset(encodeOffset(want))
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, want := range goldenTransactions() {
		encoded := encodeTransaction(&want)
		got, err := decodeTransaction(want.ID, encoded)
		require.NoError(t, err)
		require.Equal(t, &want, got)
		for n := 1; n < len(encoded); n++ {
			_, err := decodeTransaction(want.ID, encoded[:n])
			require.ErrorIs(t, err, keys.ErrCorrupt, "%d bytes", n)
		}
	}
	added := encodeTxnAddition(&goldenAddition)
	a, err := decodeTxnAddition(added)
	require.NoError(t, err)
	require.Equal(t, &TxnAddition{Partitions: goldenAddition.Partitions, Groups: goldenAddition.Groups}, a)
	for n := 1; n < len(added); n++ {
		_, err := decodeTxnAddition(added[:n])
		require.ErrorIs(t, err, keys.ErrCorrupt, "%d bytes", n)
	}
	tx := encodeTransaction(&goldenTransactions()[1])
	tx[0] = txnGoesOn
	_, err = decodeTransaction("tx", tx)
	require.ErrorIs(t, err, keys.ErrCorrupt, "nothing is open that could go on")
	tx[0] = txnGoesOn + 1
	_, err = decodeTransaction("tx", tx)
	require.ErrorIs(t, err, keys.ErrVersion)
	b := encodeOffset(goldenOffsets()[0])
	_, err = decodeOffset(b[:20])
	require.ErrorIs(t, err, keys.ErrCorrupt)
	b[0] = 2
	_, err = decodeOffset(b)
	require.ErrorIs(t, err, keys.ErrVersion)
}

func FuzzTopic(f *testing.F) {
	f.Add(encodeTopic(goldenTopic()))
	f.Fuzz(func(t *testing.T, b []byte) {
		topic, err := decodeTopic("t", b)
		if err != nil {
			requireKnown(t, err)
			return
		}
		again, err := decodeTopic("t", encodeTopic(topic)) // the bytes may differ: a uvarint has longer forms
		require.NoError(t, err)
		require.Equal(t, topic, again)
	})
}

func FuzzTransaction(f *testing.F) {
	for _, tx := range goldenTransactions() {
		f.Add(encodeTransaction(&tx))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		tx, err := decodeTransaction("tx", b)
		if err != nil {
			requireKnown(t, err)
			return
		}
		again, err := decodeTransaction("tx", encodeTransaction(tx))
		require.NoError(t, err)
		require.Equal(t, tx, again)
	})
}

func FuzzTxnAddition(f *testing.F) {
	f.Add(encodeTxnAddition(&goldenAddition))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := decodeTxnAddition(b)
		if err != nil {
			requireKnown(t, err)
			return
		}
		again, err := decodeTxnAddition(encodeTxnAddition(a))
		require.NoError(t, err)
		require.Equal(t, a, again)
	})
}

func FuzzOrdinals(f *testing.F) {
	f.Add(encodeOrdinals([]uint32{3, 1 << 31}))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := decodeOrdinals(b)
		if err != nil {
			requireKnown(t, err)
			return
		}
		require.Equal(t, b, encodeOrdinals(list))
	})
}

func FuzzOffset(f *testing.F) {
	for _, o := range goldenOffsets() {
		f.Add(encodeOffset(o))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := decodeOffset(b)
		if err != nil {
			requireKnown(t, err)
			return
		}
		require.Equal(t, b, encodeOffset(o))
	})
}

func requireKnown(t *testing.T, err error) {
	if !errors.Is(err, keys.ErrVersion) {
		require.ErrorIs(t, err, keys.ErrCorrupt)
	}
}

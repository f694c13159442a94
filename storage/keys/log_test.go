package keys

import (
	"flag"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var updateLog = flag.Bool("update-log", false, "write the golden file of the log's keys")

// One line a key or value: what DecodeX is to read for as long as version 1 lives.
func goldenLog() string {
	var b strings.Builder
	line := func(what string, bytes []byte) { fmt.Fprintf(&b, "%-22s %x\n", what, bytes) }
	line("batch", Batch(nil, 7, 1<<33+5))
	line("time", Time(nil, 7, 9))
	line("partition", Partition(nil, SpacePart, 7))
	line("partition end", PartitionEnd(nil, SpacePart, 7))
	line("last partition end", PartitionEnd(nil, SpacePart, math.MaxUint32))
	line("producer", ProducerKey(nil, 7, 4000))
	line("epoch", Epoch(nil, 7, 3))
	line("broker", Broker("leader-epoch"))
	line("topic", Topic("files"))
	line("group", Group("g"))
	line("offset", Offset("g", "files", 2))
	line("pending offset", Pending("g", 4000, "files", 2))
	line("transaction", Txn("tx"))
	line("added to transaction", TxnAdded(4000, 2))
	part := goldenPart()
	line("partition value", part.Append(nil))
	part.LogStart = 700
	line("partition, hidden", part.Append(nil))
	producer := goldenProducer()
	line("producer value", producer.Append(nil))
	inTxn := goldenInTxn()
	line("producer value 2", inTxn.Append(nil))
	marked := goldenMarked()
	line("producer value 2, 0", marked.Append(nil))
	line("aborted", Aborted(nil, 7, 1<<33+6))
	line("aborted value", goldenAborted().Append(nil))
	line("epoch value", AppendInt64(nil, 77))
	line("time value", goldenTime().Append(nil))
	return b.String()
}

func goldenPart() Part {
	return Part{Incarnation: [16]byte{1, 2, 3, 15: 16}, LogStart: 5, DeltaStart: 600, BytesBefore: 1 << 40}
}

func goldenProducer() Producer {
	return Producer{Epoch: 2, Count: 2, Batches: [5]ProducerBatch{{math.MaxInt32, 3, 100, 1_700_000_000_000}, {3, 0, 104, 1_700_000_000_001}},
		LastMs: 1_700_000_000_001, TxnFirstOffset: -1, CoordinatorEpoch: -1}
}

func goldenInTxn() Producer {
	p := goldenProducer()
	p.TxnFirstOffset, p.TxnSinceMs, p.CoordinatorEpoch = 104, 1_700_000_000_001, 0
	return p
}

func goldenMarked() Producer {
	return Producer{Epoch: 3, LastMs: 1_700_000_000_002, TxnFirstOffset: -1, CoordinatorEpoch: 9}
}

func goldenAborted() AbortedTxn {
	return AbortedTxn{ProducerID: 4000, FirstOffset: 100, LastStable: 1<<33 + 7}
}

func goldenTime() TimeEntry {
	return TimeEntry{AppendMs: 1_700_000_000_000, MaxTimestamp: math.MinInt64, BytesBefore: 999}
}

func TestLogGolden(t *testing.T) {
	const path = "testdata/log.golden"
	if *updateLog {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(goldenLog()), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), goldenLog())
}

func TestLogRoundTrip(t *testing.T) {
	part := goldenPart()
	gotPart, err := DecodePart(part.Append(nil))
	require.NoError(t, err)
	require.Equal(t, part, gotPart)
	part.LogStart = 700
	gotPart, err = DecodePart(part.Append(nil))
	require.NoError(t, err)
	require.Equal(t, part, gotPart)
	for _, producer := range []Producer{goldenProducer(), goldenInTxn(), goldenMarked()} {
		gotProducer, err := DecodeProducer(producer.Append(nil))
		require.NoError(t, err)
		require.Equal(t, producer, gotProducer)
	}
	gotAborted, err := DecodeAborted(goldenAborted().Append(nil))
	require.NoError(t, err)
	require.Equal(t, goldenAborted(), gotAborted)
	gotTime, err := DecodeTimeEntry(goldenTime().Append(nil))
	require.NoError(t, err)
	require.Equal(t, goldenTime(), gotTime)
	group, topic, partition, err := ParseOffset(Offset("g", "files", 2))
	require.NoError(t, err)
	require.Equal(t, []any{"g", "files", int32(2)}, []any{group, topic, partition})

	group, id, topic, partition, err := ParsePending(Pending("g", 1<<40, "files", 2))
	require.NoError(t, err)
	require.Equal(t, []any{"g", int64(1) << 40, "files", int32(2)}, []any{group, id, topic, partition})
	for _, bad := range []string{"", "U", "Ug", "Ug\x00", "Ug\x00\x00\x00\x00\x00\x00\x00\x00\x01files\x00\x00\x00\x02", "Og\x00\x00\x00\x00\x00\x00\x00\x00\x01f\x00\x00\x00\x00\x02"} {
		_, _, _, _, err := ParsePending([]byte(bad))
		require.ErrorIs(t, err, ErrCorrupt, "%q", bad)
	}

	_, err = DecodePart(append([]byte{9}, part.Append(nil)[1:]...))
	require.ErrorIs(t, err, ErrVersion)
	_, err = DecodePart(part.Append(nil)[:20])
	require.ErrorIs(t, err, ErrCorrupt)
	unknown := goldenInTxn()
	_, err = DecodeProducer(append([]byte{3}, unknown.Append(nil)[1:]...))
	require.ErrorIs(t, err, ErrVersion)
	_, err = DecodeInt64(nil)
	require.ErrorIs(t, err, ErrCorrupt)
}

// No bytes make a decoder panic, and what it accepts it writes back the same.
func FuzzLogValues(f *testing.F) {
	part, producer, inTxn, marked := goldenPart(), goldenProducer(), goldenInTxn(), goldenMarked()
	f.Add(part.Append(nil))
	part.LogStart = 700
	f.Add(part.Append(nil))
	f.Add(producer.Append(nil))
	f.Add(inTxn.Append(nil))
	f.Add(marked.Append(nil))
	f.Add(goldenAborted().Append(nil))
	f.Add(goldenTime().Append(nil))
	f.Add(Offset("g", "files", 2))
	f.Add(Batch(nil, 1, 2))
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := DecodePart(b); err == nil {
			require.Equal(t, b, v.Append(nil))
		}
		if v, err := DecodeProducer(b); err == nil {
			require.Equal(t, b, v.Append(nil))
		}
		if v, err := DecodeAborted(b); err == nil {
			require.Equal(t, b, v.Append(nil))
		}
		if v, err := DecodeTimeEntry(b); err == nil {
			require.Equal(t, b, v.Append(nil))
		}
		if v, err := DecodeInt64(b); err == nil {
			require.Equal(t, b, AppendInt64(nil, v))
		}
		if group, topic, partition, err := ParseOffset(b); err == nil {
			require.Equal(t, b, Offset(group, topic, partition))
		}
		_, _ = OffsetOf(b)
		_, _ = EpochOf(b)
	})
}

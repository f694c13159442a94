package state_test

import (
	"net/http"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	api "github.com/keyframelog/keyframe/proto/state"
)

// A read waits for what is committed when it comes, not for a transaction that is open; the state at an offset knows of a transaction
// what its marker says, wherever that lies.
func TestReadsOfTransactions(t *testing.T) {
	n := newNode(t, 1, nil)
	l := n.logs[0]
	value := func(at *api.At) string {
		t.Helper()
		got, err := n.get(&api.GetRequest{Key: []byte("a"), At: at})
		require.NoError(t, err)
		if len(got.Rows) == 0 {
			return "none"
		}
		return string(got.Rows[0].Value)
	}
	l.Append(memlog.Put("a", "1"))
	l.AppendIn(7, memlog.Put("a", "7")) // 1
	l.AppendIn(8, memlog.Put("a", "8")) // 2
	l.Append(memlog.Put("a", "2"))      // 3
	require.Equal(t, "1", value(nil), "it does not wait for the transactions")
	_, err := n.get(&api.GetRequest{Key: []byte("a"), At: at(2)})
	code, why, detail := reason(t, err)
	require.Equal(t, connect.CodeOutOfRange, code)
	require.Equal(t, api.Reason_REASON_ABOVE_LAST_STABLE, why)
	require.EqualValues(t, 1, detail.LastStableOffset)

	l.End(8, true) // 4
	require.Equal(t, "1", value(nil))
	l.End(7, false) // 5
	require.Equal(t, "2", value(nil))
	for offset, want := range []string{"none", "1", "1", "8", "2", "2", "2"} {
		require.Equal(t, want, value(at(int64(offset))), "at %d", offset)
	}
}

// The state at a time above which a transaction is open is what its end decides: however it is asked for, the answer is what the transaction is
// and what is known, not the past; and once it has ended, the state.
func TestTimesOfTransactions(t *testing.T) {
	n := newNode(t, 2, nil)
	n.logs[0].Append(memlog.Put("a", "1"))
	n.logs[1].Append(memlog.Put("b", "1"))
	n.clock.ms.Add(1000)
	n.logs[1].AppendIn(8, memlog.Put("b", "8")) // 1
	n.clock.ms.Add(1000)
	n.logs[0].AppendIn(7, memlog.Put("a", "7")) // 1
	n.logs[0].Append(memlog.Put("a", "2"))      // 2
	n.clock.ms.Add(1000)

	known, later := atTime(1_000_999), atTime(1_002_500)
	get := func(at *api.At) (string, error) {
		got, err := n.get(&api.GetRequest{Key: []byte("a"), At: at})
		if err != nil {
			return "", err
		}
		return string(got.Rows[0].Value), nil
	}
	ways := map[string]func() error{
		"get":  func() error { _, err := get(later); return err },
		"scan": func() error { _, _, _, err := n.scan(&api.ScanRequest{At: later}); return err },
		"export": func() error {
			stream, err := n.client.Export(t.Context(), connect.NewRequest(&api.ExportRequest{Topic: topicName, Partition: ptr(int32(1)), At: later}))
			require.NoError(t, err)
			defer stream.Close()
			for stream.Receive() {
			}
			return stream.Err()
		},
		"diff to":      func() error { _, _, _, err := n.diff(&api.DiffRequest{From: known, To: later}); return err },
		"diff from":    func() error { _, _, _, err := n.diff(&api.DiffRequest{From: later}); return err },
		"history to":   func() error { _, _, err := n.history(&api.HistoryRequest{Key: []byte("a"), To: later}); return err },
		"history from": func() error { _, _, err := n.history(&api.HistoryRequest{Key: []byte("a"), From: later}); return err },
	}
	const says = "a transaction of producer id 8 has been open since offset 1, 1970-01-01T00:16:41Z: the state at the time 1970-01-01T00:16:42.5Z, " +
		"offset 2 of partition 1, is known when it has ended; now it is known up to the time 1970-01-01T00:16:40.999Z, offset 1"
	for name, ask := range ways {
		code, why, detail := reason(t, ask())
		require.Equal(t, connect.CodeOutOfRange, code, name)
		require.Equal(t, api.Reason_REASON_ABOVE_LAST_STABLE, why, name)
		require.EqualValues(t, 1, detail.GetPartition(), name)
		require.EqualValues(t, 1, detail.LastStableOffset, name)
		require.ErrorContains(t, ask(), says, name)
	}
	answer, body := n.request(http.MethodGet, "/v1/topics/files/rows?at=1970-01-01T00:16:42.5Z")
	require.Equal(t, http.StatusBadRequest, answer.StatusCode)
	require.Contains(t, string(body), says)
	_, err := n.get(&api.GetRequest{Key: []byte("a"), Partition: ptr(int32(0)), At: at(3)})
	require.ErrorContains(t, err, "offset 3 of partition 0 is above the last stable offset 1; a transaction of producer id 7 has been open since offset 1, 1970-01-01T00:16:42Z; ")
	value, err := get(known)
	require.NoError(t, err)
	require.Equal(t, "1", value, "the time that the errors name")

	n.logs[1].End(8, false)
	_, err = get(later)
	require.ErrorContains(t, err, "producer id 7", "the other one holds partition 0")
	n.logs[0].End(7, false)
	for name, ask := range ways {
		require.NoError(t, ask(), name)
	}
	value, err = get(later)
	require.NoError(t, err)
	require.Equal(t, "2", value)
	n.clock.ms.Add(1000)
	value, err = get(atTime(1_003_500))
	require.NoError(t, err)
	require.Equal(t, "2", value, "nothing was appended since")
}

// What was appended before a time and is not on the disk yet is waited for, as a transaction's end is.
func TestTimeOfWhatIsNotSynced(t *testing.T) {
	n := newNode(t, 1, nil)
	n.logs[0].Append(memlog.Put("a", "1"))
	n.clock.ms.Add(1000)
	n.logs[0].Hold(true)
	n.logs[0].Append(memlog.Put("a", "2"))
	_, err := n.get(&api.GetRequest{Key: []byte("a"), At: atTime(1_001_000)})
	_, why, _ := reason(t, err)
	require.Equal(t, api.Reason_REASON_ABOVE_LAST_STABLE, why)
	require.ErrorContains(t, err, "what was appended from offset 1 on is on its way to the disk: the state at the time 1970-01-01T00:16:41Z, "+
		"offset 2 of partition 0, is known when it is there; now it is known up to the time 1970-01-01T00:16:40.999Z")
	n.logs[0].Hold(false)
	got, err := n.get(&api.GetRequest{Key: []byte("a"), At: atTime(1_001_000)})
	require.NoError(t, err)
	require.Equal(t, "2", string(got.Rows[0].Value))
}

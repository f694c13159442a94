package state_test

import (
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

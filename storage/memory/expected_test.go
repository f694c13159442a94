package memory_test

import (
	"bytes"
	"math"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/memory"
)

// Room is made for the rows that are said to come, but not for any number that somebody says.
func TestRoomForWhatIsSaidToCome(t *testing.T) {
	var out bytes.Buffer
	w := frame.NewWriter(&out, frame.Header{Cut: 10, Since: -1, Fold: 1})
	var h digest.Hasher
	var d digest.Digest
	d.Add(h.Entry([]byte("k"), []byte("v")))
	require.NoError(t, w.Append(&frame.Row{Key: []byte("k"), Value: []byte("v"), Offset: 3}))
	require.NoError(t, w.Close(frame.Footer{Digest: d, Rows: 1, Pub: d.Pub(digest.FrameID{Cut: 10})}))
	for _, said := range []int64{math.MinInt64, -1, 0, 1, 1000, math.MaxInt64} {
		r, err := frame.NewReader(bytes.NewReader(out.Bytes()), 0)
		require.NoError(t, err)
		r.Expect(said, 100)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		table, _, err := memory.LoadFrom(r, memory.Config{})
		runtime.ReadMemStats(&after)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(128<<20), "%d", said)
		if said <= 0 {
			require.ErrorIs(t, err, frame.ErrBeyond)
			continue
		}
		require.NoError(t, err)
		row, ok := table.Get([]byte("k"))
		require.True(t, ok)
		require.Equal(t, "v", string(row.Value))
	}
}

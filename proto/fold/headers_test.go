package fold

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/delta"
)

// A folded value says put in place of its last delta's op, and keeps the other headers; a record of a last-value topic stays as it is.
func TestRowHeaders(t *testing.T) {
	put := batch.Header{Key: delta.HeaderOp, Value: []byte("put")}
	other := batch.Header{Key: "a", Value: []byte("b")}
	add := batch.Header{Key: delta.HeaderOp, Value: []byte("add")}
	require.Equal(t, batch.AppendHeaders(nil, put), Counter.RowHeaders(false, nil))
	require.Equal(t, batch.AppendHeaders(nil, put), Counter.RowHeaders(false, batch.AppendHeaders(nil, add)))
	require.Equal(t, batch.AppendHeaders(nil, other, put), Counter.RowHeaders(false, batch.AppendHeaders(nil, add, other)))
	require.Equal(t, batch.AppendHeaders(nil, other), Counter.RowHeaders(true, batch.AppendHeaders(nil, add, other)))
	require.Equal(t, batch.AppendHeaders(nil, put, other), LastValue.RowHeaders(false, batch.AppendHeaders(nil, put, other)))
	require.Nil(t, LastValue.RowHeaders(false, nil))
}

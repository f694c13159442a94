//go:build !race

// The race detector makes sync.Pool forget, so that nothing can be said about allocations.

package fold

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/delta"
)

// Only a string that is escaped more than it must be costs an allocation.
func TestCanonicalAllocatesNothing(t *testing.T) {
	var c canonicaliser
	for _, document := range []string{plainDocument, `{"b":[1.50,2E3,-0.0],"a":"é","deep":{"z":1,"y":{"x":2,"w":12345678901234567890.5}}}`} {
		in := []byte(document)
		allocations := testing.AllocsPerRun(100, func() { _, _ = c.canonical(in) })
		require.Less(t, allocations, 1.0)
		require.Less(t, testing.AllocsPerRun(100, func() { _, _ = JSONMergePatch.Delta(in, in, nil) }), 1.0)
	}
}

func TestMergeAllocatesNothing(t *testing.T) {
	f := NewFolder(JSONMergePatch, 1<<20)
	state := State{true, []byte(canonical(t, plainDocument))}
	d := delta.Delta{Op: delta.Merge, Key: []byte("k"), Value: []byte(`{"amount":13.5,"note":"other words","new":{"a":{"b":null}}}`)}
	require.Less(t, testing.AllocsPerRun(100, func() { f.Apply(state, d) }), 1.0)
}

func TestNamedOpsAllocateNothing(t *testing.T) {
	key, value := []byte("k"), []byte("7")
	headers := batch.AppendHeaders(nil, batch.Header{Key: delta.HeaderOp, Value: []byte("put")})
	require.Less(t, testing.AllocsPerRun(100, func() { _, _ = Counter.Delta(key, value, headers) }), 1.0)
}

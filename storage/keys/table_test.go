package keys_test

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/storage/keys"
)

// Within a space the keys of a partition are one range, in the order of what they name, and the spaces follow one another.
func TestTableKeysOrder(t *testing.T) {
	var all [][]byte
	for _, space := range keys.TableSpaces() {
		for _, o := range []uint32{0, 255, 256, math.MaxUint32} {
			start, end := keys.TableSpan(space, o)
			list := [][]byte{keys.AppendTableOffset(nil, space, o, 0), keys.AppendTableOffset(nil, space, o, 255),
				keys.AppendTableOffset(nil, space, o, 256), keys.AppendTableOffset(nil, space, o, math.MaxInt64)}
			for _, k := range list {
				require.LessOrEqual(t, bytes.Compare(start, k), 0)
				require.Less(t, bytes.Compare(k, end), 0)
				s, ordinal, rest, ok := keys.ParseTableKey(k)
				require.True(t, ok)
				require.Equal(t, space, s)
				require.Equal(t, o, ordinal)
				require.Len(t, rest, 8)
			}
			all = append(all, list...)
		}
	}
	require.True(t, slices.IsSortedFunc(all, bytes.Compare))
	require.Negative(t, bytes.Compare(keys.AppendTableUndo(nil, 1, 5, []byte{0xff, 0xff}), keys.AppendTableUndo(nil, 1, 6, nil)))
	require.Negative(t, bytes.Compare(keys.AppendTableVector(nil, 1, 5, math.MaxInt64), keys.AppendTableVector(nil, 1, 6, 0)))
	past := keys.AppendTablePast(nil, 1, 5, math.MaxInt64)
	require.Len(t, past, keys.TablePastLen)
	require.Negative(t, bytes.Compare(past, keys.AppendTablePast(nil, 1, 6, 0)))
	_, ok := keys.ParseTableOffset([]byte{0x80, 0, 0, 0, 0, 0, 0, 0})
	require.False(t, ok, "negative")
	_, _, _, ok = keys.ParseTableKey([]byte{1, 2})
	require.False(t, ok)
}

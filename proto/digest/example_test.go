package digest_test

import (
	"fmt"

	"github.com/keyframelog/keyframe/proto/digest"
)

// A table's digest follows its rows: take the old entry out, put the new one in.
func Example() {
	var h digest.Hasher
	var table, other digest.Digest
	table.Add(h.Entry([]byte("a"), []byte("1")))
	table.Add(h.Entry([]byte("b"), []byte("1")))
	table.Sub(h.Entry([]byte("b"), []byte("1")))
	table.Add(h.Entry([]byte("b"), []byte("2")))

	other.Add(h.Entry([]byte("b"), []byte("2")))
	other.Add(h.Entry([]byte("a"), []byte("1")))
	fmt.Println(table == other, table.Count)
	// Output: true 2
}

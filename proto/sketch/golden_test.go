package sketch_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/sketch"
)

var update = flag.Bool("update", false, "write the golden file anew")

// The golden file is what others have to reproduce, and a program in Python that follows the package doc does: which cells tags are in, and the cells of
// the tags that are the first 8 bytes of SHA-256 of "0" to "999". Brokers and replicas of different versions meet, so none of it ever changes.
func TestGolden(t *testing.T) {
	var tags []uint64
	for i := range 1000 {
		sum := sha256.Sum256(fmt.Append(nil, i))
		tags = append(tags, binary.BigEndian.Uint64(sum[:]))
	}
	var out strings.Builder
	fmt.Fprintln(&out, "# tag: the cells below 2^20 that it is in")
	for _, tag := range append([]uint64{0, 1, 1<<64 - 1}, tags[:5]...) {
		fmt.Fprintf(&out, "%016x:", tag)
		for i, c := range sketch.NewEncoder([]uint64{tag}).Next(nil, sketch.CellsMax) {
			if c.Count == 1 {
				fmt.Fprintf(&out, " %d", i)
			}
		}
		fmt.Fprintln(&out)
	}
	enc := sketch.NewEncoder(tags)
	for _, n := range []int{16, 984, 8} {
		first := enc.At()
		cells := enc.Next(nil, n)
		if n > 16 {
			continue
		}
		fmt.Fprintf(&out, "# cells from %d on, of 1000 tags: index, tags, bytes\n", first)
		for i := range cells {
			b := sketch.Append(nil, first+i, 1000, cells[i:i+1])
			fmt.Fprintf(&out, "%d %d %s\n", first+i, cells[i].Count, hex.EncodeToString(b))
		}
	}
	path := filepath.Join("testdata", "cells.golden")
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(out.String()), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), out.String())
}

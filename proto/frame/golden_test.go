package frame_test

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/frame"
)

var update = flag.Bool("update", false, "write the golden files anew")

// goldenRows has every kind of row: plain, tombstone, with headers, empty key, empty value, a time before the block's.
func goldenRows() []frame.Row {
	headers := batch.AppendHeaders(nil, batch.Header{Key: "source", Value: []byte("test")}, batch.Header{Key: "null"})
	return []frame.Row{
		{Key: []byte("alpha"), Value: []byte(`{"n":1}`), Offset: 50, Timestamp: 1_700_000_000_000},
		{Key: []byte("beta"), Tombstone: true, Offset: 51, Timestamp: 1_700_000_000_005},
		{Key: []byte("gamma"), Value: []byte("2"), Offset: 60, Timestamp: 1_699_999_999_999, Headers: headers},
		{Key: []byte{}, Value: []byte{}, Offset: 61, Timestamp: 1_700_000_000_001},
		{Key: []byte("\x00\xff"), Tombstone: true, Offset: 99, Timestamp: -1, Headers: headers},
	}
}

// The golden files are hex dumps, to be read beside doc.go. They are what frames at rest look like: a change needs a new version.
func TestGolden(t *testing.T) {
	var live []frame.Row
	for _, r := range goldenRows() {
		if !r.Tombstone {
			live = append(live, r)
		}
	}
	var blocks []frame.Row // a huge row between small ones: three blocks
	for i, size := range []int{1, frame.BlockBytes, 1} {
		blocks = append(blocks, frame.Row{Key: []byte{byte('a' + i)}, Value: bytes.Repeat([]byte{'v'}, size), Offset: int64(i) + 3, Timestamp: 1})
	}
	for _, x := range []struct {
		name string
		head frame.Header
		rows []frame.Row
	}{
		{"whole", header(100, -1), live},
		{"since", header(100, 50), goldenRows()},
		{"empty", header(0, -1), nil},
		{"blocks", header(6, -1), blocks},
	} {
		t.Run(x.name, func(t *testing.T) {
			x.head.Start = min(x.head.Start, x.head.Cut)
			encoded := encode(t, x.head, x.rows)
			dump := []byte(hex.Dump(squeeze(encoded)))
			path := filepath.Join("testdata", x.name+".golden")
			if *update {
				require.NoError(t, os.MkdirAll("testdata", 0o755))
				require.NoError(t, os.WriteFile(path, dump, 0o644))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Equal(t, string(want), string(dump))

			rows, r, err := decode(bytes.NewReader(encoded), 0)
			require.NoError(t, err)
			require.Equal(t, x.rows, rows)
			require.Equal(t, x.head, r.Header())
		})
	}
}

// squeeze leaves 16 bytes of the huge value.
func squeeze(b []byte) []byte {
	run := bytes.Repeat([]byte{'v'}, frame.BlockBytes)
	return bytes.Replace(b, run, run[:16], 1)
}

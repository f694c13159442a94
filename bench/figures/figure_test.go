package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLinesOfBenchmarksAreRead(t *testing.T) {
	m, err := parse(strings.NewReader(`goos: linux
BenchmarkRepair/store=dir/keys=1-2         	       1	      2384 bytes	   12198071 frame-bytes	         2.000 trips
BenchmarkFold/touched=10%          	       5	         0 ns/op	    400000.5 keys/cpu-s
BenchmarkRepair/store=dir
PASS
`))
	require.NoError(t, err)
	require.Equal(t, measured{
		"Repair/store=dir/keys=1": {"bytes": 2384, "frame-bytes": 12198071, "trips": 2},
		"Fold/touched=10%":        {"ns/op": 0, "keys/cpu-s": 400000.5},
	}, m)
}

func TestFigureSaysWhetherItsBoundIsKept(t *testing.T) {
	m := measured{"B": {"bytes": 4_000, "frame-bytes": 115_000_000, "%": 15.25, "rows/s": 1_999_999}}
	for _, c := range []struct {
		f    figure
		want string
		kept bool
	}{
		{figure{what: "x", bench: "B", unit: "bytes", bound: 4_000, whole: "frame-bytes"}, "x|4,000 bytes|<= 4,000 bytes|115,000,000 bytes|", true},
		{figure{what: "x", bench: "B", unit: "bytes", bound: 3_999}, "x|4,000 bytes|<= 3,999 bytes||MISSED", false},
		{figure{what: "x", bench: "B", unit: "bytes", none: true}, "x|4,000 bytes|<= 0 bytes||MISSED", false},
		{figure{what: "x", bench: "B", unit: "bytes"}, "x|4,000 bytes|||", true},
		{figure{what: "x", bench: "B", unit: "%", bound: 15}, "x|15.2 %|<= 15 %||MISSED", false},
		{figure{what: "x", bench: "B", unit: "rows/s", bound: 2_000_000, least: true}, "x|1,999,999 rows/s|>= 2,000,000 rows/s||MISSED", false},
	} {
		line, kept, err := c.f.line(m)
		require.NoError(t, err)
		require.Equal(t, strings.ReplaceAll(c.want, "|", "\t"), line)
		require.Equal(t, c.kept, kept)
	}
	for _, f := range []figure{{bench: "A", unit: "bytes"}, {bench: "B", unit: "s"}, {bench: "B", unit: "bytes", whole: "s"}} {
		_, _, err := f.line(m)
		require.Error(t, err, "a figure that was not measured is none that is kept")
	}
}

// The build with which the upkeep of the digest is compared must not keep one.
func TestIdleDigestHashesNothing(t *testing.T) {
	overlay, err := idleDigest(t.Context(), t.TempDir())
	require.NoError(t, err)
	source, err := os.ReadFile(strings.Replace(overlay, "overlay.json", "digest.go", 1))
	require.NoError(t, err)
	for _, f := range []string{"func (s *Sum) Add(e Entry) {}", "func (s *Sum) Sub(e Entry) {}", "func (h *Hasher) Entry(key, value []byte) Entry { return Entry{31: 1} }"} {
		require.Contains(t, string(source), f)
	}
	require.NoError(t, compile(t.Context(), "proto/digest", t.TempDir()+"/x", "-overlay="+overlay))
}

package batch

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// Arbitrary bytes are framed, checked and read without a panic and without allocating beyond the limit; the checksum is put right, so
// that the fuzzer gets behind it.
func FuzzBatch(f *testing.F) {
	for codec := None; codec <= Zstd; codec++ {
		f.Add([]byte(build(f, codec, 3)), true)
	}
	java, err := filepath.Glob(filepath.Join("testdata", "java-*.batch"))
	require.NoError(f, err)
	for _, name := range java {
		if raw, err := os.ReadFile(name); err == nil && len(raw) < 8<<10 {
			f.Add(raw, true)
		}
	}
	const limit = 1 << 20
	r := NewReader(limit)
	f.Fuzz(func(t *testing.T, input []byte, seal bool) {
		raw := bytes.Clone(input) // which must not be changed
		if seal && len(raw) > HeaderSize {
			Batch(raw).seal()
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for len(raw) > 0 {
			b, rest, err := Split(raw)
			if err != nil {
				break
			}
			valid := b.Validate() == nil
			read := int32(0)
			if err = r.Reset(b); err == nil {
				for record, recordErr := range r.All() {
					if err = recordErr; err == nil {
						read++
						for range record.Headers.All() {
						}
					}
				}
			}
			if valid && err == nil {
				require.Equal(t, b.NumRecords(), read)
			}
			raw = rest
		}
		runtime.ReadMemStats(&after)
		// Decoders are made once; lz4's blocks are up to 4 MiB.
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(8*len(input)+4*limit+16<<20))
	})
}

func FuzzHeaders(f *testing.F) {
	f.Add([]byte(AppendHeaders(nil, Header{"a", []byte("1")}, Header{"b", nil})), "a")
	f.Fuzz(func(t *testing.T, raw []byte, key string) {
		h := Headers(raw)
		valid := h.Validate() == nil
		seen := 0
		for range h.All() {
			seen++
		}
		h.Get(key)
		if valid {
			require.Equal(t, h.Len(), seen)
			with := h.With(key, []byte("v"))
			require.NoError(t, with.Validate())
			v, ok := with.Get(key)
			require.True(t, ok)
			require.Equal(t, "v", string(v))
			_, ok = with.Without(key).Get(key)
			require.False(t, ok)
		}
	})
}

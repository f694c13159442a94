package batch

import (
	"fmt"
	"testing"
)

const benchRecords = 600 // some 64 KiB

func BenchmarkValidate(b *testing.B) {
	raw := build(b, None, benchRecords)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if err := raw.Validate(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReader reads all records of a batch; bytes are those after decompression.
func BenchmarkReader(b *testing.B) {
	size := len(build(b, None, benchRecords))
	for codec := None; codec <= Zstd; codec++ {
		b.Run(codec.String(), func(b *testing.B) {
			raw := build(b, codec, benchRecords)
			r := NewReader(1 << 20)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if err := r.Reset(raw); err != nil {
					b.Fatal(err)
				}
				for {
					_, ok, err := r.Next()
					if err != nil {
						b.Fatal(err)
					}
					if !ok {
						break
					}
					n++
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds()/1e6, "Mrecords/s")
		})
	}
}

// BenchmarkBuilder encodes a batch; bytes are those before compression.
func BenchmarkBuilder(b *testing.B) {
	records := readAll(b, build(b, None, benchRecords))
	for codec := None; codec <= Zstd; codec++ {
		b.Run(fmt.Sprint(codec), func(b *testing.B) {
			opts := NewOptions()
			opts.Codec = codec
			builder := NewBuilder(opts)
			var dst []byte
			b.ReportAllocs()
			for b.Loop() {
				builder.Reset(opts)
				for _, r := range records {
					if err := builder.Append(r); err != nil {
						b.Fatal(err)
					}
				}
				b.SetBytes(int64(builder.Size()))
				var err error
				if dst, err = builder.AppendTo(dst[:0]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

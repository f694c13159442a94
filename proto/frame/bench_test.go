package frame_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/frame"
)

// Rows of about 115 bytes: the key is 14, the value 100.
const benchRows = 100_000

func BenchmarkEncode(b *testing.B) {
	rows := someRows(benchRows, 100)
	h := header(1<<20, -1)
	footer := footerOf(h, rows)
	b.ReportAllocs()
	for b.Loop() {
		w := frame.NewWriter(io.Discard, h)
		for i := range rows {
			if err := w.Append(&rows[i]); err != nil {
				b.Fatal(err)
			}
		}
		if err := w.Close(footer); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(benchRows)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrows/s")
}

func BenchmarkDecode(b *testing.B) {
	encoded := encode(b, header(1<<20, -1), someRows(benchRows, 100))
	for name, buffer := range map[string][]byte{"reused": make([]byte, 0, 2*frame.BlockBytes), "kept": nil} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(encoded)))
			b.ReportAllocs()
			for b.Loop() {
				require.EqualValues(b, benchRows, count(b, encoded, buffer))
			}
			b.ReportMetric(float64(benchRows)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrows/s")
		})
	}
}

func count(b *testing.B, encoded, buffer []byte) (rows int) {
	r, err := frame.NewReader(bytes.NewReader(encoded), 0)
	require.NoError(b, err)
	for {
		block, err := r.Next(buffer)
		if err == io.EOF {
			return rows
		}
		require.NoError(b, err)
		for _, err := range block.Rows() {
			if err != nil {
				b.Fatal(err)
			}
			rows++
		}
	}
}

// What a reader is told to expect costs little beside the rows.
func BenchmarkDecodeExpecting(b *testing.B) {
	encoded := encode(b, header(1<<20, -1), someRows(benchRows, 100))
	buffer := make([]byte, 0, 2*frame.BlockBytes)
	b.SetBytes(int64(len(encoded)))
	for b.Loop() {
		r, err := frame.NewReader(bytes.NewReader(encoded), 0)
		require.NoError(b, err)
		r.Expect(benchRows, 1<<40)
		for err == nil {
			_, err = r.Next(buffer)
		}
		require.ErrorIs(b, err, io.EOF)
	}
	b.ReportMetric(float64(benchRows)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrows/s")
}

package batch

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// From every codec to every other, at every level, the records and all of the header but the codec stay.
func TestRecompress(t *testing.T) {
	levels := map[Codec][]int{None: {0}, Gzip: {0, -1, 1, 6, 9}, Snappy: {0}, LZ4: {0, 1, 3, 9, 12, 17}, Zstd: {0, -131072, -1, 1, 3, 7, 22}}
	for from := None; from <= Zstd; from++ {
		opts := NewOptions()
		opts.Codec, opts.ProducerID, opts.ProducerEpoch, opts.BaseSequence, opts.Transactional = from, 7, 3, 11, true
		builder := NewBuilder(opts)
		for i := range 500 {
			require.NoError(t, builder.Append(Record{Offset: int64(i), Timestamp: int64(1000 + i%7), Key: []byte(fmt.Sprint("key", i)), Value: []byte(`{"some":"value","n":12345}`),
				Headers: AppendHeaders(nil, Header{"h", nil})}))
		}
		source, err := builder.Finish()
		require.NoError(t, err)
		want := readAll(t, source)
		r := NewReader(1 << 20)
		for to := None; to <= Zstd; to++ {
			for _, level := range levels[to] {
				require.NoError(t, r.Reset(source))
				got, err := source.Recompress(to, level, r.Records())
				require.NoError(t, err, "%s at %d", to, level)
				require.NoError(t, got.Validate())
				require.Equal(t, to, got.Codec())
				require.Equal(t, want, readAll(t, got), "%s to %s at %d", from, to, level)
				if to != None {
					require.Less(t, len(got), builder.Size()/2, "%s at %d", to, level)
				}
				// The header, but for length, checksum and codec.
				require.Equal(t, source[posLeaderEpoch:posCRC], got[posLeaderEpoch:posCRC])
				require.Equal(t, source.Attributes()&^attrCodec, got.Attributes()&^attrCodec)
				require.Equal(t, source[posLastOffsetDelta:HeaderSize], got[posLastOffsetDelta:HeaderSize])
			}
		}
	}
}

func TestRecompressRefusesCodecs(t *testing.T) {
	source := build(t, None, 3)
	_, err := source.Recompress(7, 0, source[HeaderSize:])
	require.ErrorIs(t, err, ErrCodec)
}

func TestSetLimit(t *testing.T) {
	source := build(t, Zstd, benchRecords)
	r := NewReader(1 << 20)
	require.NoError(t, r.Reset(source))
	r.SetLimit(1000)
	require.ErrorIs(t, r.Reset(source), ErrTooLarge)
	r.SetLimit(1 << 20)
	require.NoError(t, r.Reset(source))
}

// BenchmarkRecompress reads a batch in one codec and writes it in another; bytes are those without compression.
func BenchmarkRecompress(b *testing.B) {
	size := len(build(b, None, benchRecords))
	for _, from := range []Codec{None, Zstd} {
		source := build(b, from, benchRecords)
		for to := None; to <= Zstd; to++ {
			b.Run(fmt.Sprintf("%s to %s", from, to), func(b *testing.B) {
				r := NewReader(1 << 20)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					if err := r.Reset(source); err != nil {
						b.Fatal(err)
					}
					if _, err := source.Recompress(to, 0, r.Records()); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

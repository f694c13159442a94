package batch

import (
	"bytes"
	"iter"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// nullable draws nil, empty and other bytes.
func nullable(rt *rapid.T, label string, most int) []byte {
	switch rapid.IntRange(0, 5).Draw(rt, label+" kind") {
	case 0:
		return nil
	case 1:
		return []byte{}
	case 2:
		return bytes.Repeat([]byte("abc"), rapid.IntRange(1, most).Draw(rt, label+" repeats"))
	}
	return rapid.SliceOfN(rapid.Byte(), 1, most).Draw(rt, label)
}

func drawHeaders(rt *rapid.T) Headers {
	n := rapid.SampledFrom([]int{0, 0, 0, 1, 3}).Draw(rt, "headers")
	if n == 0 {
		return nil
	}
	var hs []Header
	for range n {
		hs = append(hs, Header{Key: rapid.StringN(0, 5, 20).Draw(rt, "header"), Value: nullable(rt, "header value", 10)})
	}
	return AppendHeaders(nil, hs...)
}

// Whatever is built is read back, in every codec, with one builder and one reader for all.
func TestRoundTrip(t *testing.T) {
	builder, reader := NewBuilder(NewOptions()), NewReader(8<<20)
	rapid.Check(t, func(rt *rapid.T) {
		opts := NewOptions()
		opts.Codec = Codec(rapid.IntRange(0, 4).Draw(rt, "codec"))
		opts.BaseOffset = rapid.Int64Range(0, math.MaxInt64-1<<32).Draw(rt, "base offset")
		opts.LeaderEpoch = rapid.Int32().Draw(rt, "epoch")
		opts.ProducerID = rapid.Int64Range(-1, 1000).Draw(rt, "producer")
		opts.ProducerEpoch = rapid.Int16Range(0, 5).Draw(rt, "producer epoch")
		opts.BaseSequence = rapid.Int32Min(0).Draw(rt, "sequence")
		opts.Transactional, opts.Control = rapid.Bool().Draw(rt, "transactional"), rapid.Bool().Draw(rt, "control")
		gaps := rapid.Bool().Draw(rt, "gaps")
		builder.Reset(opts)
		var want []Record
		offset := opts.BaseOffset
		for range rapid.IntRange(1, 20).Draw(rt, "records") {
			if gaps {
				offset += rapid.Int64Range(0, 1<<24).Draw(rt, "gap")
			}
			r := Record{Offset: offset, Timestamp: rapid.Int64Range(-1, 1<<42).Draw(rt, "time"), Key: nullable(rt, "key", 30),
				Value: nullable(rt, "value", 3000), Headers: drawHeaders(rt)}
			require.NoError(rt, builder.Append(r))
			want = append(want, r)
			offset++
		}
		size := builder.Size()
		if gaps {
			offset += rapid.Int64Range(0, 1<<24).Draw(rt, "end")
			require.NoError(rt, builder.SetLastOffset(offset-1))
		}
		b, err := builder.Finish()
		require.NoError(rt, err)
		if opts.Codec == None {
			require.Len(rt, b, size)
		}
		if !gaps {
			require.NoError(rt, b.Validate())
		}
		base, epoch := rapid.Int64Range(0, 1<<40).Draw(rt, "stamped"), rapid.Int32().Draw(rt, "stamped epoch")
		b.Stamp(base, epoch)
		require.NoError(rt, b.VerifyCRC(), "a stamp lies outside the checksum")
		require.Equal(rt, []int64{base, base + offset - opts.BaseOffset, opts.ProducerID}, []int64{b.BaseOffset(), b.NextOffset(), b.ProducerID()})
		require.Equal(rt, epoch, b.LeaderEpoch())
		require.Equal(rt, len(want), int(b.NumRecords()))
		require.Equal(rt, []bool{opts.Transactional, opts.Control}, []bool{b.IsTransactional(), b.IsControl()})

		require.NoError(rt, reader.Reset(b))
		maxTime := want[0].Timestamp
		for i, w := range want {
			w.Offset += base - opts.BaseOffset
			got, ok, err := reader.Next()
			require.NoError(rt, err)
			require.True(rt, ok)
			require.Equal(rt, w, got, "record %d", i)
			require.NoError(rt, got.Headers.Validate())
			maxTime = max(maxTime, w.Timestamp)
		}
		_, ok, err := reader.Next()
		require.NoError(rt, err)
		require.False(rt, ok)
		require.Equal(rt, maxTime, b.MaxTimestamp())
	})
}

func TestStampTimes(t *testing.T) {
	b := build(t, None, 3)
	sum := b.CRC()
	b.StampAppendTime(99)
	require.NoError(t, b.Validate())
	require.NotEqual(t, sum, b.CRC())
	require.True(t, b.IsLogAppendTime())
	for _, r := range readAll(t, b) {
		require.Equal(t, int64(99), r.Timestamp)
	}
	b.StampCreateTime(1002)
	require.NoError(t, b.Validate())
	require.False(t, b.IsLogAppendTime())
	require.Equal(t, sum, b.CRC(), "the records' own times are back")
}

func TestLastSequence(t *testing.T) {
	for _, x := range []struct{ base, want int32 }{{0, 2}, {math.MaxInt32 - 2, math.MaxInt32}, {math.MaxInt32 - 1, 0}, {math.MaxInt32, 1}, {-1, -1}} {
		opts := NewOptions()
		opts.BaseSequence = x.base
		b := NewBuilder(opts)
		for i := range 3 {
			require.NoError(t, b.Append(Record{Offset: int64(i)}))
		}
		out, err := b.Finish()
		require.NoError(t, err)
		require.Equal(t, x.want, out.LastSequence())
	}
}

func TestHeaders(t *testing.T) {
	require.Zero(t, Headers(nil).Len())
	require.NoError(t, Headers(nil).Validate())
	require.Nil(t, Headers(nil).Without("a"))
	h := AppendHeaders(nil, Header{"a", []byte("1")}, Header{"b", nil}, Header{"a", []byte("2")}, Header{"", []byte{}})
	require.NoError(t, h.Validate())
	require.Equal(t, 4, h.Len())
	v, ok := h.Get("a")
	require.True(t, ok)
	require.Equal(t, "2", string(v), "the last one, as Kafka's clients do")
	v, ok = h.Get("b")
	require.True(t, ok)
	require.Nil(t, v)
	v, ok = h.Get("")
	require.True(t, ok)
	require.NotNil(t, v)
	require.Empty(t, v)
	_, ok = h.Get("c")
	require.False(t, ok)
	require.Zero(t, testing.AllocsPerRun(10, func() { h.Get("a") }))

	require.Equal(t, AppendHeaders(nil, Header{"b", nil}, Header{"", []byte{}}, Header{"a", []byte("3")}), h.With("a", []byte("3")))
	require.Equal(t, AppendHeaders(nil, Header{"b", nil}, Header{"", []byte{}}), h.Without("a"))
	require.Equal(t, AppendHeaders(nil, Header{"k", []byte("v")}), Headers(nil).With("k", []byte("v")))
	require.Nil(t, AppendHeaders(nil, Header{"a", nil}).Without("a"))

	for n := range h {
		if n > 0 {
			require.ErrorIs(t, h[:n].Validate(), ErrRecord, "cut to %d", n)
		}
	}
	require.ErrorIs(t, append(h[:len(h):len(h)], 0).Validate(), ErrRecord, "bytes behind the last header")
	require.ErrorIs(t, Headers{2, 1, 0}.Validate(), ErrRecord, "a null key")
	require.ErrorIs(t, Headers{1}.Validate(), ErrRecord, "a negative count")
	require.NoError(t, Headers{2, 2, 'k', 0}.Validate())
	for name, overlong := range map[string]Headers{
		"count":        {0x82, 0, 2, 'k', 0},
		"key length":   {2, 0x82, 0, 'k', 0},
		"value length": {2, 2, 'k', 0x80, 0x80, 0},
		"null value":   {2, 2, 'k', 0x81, 0},
		"no headers":   {0x80, 0},
	} {
		require.Less(t, len(AppendHeaders(nil, slices.Collect(headersIn(overlong))...)), len(overlong), "%s: others see fewer bytes", name)
		require.ErrorIs(t, overlong.Validate(), ErrRecord, name)
	}
}

func headersIn(h Headers) iter.Seq[Header] {
	return func(yield func(Header) bool) {
		for k, v := range h.All() {
			if !yield(Header{k, v}) {
				return
			}
		}
	}
}

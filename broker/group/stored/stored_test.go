package stored_test

import (
	"encoding/hex"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/group/stored"
)

func example() []byte {
	b := stored.AppendInt([]byte{7}, math.MaxInt64)
	b = stored.AppendString(b, "name")
	b = stored.AppendInt(b, 2)
	return stored.AppendSum(append(b, 'x', 'y'), 0)
}

func TestFields(t *testing.T) {
	b := example()
	require.Equal(t, "07ffffffffffffffff7f046e616d65027879049d2afe", hex.EncodeToString(b), "what lies in a database already")
	r, err := stored.Open(b, 7)
	require.NoError(t, err)
	require.Equal(t, int64(math.MaxInt64), r.Int(math.MaxInt64))
	require.Equal(t, "name", r.Text())
	require.Equal(t, int64(2), r.Count())
	require.ErrorIs(t, r.Close(), stored.ErrCorrupt, "something is left")
	require.Equal(t, []byte("xy"), r.Take(2))
	require.NoError(t, r.Close())
	require.Equal(t, int64(0), r.Int(9), "behind the end")
	require.True(t, r.Bad())
	require.ErrorIs(t, r.Close(), stored.ErrCorrupt)
}

func TestOpenRefuses(t *testing.T) {
	b := example()
	for n := 1; n < len(b); n++ {
		_, err := stored.Open(b[:n], 7)
		require.ErrorIs(t, err, stored.ErrCorrupt, "%d bytes of %d", n, len(b))
	}
	_, err := stored.Open(nil, 7)
	require.ErrorIs(t, err, stored.ErrCorrupt)
	for i := range b[1:] {
		b[1+i] ^= 1
		_, err := stored.Open(b, 7)
		require.ErrorIs(t, err, stored.ErrCorrupt, "byte %d", 1+i)
		b[1+i] ^= 1
	}
	_, err = stored.Open(b, 8)
	require.ErrorIs(t, err, stored.ErrVersion)
	require.NotErrorIs(t, err, stored.ErrCorrupt)
}

// A field that does not fit spoils all behind it: what is read from then on is zero, and no count makes anybody read on.
func TestReaderStaysBad(t *testing.T) {
	for name, spoil := range map[string]func(*stored.Reader){
		"number too large":     func(r *stored.Reader) { r.Int(100) },
		"string too long":      func(r *stored.Reader) { r.Text() },
		"more things than fit": func(r *stored.Reader) { r.Count() },
		"more bytes than fit":  func(r *stored.Reader) { r.Take(100) },
		"said by the caller":   func(r *stored.Reader) { r.Fail() },
	} {
		t.Run(name, func(t *testing.T) {
			r, err := stored.Open(example(), 7)
			require.NoError(t, err)
			spoil(r)
			require.True(t, r.Bad())
			require.Zero(t, r.Int(math.MaxInt64))
			require.Zero(t, r.Count())
			require.Empty(t, r.Text())
			require.Nil(t, r.Take(1))
			require.ErrorIs(t, r.Close(), stored.ErrCorrupt)
		})
	}
}

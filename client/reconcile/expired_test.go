package reconcile

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A row that has expired since the cut is put again, with the cut as without: nobody wrote it. One that the source does not have is not missed.
func TestRowsThatHaveExpired(t *testing.T) {
	f := newFakeTopic(t, 1)
	f.write(0, "gone", "1")
	f.write(0, "expired", "1")
	f.write(0, "again", "1")
	f.write(0, "moved", "1")
	f.write(0, "kept", "1")
	source := map[string]string{"expired": "1", "again": "1", "moved": "1", "kept": "1"}
	cfg := f.config(t)
	first, err := Compare(testContext(t), cfg, sourceOf(source))
	require.NoError(t, err)
	require.Equal(t, []string{"gone"}, keysOf(first.Writes))
	cfg.At = at(first.Cut)
	f.write(0, "again", "1")
	f.write(0, "moved", "2")
	f.expire(0, 4)
	put := []Write{{Key: []byte("expired"), Value: []byte("1"), Source: entry("expired", "1")}}
	r, err := Compare(testContext(t), cfg, sourceOf(source))
	require.NoError(t, err)
	require.Equal(t, put, r.Writes)
	require.Equal(t, []string{"moved"}, keysOf(r.Moved))
	require.Equal(t, first.Cut.Offsets, r.Cut.Offsets, "the cut that counts is the caller's")
	require.Equal(t, []int64{7}, r.Later.Offsets)
	f.apply(r.Writes)
	r, err = Compare(testContext(t), cfg, sourceOf(source))
	require.NoError(t, err)
	require.Empty(t, r.Writes)
	require.Equal(t, []string{"moved"}, keysOf(r.Moved))
}

// So is one that expires while it is compared. Where there is no end to it, it is said that the topic is another one, and what is known.
func TestRowsThatExpireMeanwhile(t *testing.T) {
	for _, ends := range []bool{true, false} {
		f := newFakeTopic(t, 1)
		source := f.fill(100, false)
		source["new"] = "1"
		expired := int64(0)
		f.before = func(call string) {
			if call == "sketch" && (!ends || expired == 0) {
				f.write(0, "other", "-")
				expired++
				f.expire(0, expired)
			}
		}
		cfg := f.config(t)
		r, err := Compare(testContext(t), cfg, sourceOf(source))
		require.NoError(t, err)
		require.Empty(t, r.Moved)
		require.NotEqual(t, r.Source, r.Now)
		if ends {
			require.Equal(t, 2, f.asked["sketch"])
			require.Equal(t, 3, f.asked["cut"])
			require.Equal(t, []string{"key-0", "new"}, keysOf(r.Writes))
			f.apply(r.Writes)
			require.Equal(t, source, union(t, f.state()))
			continue
		}
		require.Equal(t, 1+cutTries, f.asked["sketch"])
		require.Equal(t, []string{"key-0", "key-1", "key-2", "new"}, keysOf(r.Writes))
	}
}

// Where the log start has passed the cut, what was written since is not known, unless the topic is what the source has.
func TestALogStartThatHasPassedTheCut(t *testing.T) {
	f := newFakeTopic(t, 1)
	source := f.fill(10, false)
	cfg := f.config(t)
	first, err := Compare(testContext(t), cfg, sourceOf(source))
	require.NoError(t, err)
	cfg.At = at(first.Cut)
	f.write(0, "key-1", "newer")
	f.write(0, "key-2", source["key-2"])
	f.expire(0, first.Cut.Offsets[0]+1)
	r, err := Compare(testContext(t), cfg, sourceOf(source))
	require.ErrorIs(t, err, ErrTooOld)
	require.ErrorContains(t, err, "what was written to partition 0 from 10 on has expired below 11")
	require.Empty(t, r.Writes)
	r, err = Compare(testContext(t), cfg, sourceOf(map[string]string{"key-2": source["key-2"]}))
	require.NoError(t, err)
	require.Equal(t, r.Source, r.Now)
}

package reconcile

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/state"
)

// The end of a transaction is waited for with pauses that grow; who is told of it is told once.
func TestWaitsForATransactionsEnd(t *testing.T) {
	f := newFakeTopic(t, 1)
	source := f.fill(100, false)
	source["new"] = "new"
	f.open = 7 // the first cut, and six looks after it
	cfg := f.config(t)
	var told int
	var began time.Time
	cfg.Settled, cfg.OnOpen = true, func(context.Context) { told, began = told+1, time.Now() }
	r, err := Compare(testContext(t), cfg, sourceOf(source))
	require.NoError(t, err)
	require.Len(t, r.Writes, 1)
	require.Equal(t, 1, told)
	require.GreaterOrEqual(t, time.Since(began), (1+2+4+8+16+16)*cfg.Retry)
	require.Equal(t, 8, f.asked["cut"])

	f.open, cfg.Settled = 3, false
	_, err = Compare(testContext(t), cfg, sourceOf(source))
	require.NoError(t, err)
	require.Equal(t, 10, f.asked["cut"], "nothing is going to be written")
}

// One that does not end, or whose end nobody waits for any more, is an error; what differs comes with it.
func TestATransactionThatDoesNotEnd(t *testing.T) {
	f := newFakeTopic(t, 1)
	source := f.fill(100, false)
	source["new"] = "new"
	f.open = 1 << 20
	cfg := f.config(t)
	cfg.Settled = true
	minutes := 0
	cfg.Now = func() time.Time { minutes++; return time.Unix(int64(minutes)*60, 0) }
	r, err := Compare(testContext(t), cfg, sourceOf(source))
	require.ErrorIs(t, err, ErrOpenTransaction)
	require.Equal(t, []Write{{Key: []byte("new"), Value: []byte("new"), Source: entry("new", "new")}}, r.Writes)
	require.Empty(t, r.Moved)
	require.Equal(t, BySketch, r.Method)
	require.Positive(t, r.RoundTrips)

	ctx, cancel := context.WithCancel(testContext(t))
	cfg.Now, cfg.OnOpen = nil, func(context.Context) { cancel() }
	r, err = Compare(ctx, cfg, sourceOf(source))
	require.ErrorIs(t, err, ErrOpenTransaction)
	require.ErrorIs(t, err, context.Canceled)
	require.Len(t, r.Writes, 1)
}

func entry(key, value string) digest.Entry {
	var h digest.Hasher
	return h.Entry([]byte(key), []byte(value))
}

// With the cut of a comparison whose writes have been made nothing is found, nor left alone; where some have been made, the others are found, also those
// to the same key in another partition.
func TestWritesThatHaveBeenMade(t *testing.T) {
	f := newFakeTopic(t, 2)
	source := f.fill(100, true)
	source["key-1"], source["new"] = "mine", "mine"
	delete(source, "key-2")
	f.write(0, "twice", "a")
	f.write(1, "twice", "b")
	source["twice"] = "mine"
	cfg := f.config(t)
	r, err := Compare(testContext(t), cfg, sourceOf(source))
	require.NoError(t, err)
	require.Len(t, r.Writes, 5)
	var offsets []*state.PartitionOffset
	for p, offset := range r.Cut.Offsets {
		offsets = append(offsets, &state.PartitionOffset{Partition: int32(p), Offset: offset})
	}
	cfg.At = &state.At{Point: &state.At_Offsets{Offsets: &state.PartitionOffsets{Offsets: offsets}}}
	for len(r.Writes) > 0 {
		all := r.Writes
		f.apply(all[:1])
		r, err = Compare(testContext(t), cfg, sourceOf(source))
		require.NoError(t, err)
		require.Equal(t, len(all)-1, len(r.Writes))
		require.Equal(t, all[1:], append([]Write{}, r.Writes...))
		require.Empty(t, r.Moved)
	}
	require.Equal(t, source, union(t, f.state()))

	p := home("new", 2)
	f.write(1-p, "new", "mine") // by another partitioner, and so once too many
	f.write(p, "new", "-")
	f.write(p, "key-4", "mine") // which was the source's at the cut
	r, err = Compare(testContext(t), cfg, sourceOf(source))
	require.NoError(t, err)
	require.Empty(t, r.Writes)
	require.Len(t, r.Moved, 1)
	require.Equal(t, "new", string(r.Moved[0].Key))
}

// Keys that others write after the comparison are named, whether they were written or were equal, unless they have what the source has.
func TestWhatOthersWriteMeanwhile(t *testing.T) {
	f := newFakeTopic(t, 2)
	source := f.fill(100, false)
	delete(source, "key-9")
	source["key-1"], source["key-2"], source["moved"] = "mine", "mine", "mine"
	write := func(key, value string) { f.write(home(key, 2), key, value) }
	f.before = func(call string) {
		if call == "sketch" && f.asked["sketch"] == 1 {
			write("moved", "theirs")
			write("key-3", "theirs") // equal at the cut
		}
	}
	cfg := f.config(t)
	r, err := Compare(testContext(t), cfg, sourceOf(source))
	require.NoError(t, err)
	require.Len(t, r.Writes, 3)
	require.Len(t, r.Moved, 1)
	overtaken := func() (all []Write) {
		t.Helper()
		later, err := cfg.Plane.Cut(testContext(t))
		require.NoError(t, err)
		all, err = r.Overtaken(testContext(t), later)
		require.NoError(t, err)
		return all
	}
	theirs := func(key string) Write {
		return Write{Partition: int32(home(key, 2)), Key: []byte(key), Source: entry(key, source[key]), Log: entry(key, "theirs")}
	}
	f.apply(r.Writes)
	require.Equal(t, []Write{theirs("key-3")}, overtaken())

	write("key-1", "theirs") // after ours
	write("key-4", "theirs") // and back
	write("key-4", source["key-4"])
	write("key-5", "-")
	write("key-9", "theirs") // is deleted by ours
	write("moved", "theirs again")
	write("others", "theirs")
	write("none", "theirs")
	write("none", "-")
	gone, again, alien := theirs("key-5"), theirs("key-9"), theirs("others")
	gone.Log, again.Source, alien.Source = digest.Entry{}, digest.Entry{}, digest.Entry{}
	require.Equal(t, []Write{theirs("key-1"), theirs("key-3"), gone, again, alien}, overtaken())

	for _, key := range []string{"key-1", "key-3", "key-5"} {
		write(key, source[key])
	}
	write("key-9", "-")
	write("others", "-")
	require.Empty(t, overtaken())

	f.parts[0].incarnation[3]++
	write("key-1", "theirs")
	write("key-2", "theirs")
	later, err := cfg.Plane.Cut(testContext(t))
	require.NoError(t, err)
	_, err = r.Overtaken(testContext(t), later)
	require.ErrorIs(t, err, plane.ErrOtherIncarnation)
}

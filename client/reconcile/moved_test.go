package reconcile

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

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
	cfg.At = at(r.Cut)
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
	f.write(1-p, "new", "mine") // by another partitioner: it has moved there, and is what the source has
	f.write(p, "new", "-")
	r, err = Compare(testContext(t), cfg, sourceOf(source))
	require.NoError(t, err)
	require.Empty(t, append(r.Writes, r.Moved...))
	require.Equal(t, r.Source, r.Now)
	f.write(p, "new", "mine") // and so once too many
	f.write(home("key-4", 2), "key-4", "mine")
	r, err = Compare(testContext(t), cfg, sourceOf(source))
	require.NoError(t, err)
	require.Empty(t, r.Writes)
	require.Equal(t, []string{"key-4", "new"}, keysOf(r.Moved))
	require.True(t, r.Moved[1].Duplicate)
	require.NotEqual(t, r.Source, r.Now)
}

func at(c Cut) *state.At {
	var offsets []*state.PartitionOffset
	for p, offset := range c.Offsets {
		offsets = append(offsets, &state.PartitionOffset{Partition: int32(p), Offset: offset})
	}
	return &state.At{Point: &state.At_Offsets{Offsets: &state.PartitionOffsets{Offsets: offsets}}}
}

func keysOf(writes []Write) (keys []string) {
	for _, w := range writes {
		keys = append(keys, string(w.Key))
	}
	return keys
}

// What was the source's at the cut and was made something else since has moved, though nothing differed at the cut, or all that did was made the
// source's; so has what nobody had then.
func TestWhatWasEqualAndMovedSince(t *testing.T) {
	for _, differed := range []bool{false, true} {
		f := newFakeTopic(t, 2)
		source := f.fill(100, false)
		cfg := f.config(t)
		first, err := Compare(testContext(t), cfg, sourceOf(source))
		require.NoError(t, err)
		cfg.At = at(first.Cut)
		if differed {
			source["key-2"] = "3"
			f.write(home("key-2", 2), "key-2", "3")
		}
		r, err := Compare(testContext(t), cfg, sourceOf(source))
		require.NoError(t, err)
		require.Empty(t, append(r.Writes, r.Moved...))
		require.Equal(t, r.Source, r.Now)

		f.write(home("key-1", 2), "key-1", "9")
		f.write(home("key-3", 2), "key-3", "-")
		f.write(home("key-4", 2), "key-4", source["key-4"])
		f.write(home("new", 2), "new", "9")
		r, err = Compare(testContext(t), cfg, sourceOf(source))
		require.NoError(t, err)
		require.Empty(t, r.Writes)
		require.Equal(t, []string{"key-1", "key-3", "new"}, keysOf(r.Moved))
		require.Equal(t, entry("key-1", source["key-1"]), r.Moved[0].Source)
		require.Equal(t, entry("key-1", "9"), r.Moved[0].Log)
		require.Zero(t, r.Moved[1].Log)
		require.Zero(t, r.Moved[2].Source)
		require.NotEqual(t, r.Source, r.Now)
	}
}

// Whatever was written before the cut and since, by whichever partitioner, and whatever has expired: what is found is what differs from the source now,
// each key as a write or as moved, by whether a delta touched it; and once the writes are made, only what moved differs, and is found again.
func TestWhatIsFoundAtAnEarlierCut(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f := newFakeTopic(t, rapid.IntRange(1, 3).Draw(rt, "partitions"))
		foreign := rapid.Bool().Draw(rt, "foreign")
		place := func(key string) int {
			if foreign && rapid.IntRange(0, 3).Draw(rt, "partitioner") == 0 {
				return rapid.IntRange(0, len(f.parts)-1).Draw(rt, "partition")
			}
			return home(key, len(f.parts))
		}
		write := func(key, value string) { f.write(place(key), key, value) }
		key := rapid.Custom(func(rt *rapid.T) string { return "k" + strconv.Itoa(rapid.IntRange(0, 9).Draw(rt, "key")) })
		value := rapid.SampledFrom([]string{"1", "2", "-"})
		source := map[string]string{}
		for range rapid.IntRange(0, 15).Draw(rt, "rows") {
			k, v := key.Draw(rt, "key"), value.Draw(rt, "value")
			write(k, v)
			if source[k] = v; v == "-" {
				delete(source, k)
			}
		}
		for range rapid.IntRange(0, 3).Draw(rt, "differ") {
			k, v := key.Draw(rt, "key"), value.Draw(rt, "value")
			if source[k] = v; v == "-" {
				delete(source, k)
			}
		}
		for p := range f.parts {
			f.write(p, "-", "-") // so that each has a frame
		}
		cfg := f.config(t)
		cut, err := cfg.Plane.Cut(testContext(t))
		require.NoError(rt, err)
		offsets := make([]int64, len(f.parts))
		for _, fr := range cut.Frames {
			offsets[fr.Partition] = fr.Cut
		}
		cfg.At = at(Cut{Offsets: offsets})
		touched := map[string]bool{}
		for range rapid.IntRange(0, 6).Draw(rt, "since") {
			k := key.Draw(rt, "key")
			touched[k] = true
			write(k, value.Draw(rt, "value"))
		}

		starts := make([]int64, len(f.parts))
		expire := func() {
			for p := range f.parts {
				starts[p] = rapid.Int64Range(starts[p], offsets[p]).Draw(rt, "log start")
			}
		}
		if rapid.Bool().Draw(rt, "expire") {
			expire()
		}
		for p, start := range starts {
			f.expire(p, start)
		}
		var meanwhile []func() // while it is compared, and not behind the last look
		for range rapid.IntRange(0, 3).Draw(rt, "meanwhile") {
			k, v := key.Draw(rt, "key"), value.Draw(rt, "value")
			p := place(k)
			meanwhile = append(meanwhile, func() { touched[k] = true; f.write(p, k, v) })
		}
		if rapid.Bool().Draw(rt, "expire meanwhile") {
			expire()
			for p, start := range starts {
				meanwhile = append(meanwhile, func() { f.expire(p, start) })
			}
		}
		f.before = func(call string) {
			if call != "cut" && call != "since" {
				for _, do := range meanwhile {
					do()
				}
				meanwhile = nil
			}
		}

		r, err := Compare(testContext(t), cfg, sourceOf(source))
		require.NoError(rt, err)
		require.Equal(rt, offsets, r.Cut.Offsets)
		differ := differing(f.state(), source)
		require.Equal(rt, len(differ) == 0, r.Now == r.Source)
		for _, w := range r.Writes {
			require.True(rt, foreign || !touched[string(w.Key)]) // of one that is live twice a row may have been put right
		}
		for _, w := range r.Moved {
			require.True(rt, touched[string(w.Key)])
		}
		require.ElementsMatch(rt, differ, append(slices.Compact(keysOf(r.Writes)), keysOf(r.Moved)...))
		f.apply(r.Writes)
		require.ElementsMatch(rt, keysOf(r.Moved), differing(f.state(), source))
		again, err := Compare(testContext(t), cfg, sourceOf(source))
		require.NoError(rt, err)
		require.ElementsMatch(rt, keysOf(r.Moved), append(keysOf(again.Writes), keysOf(again.Moved)...))
		require.True(rt, foreign || len(again.Writes) == 0)
	})
}

// differing are the keys of which a topic and a source do not have the same row, or the topic more than one.
func differing(topic []map[string]string, source map[string]string) (keys []string) {
	rows := map[string][]string{}
	for _, part := range topic {
		for key, value := range part {
			rows[key] = append(rows[key], value)
		}
	}
	for key, value := range source {
		if !slices.Equal(rows[key], []string{value}) {
			keys = append(keys, key)
		}
		delete(rows, key)
	}
	return slices.AppendSeq(keys, maps.Keys(rows))
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
	require.Equal(t, []string{"key-3", "moved"}, keysOf(r.Moved))
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
	require.Empty(t, overtaken())

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
	require.Equal(t, []Write{theirs("key-1"), gone, again, alien}, overtaken())

	for _, key := range []string{"key-1", "key-5"} {
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

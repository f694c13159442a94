package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/state"
)

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// union is the state of all partitions, where each key is live once.
func union(t require.TestingT, parts []map[string]string) map[string]string {
	all := map[string]string{}
	for _, rows := range parts {
		for key, value := range rows {
			_, twice := all[key]
			require.False(t, twice, key)
			all[key] = value
		}
	}
	return all
}

// fewest is how many deltas it takes to make the topic's state the source's, where each row stays in its partition.
func fewest(parts []map[string]string, source map[string]string) (n int) {
	keys := map[string]bool{}
	for _, rows := range append(slices.Clone(parts), source) {
		for key := range rows {
			keys[key] = true
		}
	}
	for key := range keys {
		want, has := source[key]
		copies, equal := 0, false
		stays, athome := parts[home(key, len(parts))][key]
		for _, rows := range parts {
			if value, ok := rows[key]; ok {
				copies++
				equal = equal || value == want
			}
		}
		switch {
		case !has:
			n += copies
		case copies == 0:
			n++
		case athome && stays == want, !athome && equal:
			n += copies - 1
		default:
			n += copies
		}
	}
	return n
}

// Whatever the source and the log have, in however many partitions, whoever partitioned it, keys that are live twice included: the writes make the log
// the source, there is none too many, and after them nothing differs.
func TestWritesMakeTheLogTheSource(t *testing.T) {
	f := newFakeTopic(t, 0)
	cfg := f.config(t)
	rapid.Check(t, func(t *rapid.T) {
		f.parts = newFakeTopicParts(rapid.IntRange(1, 4).Draw(t, "partitions"))
		foreign := rapid.SampledFrom([]int{0, 0, 1, 10}).Draw(t, "foreign") // of 10
		rows := rapid.IntRange(0, 300).Draw(t, "rows")
		source := map[string]string{}
		write := func(key, value string) {
			p := home(key, len(f.parts))
			if rapid.IntRange(0, 9).Draw(t, "partitioner") < foreign {
				p = rapid.IntRange(0, len(f.parts)-1).Draw(t, "partition")
			}
			f.write(p, key, value)
		}
		for i := range rows {
			key := "k" + strconv.Itoa(i)
			source[key] = strconv.Itoa(i % 7)
			if lost := rapid.IntRange(0, 19).Draw(t, "lost") == 0; !lost {
				write(key, source[key])
			}
		}
		for range rapid.IntRange(0, 10).Draw(t, "others") {
			write("k"+strconv.Itoa(rapid.IntRange(0, rows+10).Draw(t, "key")), rapid.SampledFrom([]string{"", "0", "1", "-"}).Draw(t, "value"))
		}
		want := fewest(f.state(), source)
		r, err := Compare(context.Background(), cfg, sourceOf(source))
		require.NoError(t, err)
		require.Empty(t, r.Moved)
		require.Len(t, r.Writes, want)
		f.apply(r.Writes)
		require.Equal(t, source, union(t, f.state()))
		r, err = Compare(context.Background(), cfg, sourceOf(source))
		require.NoError(t, err)
		require.Empty(t, r.Writes)
		require.Equal(t, ByDigest, r.Method)
	})
}

func newFakeTopicParts(partitions int) (parts []*fakePart) {
	for i := range partitions {
		parts = append(parts, &fakePart{incarnation: [16]byte{byte(i + 1)}, rows: map[string]fakeRow{}, taken: map[int64][]fakeRow{}, starts: map[int64]int64{}})
	}
	return parts
}

// fill writes rows, each to a partition of another partitioner's.
func (f *fakeTopic) fill(rows int, foreign bool) map[string]string {
	source := map[string]string{}
	for i := range rows {
		key := "key-" + strconv.Itoa(i)
		source[key] = "value of " + strconv.Itoa(i)
		p := home(key, len(f.parts))
		if foreign {
			p = i % len(f.parts)
		}
		f.write(p, key, source[key])
	}
	return source
}

// A few differing keys cost cells, and neither the tags of all rows nor the rows; partitions that are equal are not asked at all where the
// partitioner is known.
func TestCostsWhatDiffers(t *testing.T) {
	for _, foreign := range []bool{false, true} {
		t.Run(fmt.Sprintf("foreign %v", foreign), func(t *testing.T) {
			f := newFakeTopic(t, 4)
			source := f.fill(20_000, foreign)
			delete(source, "key-1")
			source["key-2"] = "another"
			added := "new"
			for home(added, 4) == home("key-1", 4) || home(added, 4) == home("key-2", 4) {
				added += "er"
			}
			source[added] = "new"
			r, err := Compare(testContext(t), f.config(t), sourceOf(source))
			require.NoError(t, err)
			require.Equal(t, BySketch, r.Method)
			require.Len(t, r.Writes, 3)
			require.Zero(t, f.asked["tags"]+f.asked["frame"])
			if foreign {
				require.Less(t, r.Bytes, int64(16<<10))
			} else {
				require.Equal(t, 3, f.asked["sketch"])
			}
			f.apply(r.Writes)
			require.Equal(t, source, union(t, f.state()))
		})
	}
}

// Where all or most differs, in an empty log, from an empty source, and where nothing is alike, the result is the same.
func TestWhereMostDiffers(t *testing.T) {
	for name, x := range map[string]struct {
		log, source int
		value       string
	}{"empty log": {0, 3000, "a"}, "empty source": {3000, 0, "a"}, "all values": {3000, 3000, "a"}, "both empty": {0, 0, ""}} {
		t.Run(name, func(t *testing.T) {
			f := newFakeTopic(t, 3)
			f.fill(x.log, true)
			source := map[string]string{}
			for i := range x.source {
				source["key-"+strconv.Itoa(i)] = x.value
			}
			r, err := Compare(testContext(t), f.config(t), sourceOf(source))
			require.NoError(t, err)
			require.Len(t, r.Writes, fewest(f.state(), source))
			f.apply(r.Writes)
			require.Equal(t, source, union(t, f.state()))
		})
	}
}

// A key that a delta touched since the cut is left alone: also where the delta made it what it was, and where it was deleted.
func TestWhatMovedIsLeftAlone(t *testing.T) {
	f := newFakeTopic(t, 2)
	source := f.fill(100, true)
	differing := []string{"key-1", "key-2", "key-3", "key-4", "new-1", "new-2"}
	for _, key := range differing {
		source[key] = "stale"
	}
	delete(source, "key-5")
	f.before = func(call string) {
		if call == "sketch" && f.asked["sketch"] == 1 {
			f.write(1, "key-1", "value of 1") // as it was
			f.write(0, "key-2", "-")
			f.write(0, "new-1", "first")
			f.write(1, "key-5", "value of 5")
			f.write(1, "key-50", "newer")
		}
	}
	r, err := Compare(testContext(t), f.config(t), sourceOf(source))
	require.NoError(t, err)
	require.Equal(t, []string{"key-3", "key-4", "new-2"}, keysOf(r.Writes))
	require.Equal(t, []string{"key-1", "key-2", "key-5", "key-50", "new-1"}, keysOf(r.Moved))
}

// Frames that go are no reason to fail: another cut is made. What moved still counts from the first one, which the source is at least as new as.
func TestFramesThatGo(t *testing.T) {
	f := newFakeTopic(t, 2)
	source := f.fill(100, false)
	source["key-1"], source["key-2"] = "stale", "lost"
	f.before = func(call string) {
		if call == "sketch" && f.asked["sketch"] == 1 {
			f.write(home("key-1", 2), "key-1", "newer")
			f.forget()
		}
	}
	r, err := Compare(testContext(t), f.config(t), sourceOf(source))
	require.NoError(t, err)
	require.Len(t, r.Writes, 1)
	require.Equal(t, "key-2", string(r.Writes[0].Key))
	require.Len(t, r.Moved, 1)
	require.Equal(t, "key-1", string(r.Moved[0].Key))

	f.before = func(call string) {
		if call == "sketch" {
			f.forget()
		}
	}
	cuts := f.asked["cut"]
	_, err = Compare(testContext(t), f.config(t), sourceOf(source))
	require.ErrorIs(t, err, plane.ErrNoFrame)
	require.Equal(t, 1+cutTries, f.asked["cut"]-cuts)
}

// A point that frames are at is compared with; one that is none is refused.
func TestAtAPoint(t *testing.T) {
	f := newFakeTopic(t, 2)
	source := f.fill(100, true)
	cfg := f.config(t)
	_, err := Compare(testContext(t), cfg, sourceOf(source))
	require.NoError(t, err)
	f.write(0, "key-0", "newer")
	at := func(a, b int64) *state.At {
		list := []*state.PartitionOffset{{Partition: 0, Offset: a}, {Partition: 1, Offset: b}}
		return &state.At{Point: &state.At_Offsets{Offsets: &state.PartitionOffsets{Offsets: list}}}
	}
	cfg.At = at(50, 50)
	cuts := f.asked["cut"]
	r, err := Compare(testContext(t), cfg, sourceOf(source))
	require.NoError(t, err)
	require.Equal(t, []int64{50, 50}, r.Cut.Offsets)
	require.Empty(t, r.Writes)
	require.Equal(t, []string{"key-0"}, keysOf(r.Moved))
	require.Equal(t, []int64{51, 50}, r.Later.Offsets)
	require.Equal(t, cuts+1, f.asked["cut"])
	source["key-3"] = "lost"
	f.refuse = func(call string) state.Reason {
		if call == "since" {
			return state.Reason_REASON_BELOW_HORIZON
		}
		return 0
	}
	_, err = Compare(testContext(t), cfg, sourceOf(source))
	require.ErrorIs(t, err, ErrTooOld)
	f.refuse = nil
	cfg.At = at(50, 49)
	_, err = Compare(testContext(t), cfg, sourceOf(source))
	require.ErrorIs(t, err, ErrNotACut)
}

var errSource = errors.New("the source broke")

// What is no state is refused: nothing is found of it.
func TestSourcesThatAreNone(t *testing.T) {
	f := newFakeTopic(t, 2)
	source := f.fill(600, true)
	source["key-1"] = "lost"
	cfg := f.config(t)
	keys := slices.Sorted(maps.Keys(source))

	_, err := Compare(testContext(t), cfg, func(yield func(Row, error) bool) {
		for _, key := range append(keys, "key-300") {
			if !yield(Row{[]byte(key), []byte(source[key])}, nil) {
				return
			}
		}
	})
	var twice *DuplicateKeyError
	require.ErrorAs(t, err, &twice)
	require.Equal(t, "key-300", string(twice.Key))

	for pass := range 2 {
		n := 0
		_, err = Compare(testContext(t), cfg, func(yield func(Row, error) bool) {
			n++
			for i, key := range keys {
				if n == pass+1 && i == 400 {
					yield(Row{}, errSource)
					return
				}
				if !yield(Row{[]byte(key), []byte(source[key])}, nil) {
					return
				}
			}
		})
		require.ErrorIs(t, err, errSource)
		require.Equal(t, pass+1, n, "it is not read again")
	}

	n := 0
	_, err = Compare(testContext(t), cfg, func(yield func(Row, error) bool) {
		n++
		for _, key := range keys {
			value := source[key]
			if key == "key-500" {
				value = strconv.Itoa(n)
			}
			if !yield(Row{[]byte(key), []byte(value)}, nil) {
				return
			}
		}
	})
	require.ErrorIs(t, err, ErrSourceChanged)
	clear(source)
	for i := range 600 {
		source["key-"+strconv.Itoa(i)] = "all differ"
	}
	_, err = Compare(testContext(t), cfg, func(yield func(Row, error) bool) {
		source["key-500"] += "."
		sourceOf(source)(yield)
	})
	require.Equal(t, ErrSourceChanged, err, "nothing of the ways that were tried before")

	_, err = Compare(testContext(t), cfg, func(yield func(Row, error) bool) {
		_ = yield(Row{[]byte("a"), nil}, nil) && yield(Row{nil, []byte("v")}, nil)
	})
	var row *RowError
	require.ErrorAs(t, err, &row)
	require.EqualValues(t, 2, row.Row)

	ctx, cancel := context.WithCancel(testContext(t))
	_, err = Compare(ctx, cfg, func(yield func(Row, error) bool) {
		cancel()
		for key, value := range source {
			if !yield(Row{[]byte(key), []byte(value)}, nil) {
				return
			}
		}
	})
	require.ErrorIs(t, err, context.Canceled)
}

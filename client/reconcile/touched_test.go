package reconcile

import (
	"math"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// A delete without effect, in a partition where the key is not, leaves the key what the source has: it has not moved, nor was it overtaken.
func TestADeleteWhereTheKeyIsNot(t *testing.T) {
	f := newFakeTopic(t, 2)
	source := f.fill(10, false)
	p := home("k", 2)
	f.write(1-p, "k", "v") // by another partitioner
	source["k"] = "v"
	cfg := f.config(t)
	first, err := Compare(testContext(t), cfg, sourceOf(source))
	require.NoError(t, err)
	cfg.At = at(first.Cut)
	f.write(p, "k", "-")
	f.write(home("key-1", 2), "key-1", "9")
	source["new"] = "1"
	r, err := Compare(testContext(t), cfg, sourceOf(source))
	require.NoError(t, err)
	require.Equal(t, []string{"key-1"}, keysOf(r.Moved))
	require.Equal(t, []string{"new"}, keysOf(r.Writes))
	f.apply(r.Writes)
	f.write(home("key-2", 2), "key-2", "9")
	later, err := cfg.Plane.Cut(testContext(t))
	require.NoError(t, err)
	overtaken, err := r.Overtaken(testContext(t), later)
	require.NoError(t, err)
	require.Equal(t, []string{"key-2"}, keysOf(overtaken))
}

// A key that lives where another partitioner put it, and was written since, with the same value, where the partitioner names: it is live twice, and named.
func TestAKeyThatCameTwiceSinceTheCut(t *testing.T) {
	f := newFakeTopic(t, 2)
	source := f.fill(10, false)
	p := home("k", 2)
	f.write(1-p, "k", "v")
	source["k"] = "v"
	cfg := f.config(t)
	first, err := Compare(testContext(t), cfg, sourceOf(source))
	require.NoError(t, err)
	cfg.At = at(first.Cut)
	f.write(p, "k", "v")
	r, err := Compare(testContext(t), cfg, sourceOf(source))
	require.NoError(t, err)
	require.Empty(t, r.Writes)
	require.Equal(t, []Write{{Partition: int32(1 - p), Key: []byte("k"), Log: entry("k", "v"), Duplicate: true}}, r.Moved)
}

func heapNow() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Rows that were written again as they are, by whichever partitioner, take less memory than the source's did when it was read: 16 bytes a row.
func TestMemoryOfWhatWasWrittenAgain(t *testing.T) {
	const n = 100_000
	f := newFakeTopic(t, 2)
	key := func(i int) string { return "some-key-of-a-usual-length-" + strconv.Itoa(i) }
	write := func() {
		for i := range n {
			f.write(i%2, key(i), "v")
		}
	}
	write()
	var began int64
	source := Source(func(yield func(Row, error) bool) {
		began = heapNow()
		for i := range n {
			if !yield(Row{Key: []byte(key(i)), Value: []byte("v")}, nil) {
				return
			}
		}
	})
	cfg := f.config(t)
	first, err := Compare(testContext(t), cfg, source)
	require.NoError(t, err)
	cfg.At = at(first.Cut)
	write()
	f.write(1, key(7), "w")
	took := int64(math.MaxInt64)
	for range 3 { // the topic answers from the same heap
		r, err := Compare(testContext(t), cfg, source)
		require.NoError(t, err)
		require.Equal(t, []string{key(7)}, keysOf(r.Moved))
		took = min(took, began-heapNow())
		runtime.KeepAlive(r)
	}
	t.Logf("%.1f bytes a row, in the pass for what was touched", float64(took)/n)
	require.Less(t, took, int64(16*n))
}

// A key that is live twice, and neither where its producers write it, stays where it is found, though they delete it there: the other row is too many.
func TestADeleteOfAKeyThatIsLiveTwiceElsewhere(t *testing.T) {
	f := newFakeTopic(t, 3)
	source := f.fill(30, false)
	p := home("k", 3)
	f.write((p+1)%3, "k", "v")
	f.write((p+2)%3, "k", "v")
	source["k"] = "v"
	cfg := f.config(t)
	first, err := Compare(testContext(t), cfg, sourceOf(source))
	require.NoError(t, err)
	require.Len(t, first.Writes, 1)
	cfg.At = at(first.Cut)
	f.write(p, "k", "-")
	r, err := Compare(testContext(t), cfg, sourceOf(source))
	require.NoError(t, err)
	require.Empty(t, r.Writes)
	require.Equal(t, []string{"k"}, keysOf(r.Moved))
	require.Equal(t, 3, f.asked["cut"], "it is explained at once")
}

// Afterwards too: a key that has gone to another partition as it is has not been overtaken, one that has come there as well has.
func TestKeysThatGoToAnotherPartitionMeanwhile(t *testing.T) {
	f := newFakeTopic(t, 2)
	source := f.fill(30, false)
	source["new"] = "1"
	cfg := f.config(t)
	r, err := Compare(testContext(t), cfg, sourceOf(source))
	require.NoError(t, err)
	f.apply(r.Writes)
	gone, twice := home("key-1", 2), home("key-2", 2)
	f.write(1-gone, "key-1", source["key-1"])
	f.write(gone, "key-1", "-")
	f.write(1-twice, "key-2", source["key-2"])
	f.write(twice, "key-2", source["key-2"])
	later, err := cfg.Plane.Cut(testContext(t))
	require.NoError(t, err)
	overtaken, err := r.Overtaken(testContext(t), later)
	require.NoError(t, err)
	require.Equal(t, []Write{{Partition: int32(1 - twice), Key: []byte("key-2"), Log: entry("key-2", source["key-2"]), Duplicate: true}}, overtaken)
}

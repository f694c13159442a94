package memory_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/delta"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/memory"
)

var id = memory.Identity{TopicID: [16]byte{1}, Partition: 3, Incarnation: [16]byte{2}}

// model is the naive table: a map.
type model map[string]frame.Row

func (m model) digest() (d digest.Digest) {
	var h digest.Hasher
	for k, row := range m {
		d.Add(h.Entry([]byte(k), row.Value))
	}
	return d
}

func (m model) sorted() []frame.Row {
	return slices.SortedFunc(maps.Values(m), func(a, b frame.Row) int { return bytes.Compare(a.Key, b.Key) })
}

// encode writes the model as a whole frame at cut; damage may alter the footer.
func (m model) encode(t require.TestingT, cut int64, damage func(*frame.Footer)) []byte {
	rows := slices.SortedFunc(maps.Values(m), func(a, b frame.Row) int { return cmp.Compare(a.Offset, b.Offset) })
	d := m.digest()
	f := frame.Footer{
		Digest: d, Rows: uint64(len(rows)),
		Pub: d.Pub(digest.FrameID{TopicID: id.TopicID, Partition: id.Partition, Incarnation: id.Incarnation, Cut: cut}),
	}
	if damage != nil {
		damage(&f)
	}
	return encodeRows(t, cut, rows, f)
}

func encodeRows(t require.TestingT, cut int64, rows []frame.Row, f frame.Footer) []byte {
	var b bytes.Buffer
	w := frame.NewWriter(&b, frame.Header{
		TopicID: id.TopicID, Partition: id.Partition, Incarnation: id.Incarnation, Cut: cut, Since: -1, Fold: fold.LastValue,
	})
	for i := range rows {
		require.NoError(t, w.Append(&rows[i]))
	}
	require.NoError(t, w.Close(f))
	return b.Bytes()
}

func put(offset int64, key, value string) batch.Record {
	return batch.Record{Offset: offset, Timestamp: 1000 + offset, Key: []byte(key), Value: []byte(value)}
}

func del(offset int64, key string) batch.Record {
	return batch.Record{Offset: offset, Timestamp: 1000 + offset, Key: []byte(key)}
}

func (m model) apply(rec batch.Record) {
	if rec.Value == nil {
		delete(m, string(rec.Key))
		return
	}
	m[string(rec.Key)] = frame.Row{Key: rec.Key, Value: rec.Value, Offset: rec.Offset, Timestamp: rec.Timestamp, Headers: rec.Headers}
}

func requireSame(t require.TestingT, m model, table *memory.Table, prefix string) {
	d, _ := table.Digest()
	require.Equal(t, m.digest(), d)
	var want []frame.Row
	for _, row := range m.sorted() {
		if bytes.HasPrefix(row.Key, []byte(prefix)) {
			want = append(want, row)
		}
	}
	got := slices.Collect(table.Scan([]byte(prefix), nil))
	require.Len(t, got, len(want))
	for i := range want {
		requireRow(t, want[i], got[i])
	}
	view := table.View()
	require.Len(t, slices.Collect(view.All()), len(m))
	require.Equal(t, d, view.Scrub())
	for k, want := range m {
		got, ok := table.Get([]byte(k))
		require.True(t, ok, "key %q", k)
		requireRow(t, want, got)
	}
}

func requireRow(t require.TestingT, want, got frame.Row) {
	require.Equal(t, string(want.Key), string(got.Key))
	require.Equal(t, string(want.Value), string(got.Value), "key %q", want.Key)
	require.Equal(t, want.Offset, got.Offset)
	require.Equal(t, want.Timestamp, got.Timestamp)
	require.Equal(t, string(want.Headers), string(got.Headers))
	require.False(t, got.Tombstone)
}

// The table is a map: whatever is loaded and applied, in whatever runs, read in whatever way.
func TestTableIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := model{}
		offset := int64(0)
		key := rapid.Custom(func(t *rapid.T) string {
			return fmt.Sprintf("%c/%d", 'a'+rapid.IntRange(0, 2).Draw(t, "dir"), rapid.IntRange(0, 200).Draw(t, "key"))
		})
		next := func() batch.Record {
			offset += rapid.Int64Range(1, 3).Draw(t, "gap")
			if rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
				return del(offset, key.Draw(t, "k"))
			}
			rec := put(offset, key.Draw(t, "k"), string(bytes.Repeat([]byte{'v'}, rapid.SampledFrom([]int{0, 5, 3000, 90_000}).Draw(t, "len"))))
			if rapid.Bool().Draw(t, "headers") {
				rec.Headers = batch.AppendHeaders(nil, batch.Header{Key: "h", Value: []byte("x")})
			}
			return rec
		}
		for range rapid.IntRange(0, 100).Draw(t, "loaded") {
			m.apply(next())
		}
		offset++
		table, _, err := memory.Load(bytes.NewReader(m.encode(t, offset, nil)), memory.Config{})
		require.NoError(t, err)
		require.Equal(t, offset, table.Position())
		for range rapid.IntRange(0, 20).Draw(t, "applies") {
			var recs []batch.Record
			for range rapid.IntRange(0, 30).Draw(t, "records") {
				rec := next()
				m.apply(rec)
				recs = append(recs, rec)
			}
			offset++
			require.NoError(t, table.Apply(recs, offset, nil))
			require.Equal(t, offset, table.Position())
			if rapid.IntRange(0, 4).Draw(t, "check") == 0 {
				requireSame(t, m, table, rapid.SampledFrom([]string{"", "a", "b/1", "zz"}).Draw(t, "prefix"))
			}
		}
		requireSame(t, m, table, "")
	})
}

func TestScanGoesOnAfterAKey(t *testing.T) {
	table := memory.New(id, 0, memory.Config{Fold: fold.LastValue})
	require.NoError(t, table.Apply([]batch.Record{put(0, "a/1", "x"), put(1, "a/2", "y"), put(2, "b/1", "z")}, 3, nil))
	var keys []string
	for row := range table.Scan([]byte("a/"), []byte("a/1")) {
		keys = append(keys, string(row.Key))
	}
	require.Equal(t, []string{"a/2"}, keys)
}

// A scan may be written to beside: no deadlock, no row twice, and what did not change is there.
func TestScanBesideWrites(t *testing.T) {
	table := memory.New(id, 0, memory.Config{Fold: fold.LastValue})
	var recs []batch.Record
	for i := range 2000 {
		recs = append(recs, put(int64(i), fmt.Sprintf("k%04d", i), "v"))
	}
	require.NoError(t, table.Apply(recs, 2000, nil))
	offset, seen := int64(2000), 0
	last := ""
	for row := range table.Scan(nil, nil) {
		require.Greater(t, string(row.Key), last)
		last = string(row.Key)
		seen++
		require.NoError(t, table.Apply([]batch.Record{del(offset, fmt.Sprintf("new%d", offset-1)), put(offset+1, fmt.Sprintf("new%d", offset+1), "n")}, offset+2, nil))
		offset += 2
	}
	require.GreaterOrEqual(t, seen, 2000)
}

func TestRecordsThatChangeNothing(t *testing.T) {
	table := memory.New(id, 10, memory.Config{Fold: fold.Counter})
	require.NoError(t, table.Apply([]batch.Record{
		put(9, "old", "1"),                  // applied before
		{Offset: 10, Value: []byte("1")},    // null key
		put(11, "a", "not a number"),        // the broker would have refused it
		put(12, "n", "9223372036854775807"), //
		put(13, "n", "1"),                   // overflows
		del(14, "never there"),              //
	}, 15, nil))
	require.Equal(t, int64(15), table.Position())
	d, _ := table.Digest()
	require.Equal(t, model{"n": {Value: []byte("9223372036854775807")}}.digest(), d)
	require.Len(t, table.Skipped(), 3)
	require.NoError(t, table.Apply([]batch.Record{put(3, "x", "1")}, 9, nil), "all of it was applied before")
	require.Equal(t, int64(15), table.Position())
}

// A row shows what the broker's shows: it is a full value, whatever its last delta was.
func TestRowsSayPut(t *testing.T) {
	header := func(op string) batch.Headers {
		return batch.AppendHeaders(nil, batch.Header{Key: delta.HeaderOp, Value: []byte(op)}, batch.Header{Key: "h", Value: []byte("x")})
	}
	tab := memory.New(id, 0, memory.Config{Fold: fold.Counter})
	var told []frame.Row
	err := tab.Apply([]batch.Record{
		{Offset: 0, Key: []byte("a"), Value: []byte("1"), Headers: header("add")},
		{Offset: 1, Key: []byte("b"), Value: []byte("1")},
	}, 2, func(_ int64, _ digest.Digest, row *frame.Row) { told = append(told, *row) })
	require.NoError(t, err)
	for i, key := range []string{"a", "b"} {
		row, ok := tab.Get([]byte(key))
		require.True(t, ok)
		op, _ := row.Headers.Get(delta.HeaderOp)
		require.Equal(t, "put", string(op))
		require.Equal(t, row, told[i])
	}
	row, _ := tab.Get([]byte("a"))
	other, _ := row.Headers.Get("h")
	require.Equal(t, "x", string(other), "other headers stay")
}

func TestRecordsOutOfOrderChangeNothing(t *testing.T) {
	table := memory.New(id, 0, memory.Config{Fold: fold.LastValue})
	for _, recs := range [][]batch.Record{
		{put(1, "a", "x"), put(0, "b", "x")},
		{put(1, "a", "x"), put(1, "b", "x")},
		{put(5, "a", "x")},
	} {
		require.ErrorIs(t, table.Apply(recs, 5, nil), memory.ErrPosition)
		require.Zero(t, table.Position())
		d, _ := table.Digest()
		require.Zero(t, d.Count)
	}
}

// Overwritten rows are given back, whatever the mixture of those that live long and those that do not.
func TestMemoryIsBounded(t *testing.T) {
	m := model{}
	for i := range 3000 {
		m.apply(put(int64(i), fmt.Sprintf("k%04d", i), string(bytes.Repeat([]byte{'v'}, 500))))
	}
	table, _, err := memory.Load(bytes.NewReader(m.encode(t, 3000, nil)), memory.Config{})
	require.NoError(t, err)
	offset := int64(3000)
	apply := func(rec batch.Record) {
		offset++
		m.apply(rec)
		require.NoError(t, table.Apply([]batch.Record{rec}, offset, nil))
	}
	value := string(bytes.Repeat([]byte{'w'}, 500))
	for round := range 30_000 {
		apply(put(offset, fmt.Sprintf("hot%d", round%10), value))
		apply(put(offset, "short-lived", value))
		apply(del(offset, "short-lived"))
		if round%50 == 0 {
			apply(put(offset, fmt.Sprintf("k%04d", round/50*7%3000), value))
		}
	}
	for round := range 30_000 { // nothing else dies in a chunk once it is full
		apply(put(offset, "short-lived", value))
		apply(del(offset, "short-lived"))
		if round%50 == 0 {
			apply(put(offset, fmt.Sprintf("cold%04d", round), value))
		}
	}
	live, held := table.Bytes()
	require.Less(t, held, 2*live+4*(256<<10), "live %d", live)
	requireSame(t, m, table, "")
}

func TestAppliedTellsEachDigest(t *testing.T) {
	table := memory.New(id, 0, memory.Config{Fold: fold.LastValue})
	m := model{}
	recs := []batch.Record{put(0, "a", "1"), put(1, "b", "2"), del(4, "a"), del(5, "zz")}
	i := 0
	require.NoError(t, table.Apply(recs, 6, func(offset int64, d digest.Digest, row *frame.Row) {
		m.apply(recs[i])
		require.Equal(t, recs[i].Offset, offset)
		require.Equal(t, m.digest(), d)
		switch i {
		case 2:
			require.True(t, row.Tombstone)
			require.Equal(t, "a", string(row.Key))
		case 3:
			require.Nil(t, row)
		default:
			require.Equal(t, recs[i].Value, row.Value)
		}
		i++
	}))
	require.Equal(t, 4, i)
}

// Nothing of a frame that does not verify is ever a table.
func TestBrokenFrames(t *testing.T) {
	m := model{}
	for i := range 5000 {
		m.apply(put(int64(i), fmt.Sprintf("key-%d", i), fmt.Sprintf("value %d of some length to fill more than a block: %0100d", i, i)))
	}
	good := m.encode(t, 5000, nil)
	_, _, err := memory.Load(bytes.NewReader(good), memory.Config{})
	require.NoError(t, err)

	t.Run("every truncation", func(t *testing.T) {
		for cut := 0; cut < len(good); cut += 1 + len(good)/97 {
			_, _, err := memory.Load(bytes.NewReader(good[:cut]), memory.Config{})
			require.Error(t, err, "cut at byte %d", cut)
		}
		_, _, err := memory.Load(bytes.NewReader(good[:len(good)-1]), memory.Config{})
		require.Error(t, err)
	})
	t.Run("flipped bits", func(t *testing.T) {
		for at := 0; at < len(good); at += 1 + len(good)/997 {
			bad := bytes.Clone(good)
			bad[at] ^= 0x10
			_, _, err := memory.Load(bytes.NewReader(bad), memory.Config{})
			require.Error(t, err, "byte %d", at)
		}
	})
	t.Run("broken stream", func(t *testing.T) {
		fault := errors.New("connection reset")
		_, _, err := memory.Load(io.MultiReader(bytes.NewReader(good[:len(good)/2]), errReader{fault}), memory.Config{})
		require.ErrorIs(t, err, fault)
	})
	for name, damage := range map[string]func(*frame.Footer){
		"count": func(f *frame.Footer) { f.Digest.Count++ },
		"sum":   func(f *frame.Footer) { f.Digest.Add(digest.Entry{31: 1}); f.Digest.Count-- },
		"pub":   func(f *frame.Footer) { f.Pub[0]++ },
	} {
		t.Run("wrong "+name, func(t *testing.T) {
			_, _, err := memory.Load(bytes.NewReader(m.encode(t, 5000, damage)), memory.Config{})
			require.Error(t, err)
		})
	}
	t.Run("wrong fold", func(t *testing.T) {
		_, _, err := memory.Load(bytes.NewReader(good), memory.Config{Fold: fold.Counter})
		require.ErrorIs(t, err, memory.ErrFrame)
	})
	t.Run("a key twice", func(t *testing.T) {
		var h digest.Hasher
		var d digest.Digest
		rows := []frame.Row{{Key: []byte("k"), Value: []byte("1"), Offset: 1}, {Key: []byte("k"), Value: []byte("2"), Offset: 2}}
		for _, r := range rows {
			d.Add(h.Entry(r.Key, r.Value))
		}
		f := frame.Footer{Digest: d, Rows: 2, Pub: d.Pub(digest.FrameID{TopicID: id.TopicID, Partition: id.Partition, Incarnation: id.Incarnation, Cut: 3})}
		_, _, err := memory.Load(bytes.NewReader(encodeRows(t, 3, rows, f)), memory.Config{})
		require.ErrorIs(t, err, memory.ErrFrame)
	})
}

type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }

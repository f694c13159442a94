package memory_test

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/memory"
)

// source is a log's table: rows and tombstones.
type source struct {
	rows  map[string]frame.Row
	start int64
}

func (s *source) take(rec batch.Record) {
	s.rows[string(rec.Key)] = frame.Row{Key: rec.Key, Value: rec.Value, Offset: rec.Offset, Timestamp: rec.Timestamp, Tombstone: rec.Value == nil}
}

func (s *source) live() model {
	m := model{}
	for k, row := range s.rows {
		if !row.Tombstone {
			m[k] = row
		}
	}
	return m
}

// since encodes what changed from an offset on, after what start passes has left.
func (s *source) since(t require.TestingT, since, cut, start int64, damage func(*frame.Header, *frame.Footer)) *frame.Reader {
	maps.DeleteFunc(s.rows, func(_ string, row frame.Row) bool { return row.Offset < start })
	rows := slices.SortedFunc(maps.Values(s.rows), func(a, b frame.Row) int { return cmp.Compare(a.Offset, b.Offset) })
	rows = slices.DeleteFunc(rows, func(r frame.Row) bool { return r.Offset < since })
	d := s.live().digest()
	f := frame.Footer{Digest: d, Rows: uint64(len(rows)),
		Pub: d.Pub(digest.FrameID{TopicID: id.TopicID, Partition: id.Partition, Incarnation: id.Incarnation, Cut: cut, Start: start})}
	h := frame.Header{TopicID: id.TopicID, Partition: id.Partition, Incarnation: id.Incarnation, Cut: cut, Start: start, Since: since, Fold: fold.LastValue}
	if damage != nil {
		damage(&h, &f)
	}
	r, err := frame.NewReader(bytes.NewReader(written(t, h, f, rows)), 0)
	require.NoError(t, err)
	return r
}

func written(t require.TestingT, h frame.Header, f frame.Footer, rows []frame.Row) []byte {
	var b bytes.Buffer
	w := frame.NewWriter(&b, h)
	for i := range rows {
		require.NoError(t, w.Append(&rows[i]))
	}
	require.NoError(t, w.Close(f))
	return b.Bytes()
}

// wrongly encodes what changed from since to cut with rows that do not lie there, which no writer takes: all else agrees with the log.
func (s *source) wrongly(t require.TestingT, since, cut int64, rows []frame.Row) *frame.Reader {
	d := s.live().digest()
	h := frame.Header{TopicID: id.TopicID, Partition: id.Partition, Incarnation: id.Incarnation, Cut: cut, Since: since, Fold: fold.LastValue}
	f := frame.Footer{Digest: d, Rows: uint64(len(rows)),
		Pub: d.Pub(digest.FrameID{TopicID: id.TopicID, Partition: id.Partition, Incarnation: id.Incarnation, Cut: cut})}
	head := written(t, h, frame.Footer{}, nil)
	behind := bytes.NewReader(head)
	_, err := frame.NewReader(behind, 0)
	require.NoError(t, err)
	head = head[:len(head)-behind.Len()]
	h.Since, h.Cut = 0, cut+100
	r, err := frame.NewReader(bytes.NewReader(append(head, written(t, h, f, rows)[len(head):]...)), 0)
	require.NoError(t, err)
	return r
}

// mirror is a watcher's copy of the table, from what it is told.
type mirror map[string]string

func (m mirror) take(row frame.Row, expired bool) {
	if delete(m, string(row.Key)); !row.Tombstone && !expired {
		m[string(row.Key)] = string(row.Value)
	}
}

func (m mirror) applied(_ int64, _ digest.Digest, row *frame.Row) {
	if row != nil {
		m.take(*row, false)
	}
}

func (m model) values() mirror {
	out := mirror{}
	for k, row := range m {
		out[k] = string(row.Value)
	}
	return out
}

// A table that follows a log, loses deltas and rots, comes to the log's state by consolidated deltas and patches, whatever comes before and
// after; whoever watches it does too. A scrub that runs through all that says equal unless something rotted, and then the rows stay as far from the digest that is
// kept as they were found, until that is rebased.
func TestConsolidateAndPatchMakeTheLogsState(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &source{rows: map[string]frame.Row{}}
		table := memory.New(id, 0, memory.Config{Fold: fold.LastValue})
		told := mirror{}
		end, scrub := int64(0), table.NewScrub()
		rotten, gap := false, digest.Digest{}
		legible := true // all rows
		beyond := func() (d digest.Digest) {
			v := table.View()
			d = v.Scrub()
			d.Sum.Sub(v.Digest.Sum.Bytes())
			d.Count -= v.Digest.Count
			return d
		}
		next := func() batch.Record {
			rec := put(end, fmt.Sprintf("k%02d", rapid.IntRange(0, 60).Draw(t, "key")), string(bytes.Repeat([]byte{'v'}, rapid.SampledFrom([]int{0, 5, 40_000}).Draw(t, "len"))))
			if rapid.IntRange(0, 3).Draw(t, "delete") == 0 {
				rec.Value = nil
			} else {
				rec.Value = append(rec.Value, fmt.Sprint(end)...)
			}
			end += rapid.Int64Range(1, 3).Draw(t, "gap")
			s.take(rec)
			return rec
		}
		records := func() (recs []batch.Record) {
			for range rapid.IntRange(0, 30).Draw(t, "records") {
				recs = append(recs, next())
			}
			return recs
		}
		drifted := func() bool { d, _ := table.Digest(); return rotten || d != s.live().digest() }
		t.Repeat(map[string]func(*rapid.T){
			"follow": func(*rapid.T) { require.NoError(t, table.Apply(records(), end, told.applied)) },
			"lose": func(*rapid.T) {
				recs := records()
				n := min(len(recs), rapid.IntRange(0, 2).Draw(t, "lost"))
				require.NoError(t, table.Apply(recs[n:], end, told.applied))
			},
			"consolidate": func(*rapid.T) {
				if drifted() {
					return
				}
				since := table.Position()
				records()
				s.start = rapid.Int64Range(s.start, end).Draw(t, "start")
				before, _ := table.Digest()
				bad := s.since(t, since, end, s.start, func(_ *frame.Header, f *frame.Footer) { f.Digest.Count++ })
				require.ErrorIs(t, consolidate(table, bad, nil), memory.ErrDigest)
				after, at := table.Digest()
				require.Equal(t, before, after)
				require.Equal(t, since, at)
				require.NoError(t, consolidate(table, s.since(t, since, end, s.start, nil), told.take))
				require.Equal(t, end, table.Position())
				requireSame(t, s.live(), table, "")
			},
			"rot": func(*rapid.T) {
				for _, k := range slices.Sorted(maps.Keys(s.live())) {
					if b := table.Stored([]byte(k)); b != nil { // the key, its length or the value's: offset and time are not in the digest
						at := bytes.Index(b, []byte(k)) - 1
						b[at+rapid.IntRange(0, len(k)+1).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
						v := table.View()
						rotten, gap, legible = true, beyond(), v.Scrub().Count == int64(len(slices.Collect(v.All())))
						return
					}
				}
			},
			"patch": func(*rapid.T) {
				var puts []frame.Row
				var deletes [][]byte
				stored := map[string]digest.Entry{}
				table.View().Entries(func(key []byte, e digest.Entry) {
					if _, twice := stored[string(key)]; twice { // a key that became another
						e = digest.Entry{}
					}
					stored[string(key)] = e
				})
				var h digest.Hasher
				for k, row := range s.live() {
					if stored[k] != h.Entry(row.Key, row.Value) {
						puts = append(puts, row)
					}
				}
				for k := range stored {
					if _, ok := s.live()[k]; !ok {
						deletes = append(deletes, []byte(k))
					}
				}
				want := s.live().digest()
				wrong := want
				wrong.Count++
				before, _ := table.Digest()
				require.ErrorIs(t, table.Patch(puts, deletes, wrong, nil), memory.ErrDigest)
				after, _ := table.Digest()
				require.Equal(t, before, after)
				position := table.Position()
				require.NoError(t, table.Patch(puts, deletes, want, told.take))
				require.Equal(t, position, table.Position())
				requireSame(t, s.live(), table, "")
				if !rotten {
					require.Equal(t, s.live().values(), told)
				}
				rotten, legible, gap, told = false, true, digest.Digest{}, s.live().values()
				scrub = table.NewScrub()
			},
			"rebase": func(*rapid.T) {
				table.Rebase(gap)
				gap = digest.Digest{}
			},
			"scan": func(*rapid.T) {
				for range table.Scan(nil, nil) { // builds the order
				}
			},
			"scrub": func(*rapid.T) {
				if _, found, done := scrub.Step(rapid.IntRange(0, 20).Draw(t, "rows")); done {
					if !rotten {
						require.NotNil(t, found)
						require.Equal(t, found.Kept, found.Stored)
					}
					scrub = table.NewScrub()
				}
			},
			"": func(t *rapid.T) {
				if v := table.View(); legible {
					require.Equal(t, gap, beyond())
				} else if v.Digest.Merge(gap); v.Digest == s.live().digest() {
					require.Equal(t, v.Digest, v.Scrub(), "it is the log's by what was found, and is not")
				}
				if !drifted() {
					requireSame(t, s.live(), table, "")
					require.Equal(t, s.live().values(), told)
				}
			},
		})
	})
}

func consolidate(t *memory.Table, fr *frame.Reader, changed memory.Changed) error {
	d, err := t.Since(fr, false)
	if err == nil {
		err = d.Apply(changed)
	}
	return err
}

// A difference is applied to the table that it was read for, and to no later one.
func TestDifferenceIsOfOneMoment(t *testing.T) {
	table, s := filled(t, 10)
	s.take(put(10, "k00003", "new"))
	d, err := table.Since(s.since(t, 10, 12, 0, nil), false)
	require.NoError(t, err)
	require.NoError(t, table.Apply([]batch.Record{put(10, "other", "x")}, 11, nil))
	require.ErrorIs(t, d.Apply(nil), memory.ErrPosition)
	row, _ := table.Get([]byte("k00003"))
	require.Equal(t, "value 3", string(row.Value))
}

func filled(t *testing.T, rows int) (*memory.Table, *source) {
	s := &source{rows: map[string]frame.Row{}}
	table := memory.New(id, 0, memory.Config{Fold: fold.LastValue})
	for i := range rows {
		rec := put(int64(i), fmt.Sprintf("k%05d", i), fmt.Sprint("value ", i))
		s.take(rec)
		require.NoError(t, table.Apply([]batch.Record{rec}, int64(i)+1, nil))
	}
	return table, s
}

// What is not a consolidated delta of this table at its position is refused, and nothing has changed.
func TestConsolidateRefusesWhatDoesNotFit(t *testing.T) {
	table, s := filled(t, 10)
	s.take(put(10, "k00003", "new"))
	s.take(put(11, "k00004", "new"))
	before, _ := table.Digest()
	for name, damage := range map[string]func(*frame.Header, *frame.Footer){
		"incarnation": func(h *frame.Header, _ *frame.Footer) { h.Incarnation[0]++ },
		"topic":       func(h *frame.Header, _ *frame.Footer) { h.TopicID[0]++ },
		"partition":   func(h *frame.Header, _ *frame.Footer) { h.Partition++ },
		"fold":        func(h *frame.Header, _ *frame.Footer) { h.Fold = fold.Counter },
		"since":       func(h *frame.Header, _ *frame.Footer) { h.Since-- },
		"whole":       func(h *frame.Header, _ *frame.Footer) { h.Since = -1 },
		"cut":         func(h *frame.Header, _ *frame.Footer) { h.Cut++ }, // pub is another
		"sum":         func(_ *frame.Header, f *frame.Footer) { f.Digest.Sum[3]++ },
		"pub":         func(_ *frame.Header, f *frame.Footer) { f.Pub[0]++ },
	} {
		t.Run(name, func(t *testing.T) {
			require.Error(t, consolidate(table, s.since(t, 10, 12, 0, damage), func(frame.Row, bool) { t.Fatal("told of a change") }))
			d, at := table.Digest()
			require.Equal(t, before, d)
			require.EqualValues(t, 10, at)
			row, _ := table.Get([]byte("k00003"))
			require.Equal(t, "value 3", string(row.Value))
		})
	}
	require.NoError(t, consolidate(table, s.since(t, 10, 12, 0, nil), nil))
	requireSame(t, s.live(), table, "")
	require.NoError(t, consolidate(table, s.since(t, 12, 20, 5, nil), nil), "nothing but rows that expire")
	requireSame(t, s.live(), table, "")
	require.EqualValues(t, 20, table.Position())
}

// A row that lies below the position, or at the cut or above, did not change in between, whatever its value: it is refused, and so is a key that comes
// twice. Else the table would say of a row that it is where the log does not have it, and what changed since would be told without it, or twice.
func TestConsolidateRefusesRowsFromElsewhere(t *testing.T) {
	at := func(offsets ...int64) (rows []frame.Row) {
		for i, o := range offsets {
			rows = append(rows, frame.Row{Key: fmt.Appendf(nil, "k%05d", 3+i), Value: []byte("new"), Offset: o, Timestamp: 1})
		}
		return rows
	}
	twice := at(10, 11, 12)
	twice[1] = twice[0]
	twice[1].Offset = 11
	for name, x := range map[string]struct {
		rows []frame.Row
		ok   bool
	}{
		"between":            {at(10, 12), true},
		"below the position": {at(9, 12), false},
		"at the cut":         {at(10, 13), false},
		"above it":           {at(10, 60), false},
		"a key twice":        {twice, false},
	} {
		t.Run(name, func(t *testing.T) {
			table, s := filled(t, 10)
			before, _ := table.Digest()
			for _, row := range x.rows {
				s.rows[string(row.Key)] = row
			}
			err := consolidate(table, s.wrongly(t, 10, 13, x.rows), nil)
			if x.ok {
				require.NoError(t, err)
				requireSame(t, s.live(), table, "")
				return
			}
			require.ErrorIs(t, err, memory.ErrFrame)
			d, position := table.Digest()
			require.Equal(t, before, d)
			require.EqualValues(t, 10, position)
		})
	}
}

func TestPatchRefusesWhatIsNone(t *testing.T) {
	table, s := filled(t, 10)
	want := s.live().digest()
	row := s.rows["k00003"]
	above, dead := row, row
	above.Offset, dead.Tombstone = 10, true
	require.ErrorIs(t, table.Patch([]frame.Row{above}, nil, want, nil), memory.ErrPatch)
	require.ErrorIs(t, table.Patch([]frame.Row{dead}, nil, want, nil), memory.ErrPatch)
	require.ErrorIs(t, table.Patch([]frame.Row{row, row}, nil, want, nil), memory.ErrPatch)
	require.ErrorIs(t, table.Patch([]frame.Row{row}, [][]byte{row.Key}, want, nil), memory.ErrPatch)
	requireSame(t, s.live(), table, "")
}

// A bit that flips in a row is found by the next pass, though the digest that was kept still is the log's; and a patch that does not mend it is refused.
func TestScrubFindsEveryFlippedByte(t *testing.T) {
	for at := range 24 {
		table, s := filled(t, 1000)
		stored := table.Stored([]byte("k00500"))
		if at >= len(stored)-5 { // offset, time and headers are not in the digest
			break
		}
		stored[at] ^= 0x40
		scrub, looked := table.NewScrub(), 0
		for {
			n, found, done := scrub.Step(64)
			if looked += n; done {
				require.NotEqual(t, found.Kept, found.Stored, "byte %d", at)
				require.Equal(t, s.live().digest(), found.Kept)
				break
			}
		}
		require.Equal(t, 1000, looked)
		require.ErrorIs(t, table.Patch(nil, nil, s.live().digest(), nil), memory.ErrDigest)
		var deletes [][]byte
		table.View().Entries(func(key []byte, _ digest.Entry) {
			if _, ok := s.rows[string(key)]; !ok {
				deletes = append(deletes, bytes.Clone(key))
			}
		})
		require.NoError(t, table.Patch([]frame.Row{s.rows["k00500"]}, deletes, s.live().digest(), nil))
		requireSame(t, s.live(), table, "")
	}
}

// A bit that flips in a row's length, so that the row reads as if it went on to the end of the next, costs at most that row.
func TestDamageCostsNoOtherRow(t *testing.T) {
	table := memory.New(id, 0, memory.Config{Fold: fold.LastValue})
	require.NoError(t, table.Apply([]batch.Record{put(0, "a", "1"), put(1, "b", "2"), put(2, "big", string(make([]byte, 1<<20)))}, 3, nil))
	whole := len(table.Stored([]byte("a"))) + len(table.Stored([]byte("b")))
	table.Stored([]byte("a"))[2] ^= 8
	require.Len(t, table.Stored([]byte("a")), whole, "it reads as both")
	require.NoError(t, table.Apply([]batch.Record{put(3, "a", "3")}, 4, nil))
	for key, value := range map[string]string{"a": "3", "b": "2"} {
		row, ok := table.Get([]byte(key))
		require.True(t, ok, key)
		require.Equal(t, value, string(row.Value))
	}
}

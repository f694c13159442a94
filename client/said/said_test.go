package said_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keyframelog/keyframe/client/said"
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/memory"
)

func newState(kind fold.Kind, partitions int) *said.State {
	var tables []*memory.Table
	for no := range partitions {
		tables = append(tables, memory.New(memory.Identity{Partition: int32(no)}, 0, memory.Config{Fold: kind}))
	}
	return said.New(tables, make([]int64, partitions))
}

func rows(s *said.State) map[string]string {
	all := map[string]string{}
	for no, row := range s.Rows() {
		all[fmt.Sprint(no, string(row.Key))] = string(row.Value)
	}
	return all
}

// record draws a delta of one of a few keys.
func record(t *rapid.T, kind fold.Kind) batch.Record {
	r := batch.Record{Key: []byte{byte(rapid.IntRange('a', 'f').Draw(t, "key"))}}
	n := rapid.IntRange(0, 9).Draw(t, "n")
	switch {
	case n == 0: // deletes
	case kind == fold.Debezium:
		r.Value = fmt.Appendf(nil, `{"op":"c","after":{"n":%d}}`, n)
	case kind == fold.JSONMergePatch:
		r.Value = fmt.Appendf(nil, `{"%d":%d}`, n%3, n)
	default:
		r.Value = strconv.AppendInt(nil, int64(n), 10)
	}
	return r
}

// The rows that a log start has passed are found by their offsets, however many of these belong to markers, others' records and failures; those of
// records that are on their way stay.
func TestRowsExpireByTheirOffsets(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newState(fold.LastValue, 1)
		end, start := int64(0), int64(0)
		last := map[string]int64{} // offsets of live rows
		type flying struct {
			word said.Word
			of   batch.Record
		}
		var inFlight []flying // said, and not in the log yet
		land := func() {
			for _, f := range inFlight {
				s.Settle(f.word, end, nil)
				if last[string(f.of.Key)] = end; f.of.Value == nil {
					delete(last, string(f.of.Key))
				}
				end++
			}
			inFlight = nil
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0:
				start = rapid.Int64Range(start, end).Draw(t, "start")
				s.Expire(0, start)
				for key, offset := range last {
					if offset < start {
						delete(last, key)
					}
				}
			case 1:
				end += rapid.Int64Range(1, 3).Draw(t, "others")
			case 2: // fails, and is no row: what is left of it is drift
				s.Settle(s.Say(0, batch.Record{Key: []byte("none")}), -1, errors.New("lost"))
			case 3:
				land()
			default:
				r := record(t, fold.LastValue)
				inFlight = append(inFlight, flying{s.Say(0, r), r})
				if rapid.Bool().Draw(t, "acknowledged") {
					land()
				}
			}
			require.True(t, s.Standing(0).Exact)
			want := maps.Clone(last)
			for _, f := range inFlight {
				if want[string(f.of.Key)] = -1; f.of.Value == nil {
					delete(want, string(f.of.Key))
				}
			}
			got := rows(s)
			require.Len(t, got, len(want))
			for key := range want {
				require.Contains(t, got, "0"+key)
			}
		}
	})
}

// Where offsets are not known, or fall, it is said that they are not.
func TestOffsetsThatAreNotKnown(t *testing.T) {
	for name, offsets := range map[string][]int64{"never acknowledged": {-1, -1}, "a new log": {7, 3}} {
		s := newState(fold.LastValue, 1)
		for i, offset := range offsets {
			s.Settle(s.Say(0, batch.Record{Key: []byte{byte(i)}, Value: []byte("v")}), offset, nil)
		}
		require.True(t, s.Standing(0).Exact, name)
		s.Expire(0, 2)
		require.False(t, s.Standing(0).Exact, name)
		require.Len(t, rows(s), 2, name)
	}
	s := newState(fold.LastValue, 1)
	w := s.Say(0, batch.Record{Key: []byte("k"), Value: []byte("v")})
	s.Expire(0, 2)
	require.True(t, s.Standing(0).Exact)
	s.Settle(w, 1, nil)
	require.False(t, s.Standing(0).Exact, "the log start had passed it already")

	s = newState(fold.Counter, 1)
	s.Settle(s.Say(0, batch.Record{Key: []byte("k"), Value: []byte("1")}), 0, nil)
	s.Expire(0, 1)
	require.Empty(t, rows(s))
	require.False(t, s.Standing(0).Exact, "something may have been added to a counter that was gone")
}

// A partition whose offsets jump ever again is followed so far and no further: then it is not known which rows have expired.
func TestOffsetsThatJumpTooOften(t *testing.T) {
	for jumps, exact := range map[int64]bool{1<<16 - 1: true, 1 << 16: false} {
		s := newState(fold.LastValue, 1)
		for i := range jumps { // somebody else has every other offset
			s.Settle(s.Say(0, batch.Record{Key: []byte("k"), Value: []byte("v")}), 2*i+1, nil)
		}
		s.Expire(0, 1)
		require.Equal(t, exact, s.Standing(0).Exact)
	}
}

// What was said in a transaction that is aborted was never said.
func TestTransactions(t *testing.T) {
	for _, kind := range []fold.Kind{fold.LastValue, fold.JSONMergePatch, fold.Counter, fold.Debezium} {
		t.Run(kind.String(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				s, plain := newState(kind, 2), newState(kind, 2) // plain is told what is committed only
				say := func(s *said.State, no int32, r batch.Record) { s.Settle(s.Say(no, r), -1, nil) }
				for range rapid.IntRange(1, 8).Draw(t, "transactions") {
					commit := rapid.Bool().Draw(t, "commit")
					s.BeginTransaction()
					n := rapid.IntRange(0, 9).Draw(t, "records")
					for range n {
						no, r := int32(rapid.IntRange(0, 1).Draw(t, "partition")), record(t, kind)
						say(s, no, r)
						if commit {
							say(plain, no, r)
						}
					}
					require.Equal(t, n > 0, s.Moment().Open)
					s.EndTransaction(commit)
					require.Equal(t, plain.Moment().Digests, s.Moment().Digests)
					require.Equal(t, rows(plain), rows(s))
				}
			})
		})
	}
}

// A moment is waited for until its own records are settled, and those before it; what comes later is of the next one.
func TestMoments(t *testing.T) {
	s := newState(fold.LastValue, 2)
	done, cancel := context.WithCancel(t.Context())
	cancel()
	say := func(no int32) said.Word {
		return s.Say(no, batch.Record{Key: []byte("k"), Value: []byte("v")})
	}
	first := say(0)
	m := s.Moment()
	require.ErrorIs(t, s.Wait(done, m), context.Canceled)
	second := say(0)
	require.False(t, s.Quiet(m))
	m = s.Moment()
	third := say(0)
	s.Settle(third, 2, nil)
	s.Settle(second, 1, nil)
	require.ErrorIs(t, s.Wait(done, m), context.Canceled)
	s.Settle(first, 0, nil)
	require.NoError(t, s.Wait(t.Context(), m))
	at, ok := s.Position(m, 0)
	require.True(t, ok)
	require.Equal(t, int64(2), at)
	at, _ = s.Position(m, 1)
	require.Zero(t, at)
	m = s.Moment()
	require.NoError(t, s.Wait(t.Context(), m))
	at, _ = s.Position(m, 0)
	require.Equal(t, int64(3), at)
	require.True(t, s.Quiet(m))
	s.Agree(m, 0, [16]byte{1}, 5)
	require.Equal(t, said.Standing{Since: said.Since{Base: 5}, Incarnation: [16]byte{1}, Exact: true}, s.Standing(0))

	m = s.Moment()
	s.Settle(say(0), 6, nil)
	s.Agree(m, 0, [16]byte{2}, 7)
	require.Equal(t, said.Since{Base: 5, Handed: 1, Acked: 1}, s.Standing(0).Since, "of what was said since that is not known")

	s.Settle(say(0), -1, nil) // acknowledged without an offset
	m = s.Moment()
	require.NoError(t, s.Wait(t.Context(), m))
	_, ok = s.Position(m, 0)
	require.False(t, ok)
	_, ok = s.Position(m, 1)
	require.True(t, ok)
}

func TestHomeAndBegin(t *testing.T) {
	s := newState(fold.LastValue, 3)
	put := func(no int32, key string) {
		s.Settle(s.Say(no, batch.Record{Key: []byte(key), Value: []byte("v")}), 0, nil)
	}
	put(2, "a")
	put(1, "b")
	put(2, "b")
	require.Equal(t, 2, s.Home([]byte("a"), 0))
	require.Equal(t, 2, s.Home([]byte("b"), 2))
	require.Equal(t, 1, s.Home([]byte("b"), 0))
	require.Equal(t, 7, s.Home([]byte("c"), 7))

	m := s.Moment()
	table := func() *memory.Table {
		return memory.New(memory.Identity{Incarnation: [16]byte{1}}, 9, memory.Config{Fold: fold.LastValue})
	}
	require.Error(t, s.Begin([]*memory.Table{table()}, []int64{0}))
	require.Len(t, rows(s), 3)
	require.NoError(t, s.Begin([]*memory.Table{table(), table(), table()}, []int64{4, 0, 0}))
	require.Empty(t, rows(s))
	require.False(t, s.Quiet(m))
	require.Equal(t, said.Standing{Since: said.Since{Base: 9}, Incarnation: [16]byte{1}, Start: 4, Exact: true}, s.Standing(0))
}

// A log that was created anew is shorter: where the former one stood says nothing of it.
func TestANewLogIsShorter(t *testing.T) {
	for name, anew := range map[string]func(*said.State, said.Moment) error{
		"begun anew": func(s *said.State, _ said.Moment) error {
			t := memory.New(memory.Identity{Incarnation: [16]byte{1}}, 5, memory.Config{Fold: fold.LastValue})
			return s.Begin([]*memory.Table{t}, []int64{0})
		},
		"agreed upon": func(s *said.State, m said.Moment) error {
			s.Agree(m, 0, [16]byte{1}, 5)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newState(fold.LastValue, 1)
			say := func() said.Word { return s.Say(0, batch.Record{Key: []byte("k"), Value: []byte("v")}) }
			s.Settle(say(), 999, nil)
			require.NoError(t, anew(s, s.Moment()))
			s.Settle(say(), 5, nil)
			m := s.Moment()
			s.Settle(say(), 6, nil)
			at, ok := s.Position(m, 0)
			require.True(t, ok)
			require.EqualValues(t, 6, at)
		})
	}
}

// A transaction takes an offset where it ends, in each partition that it wrote to; a row that an abort puts back lies where it lay, and is not found.
func TestWhereTransactionsEnd(t *testing.T) {
	for _, commit := range []bool{true, false} {
		s := newState(fold.LastValue, 2)
		say := func(key string, offset int64) {
			s.Settle(s.Say(0, batch.Record{Key: []byte(key), Value: []byte("v")}), offset, nil)
		}
		say("a", 0)
		s.BeginTransaction()
		say("a", 1)
		say("b", 2)
		s.EndTransaction(commit)
		require.EqualValues(t, 1, s.Standing(0).Markers)
		require.Zero(t, s.Standing(1).Markers)
		s.Expire(0, 1)
		require.Equal(t, commit, s.Standing(0).Exact)
	}
}

package reconcile

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/sketch"
	"github.com/keyframelog/keyframe/proto/state"
)

// A broker whose own frames are in doubt is not compared with, one that is busy is asked again, one that contradicts itself is asked in another way,
// and what no way proves is an error.
func TestWhatTheBrokerSays(t *testing.T) {
	setUp := func(t *testing.T) (*fakeTopic, map[string]string) {
		f := newFakeTopic(t, 2)
		source := f.fill(3000, true)
		source["key-3"], source["new"] = "another", "new"
		delete(source, "key-7")
		return f, source
	}
	for why, is := range map[state.Reason]error{
		state.Reason_REASON_BROKER_CORRUPT: plane.ErrUnrepairable, state.Reason_REASON_DISPUTED: plane.ErrUnrepairable,
		state.Reason_REASON_OTHER_INCARNATION: plane.ErrOtherIncarnation,
	} {
		t.Run(why.String(), func(t *testing.T) {
			f, source := setUp(t)
			f.refuse = func(call string) state.Reason {
				if call == "sketch" || call == "tags" {
					return why
				}
				return 0
			}
			_, err := Compare(testContext(t), f.config(t), sourceOf(source))
			require.ErrorIs(t, err, is)
			require.Zero(t, f.asked["frame"]+f.asked["resolve"])
		})
	}
	t.Run("busy", func(t *testing.T) {
		f, source := setUp(t)
		f.refuse = func(call string) state.Reason {
			switch {
			case f.asked[call]%3 == 0 || call == "cut":
				return 0
			case call == "since":
				return state.Reason_REASON_TOO_MANY_SCANS
			}
			return state.Reason_REASON_TOO_MANY_REPAIRS
		}
		f.before = func(call string) {
			if call == "resolve" && f.asked[call] == 1 {
				f.write(0, "other", "newer")
			}
		}
		r, err := Compare(testContext(t), f.config(t), sourceOf(source))
		require.NoError(t, err)
		require.Equal(t, BySketch, r.Method)
		require.Len(t, r.Writes, 3)
		require.Equal(t, 3, f.asked["since"])
	})
	lie := func(f *fakeTopic, what string) {
		switch what {
		case "cells":
			f.cells = func(cells []sketch.Cell) []sketch.Cell {
				for i := range cells {
					cells[i].Sum ^= uint64(f.calls.Load()) << (i % 50) // otherwise in each answer
				}
				return cells
			}
		case "tags":
			f.tags = func(_ int32, tags []uint64) { tags[0]++ }
		case "tags twice": // a lie that only the proof finds
			f.tags = func(_ int32, tags []uint64) { tags[0] = tags[1] }
		case "rows":
			f.rows = func(rows []*state.Row) []*state.Row {
				if len(rows) > 0 {
					rows = rows[1:]
				}
				return rows
			}
		case "other rows":
			f.rows = func(rows []*state.Row) []*state.Row {
				for _, row := range rows {
					row.Value = []byte("forged")
				}
				return rows
			}
		case "frames":
			f.frames = func(_ int32, rows []fakeRow) { rows[0].value = "forged" }
		}
	}
	for name, x := range map[string]struct {
		lies []string
		by   Method
	}{
		"cells":              {[]string{"cells"}, ByTags},
		"cells and tags":     {[]string{"cells", "tags"}, ByFrame},
		"tags twice":         {[]string{"cells", "tags twice"}, ByFrame},
		"rows":               {[]string{"rows"}, ByFrame},
		"other rows":         {[]string{"other rows"}, ByFrame},
		"everything but cut": {[]string{"cells", "tags", "frames"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f, source := setUp(t)
			for _, what := range x.lies {
				lie(f, what)
			}
			r, err := Compare(testContext(t), f.config(t), sourceOf(source))
			if x.by == "" {
				require.ErrorIs(t, err, plane.ErrLied)
				return
			}
			require.NoError(t, err)
			require.Equal(t, x.by, r.Method)
			require.Len(t, r.Writes, 3)
			f.apply(r.Writes)
			require.Equal(t, source, union(t, f.state()))
		})
	}
}

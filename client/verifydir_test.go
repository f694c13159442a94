package client

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/storage/engine"
)

// Whatever drifted in a directory, and whatever the log went on to do since: exactly the keys that differ at the directory's position are found, with the
// frame that happens to be there, above or below.
func TestVerifyDirFindsExactlyWhatDrifted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := newDirRig(t, rapid.SampledFrom([]fold.Kind{fold.LastValue, fold.Counter}).Draw(t, "fold"))
		write := func(n int) {
			for range n {
				value := fmt.Sprint(rapid.IntRange(1, 9).Draw(t, "delta"))
				if rapid.IntRange(0, 4).Draw(t, "deletes") == 0 {
					value = "-"
				}
				g.log.append(0, fmt.Sprint("k", rapid.IntRange(0, 9).Draw(t, "key")), value)
				if rapid.IntRange(0, 9).Draw(t, "cuts") == 0 {
					g.log.cut(0)
				}
			}
		}
		refused := rapid.Bool().Draw(t, "refused") // then row by row
		if refused {
			g.plane.refuseRepairs()
		}
		write(rapid.IntRange(1, 20).Draw(t, "before"))
		position := g.log.parts[0].end
		rows := g.at(position)
		drift(t, rows, position)
		g.store(rows, position, 0)
		write(rapid.IntRange(0, 20).Draw(t, "since"))

		want := compareByHand(rows, g.at(position))
		d := g.verify()
		requireCut(t, position, d)
		require.Equal(t, position, d.At)
		require.Equal(t, position, d.Position)
		require.NoError(t, d.Unnamed)
		require.Equal(t, fmt.Sprint(want), fmt.Sprint(d.keys()))
		if len(want) > 0 {
			require.Equal(t, Drifted, d.Outcome)
			require.Equal(t, LogicalDrift, d.Cause)
			switch cost := d.Repair; cost.Method {
			case ByFrame:
				require.EqualValues(t, len(want), cost.Keys)
			case ByLog:
				require.Zero(t, cost.Keys)
				require.Zero(t, cost.Bytes)
			default:
				require.Contains(t, []Method{BySketch, ByTags}, cost.Method)
				require.Positive(t, cost.Keys)
				require.LessOrEqual(t, cost.Keys, int64(len(want)))
				require.Positive(t, cost.Bytes)
			}
		} else {
			require.Equal(t, Equal, d.Outcome)
		}

		require.True(t, refused || g.plane.past.scans.Load() == 0, "at the cost of the difference, if that may be")

		// The log no longer knows the position, but what changed since: keys that did are not judged.
		g.log.cut(0)
		if rapid.Bool().Draw(t, "more") {
			write(3)
		}
		g.log.trim(0)
		if g.log.parts[0].deltaStart <= position {
			return
		}
		cut := g.log.parts[0].cuts[0]
		g.log.mu.Lock()
		touched := g.log.rowsLocked(0, cut)
		g.log.mu.Unlock()
		maps.DeleteFunc(touched, func(_ string, row frame.Row) bool { return row.Offset < position })
		want = slices.DeleteFunc(want, func(key string) bool { _, ok := touched[key[2:]]; return ok })
		d = g.verify()
		requireCut(t, cut, d)
		require.Equal(t, cut, d.At)
		require.Contains(t, d.Reason, "no longer in the log")
		require.NoError(t, d.Unnamed)
		require.Equal(t, fmt.Sprint(want), fmt.Sprint(d.keys()))
		switch {
		case len(want) > 0:
			require.Equal(t, Drifted, d.Outcome)
		case len(touched) > 0:
			require.Equal(t, Inconclusive, d.Outcome, "it may have had anything for them")
			require.Equal(t, ByDelta, d.Repair.Method)
			require.EqualValues(t, len(touched), d.Repair.Keys)
			require.Positive(t, d.Repair.Bytes)
		default:
			require.Equal(t, Equal, d.Outcome)
		}
		require.True(t, refused || g.plane.past.scans.Load() == 0)

		if g.log.expire(0); cut > position {
			d = g.verify()
			require.Equal(t, Inconclusive, d.Outcome)
			require.Contains(t, d.Reason, "nor what was deleted")
			require.Equal(t, ByFrame, d.Repair.Method)
			require.Equal(t, d.Repair.FrameBytes, d.Repair.Bytes)
		}
	})
}

// Where very much differs the rows are read one by one, and where the broker would repair nobody as well.
func TestVerifyDirOneByOne(t *testing.T) {
	for _, corrupt := range []bool{false, true} {
		g := newDirRig(t, fold.LastValue)
		rows := map[string]frame.Row{}
		for i := range 3000 {
			key := fmt.Sprintf("k%04d", i)
			g.log.append(0, key, "1")
			rows[key] = frame.Row{Key: []byte(key), Value: []byte("1"), Offset: int64(i)}
			if !corrupt || i == 7 {
				rows[key] = frame.Row{Key: []byte(key), Value: []byte("2"), Offset: int64(i)}
			}
		}
		delete(rows, "k0005")
		rows["k9999"] = frame.Row{Key: []byte("k9999"), Value: []byte("1"), Offset: 5}
		g.store(rows, 3000, 0)
		g.log.append(0, "k0007", "3", "k0008", "4")
		g.log.cut(0)
		if corrupt {
			g.plane.refuseRepairs()
		}
		d := g.verify()
		require.Equal(t, Drifted, d.Outcome)
		require.NoError(t, d.Unnamed)
		require.Equal(t, compareByHand(rows, g.at(3000)), d.keys())
		require.Equal(t, ByFrame, d.Repair.Method)
		require.EqualValues(t, 1, g.plane.past.scans.Load())
		require.Equal(t, corrupt, d.Repair.Refused != nil)
	}
}

// In a dispute the keys are found as in a repair, which is refused.
func TestVerifyDirInADispute(t *testing.T) {
	g := newDirRig(t, fold.LastValue)
	for i := range 3000 {
		g.log.append(0, fmt.Sprintf("k%04d", i), "1")
	}
	g.log.cut(0)
	rows := g.at(3000)
	rows["k0007"] = frame.Row{Key: []byte("k0007"), Value: []byte("2"), Offset: 7}
	g.store(rows, 3000, 0)
	g.plane.dispute(true)
	d := g.verify()
	require.Equal(t, Drifted, d.Outcome)
	require.Equal(t, []string{"~ k0007"}, d.keys())
	require.Equal(t, BySketch, d.Repair.Method)
	require.ErrorIs(t, d.Repair.Refused, ErrUnrepairable)
	require.Zero(t, g.plane.past.scans.Load())

	g.log.append(0, "k0008", "3")
	g.log.cut(0)
	g.log.trim(0)
	d = g.verify()
	require.Equal(t, Drifted, d.Outcome)
	require.EqualValues(t, 3001, d.At)
	require.ErrorIs(t, d.Repair.Refused, ErrDisputed, "where the position is gone as well")
	g.log.expire(0)
	d = g.verify()
	require.Equal(t, Inconclusive, d.Outcome)
	require.Equal(t, ByFrame, d.Repair.Method)
	require.ErrorIs(t, d.Repair.Refused, ErrDisputed, "and what was deleted since")

	g.plane.dispute(false)
	require.NoError(t, g.verify().Repair.Refused)
	rows["k0007"] = frame.Row{Key: []byte("k0007"), Value: []byte("1"), Offset: 7}
	g = newDirRig(t, fold.LastValue)
	g.log.append(0, "a", "1")
	g.log.cut(0)
	g.store(g.at(1), 1, 0)
	g.plane.dispute(true)
	d = g.verify()
	require.Equal(t, Equal, d.Outcome)
	require.NoError(t, d.Repair.Refused, "there is nothing to repair")
}

// Rows that the log start has passed since leave the copy before it is compared.
func TestVerifyDirWithoutExpiredRows(t *testing.T) {
	g := newDirRig(t, fold.LastValue)
	g.log.append(0, "a", "1", "b", "1", "c", "1")
	g.log.cut(0)
	rows := g.at(3)
	g.store(rows, 3, 0)
	g.log.cutExpiring(0, 1)
	d := g.verify()
	require.Equal(t, Equal, d.Outcome)
	require.Contains(t, d.Reason, "without the rows below 1")

	rows["c"] = frame.Row{Key: []byte("c"), Value: []byte("2"), Offset: 2}
	g = newDirRig(t, fold.LastValue)
	g.log.append(0, "a", "1", "b", "1", "c", "1")
	g.store(rows, 3, 0)
	g.log.cutExpiring(0, 1)
	d = g.verify()
	require.Equal(t, Drifted, d.Outcome)
	require.Equal(t, []string{"~ c"}, d.keys())
	g.plane.refuseRepairs() // row by row as well
	require.Equal(t, []string{"~ c"}, g.verify().keys())
	require.EqualValues(t, 1, g.plane.past.scans.Load())

	g = newDirRig(t, fold.LastValue) // also where it is known only what has changed since
	g.log.append(0, "a", "1", "b", "1", "c", "1")
	g.store(g.at(3), 3, 0)
	g.log.append(0, "d", "1")
	g.log.cutExpiring(0, 1)
	g.log.trim(0)
	d = g.verify()
	require.Contains(t, d.Reason, "position 3 is no longer in the log")
	require.Equal(t, Inconclusive, d.Outcome, "of d nothing is known")

	g = newDirRig(t, fold.LastValue) // the other way round there is no telling
	g.log.append(0, "a", "1", "b", "1")
	left := g.at(2)
	delete(left, "a")
	g.store(left, 2, 1)
	d = g.verify()
	require.Equal(t, Inconclusive, d.Outcome)
	require.Contains(t, d.Reason, "rows below 1 have left the copy")

	g = newDirRig(t, fold.Counter) // what is folded onto a row that has expired is another sum
	g.log.append(0, "a", "1", "b", "1", "c", "1")
	g.store(rows, 3, 0)
	g.log.cutExpiring(0, 1)
	d = g.verify()
	require.Equal(t, Inconclusive, d.Outcome)
	require.Contains(t, d.Reason, "expired")

	g = newDirRig(t, fold.Counter) // nor is it known where the log is followed up to a frame
	g.log.append(0, "a", "1", "b", "1")
	copied := g.at(2)
	g.log.cutExpiring(0, 1)
	g.log.append(0, "a", "1")
	copied["a"] = frame.Row{Key: []byte("a"), Value: []byte("2"), Offset: 2} // that had not heard of it
	require.Equal(t, "1", string(g.at(3)["a"].Value))
	g.store(copied, 3, 0)
	g.log.append(0, "d", "1")
	g.log.cut(0)
	g.log.trim(0)
	d = g.verify()
	require.Contains(t, d.Reason, "position 3 is no longer in the log")
	require.Equal(t, Inconclusive, d.Outcome)
	require.Contains(t, d.Reason, "expired")
}

// What is no directory of this topic's replica is an error that says what it is, and nothing is made of it.
func TestVerifyDirOfWhatIsNone(t *testing.T) {
	g := newDirRig(t, fold.LastValue)
	g.log.append(0, "a", "1")
	g.store(g.at(1), 1, 0)
	fs := g.fs
	require.NoError(t, fs.MkdirAll("empty", 0o755))
	b, err := engine.OpenDir(engine.Config{Dir: "broker", FS: fs})
	require.NoError(t, err)
	require.NoError(t, b.Close())
	before := filesOf(t, fs, "")
	for dir, says := range map[string]string{"missing": "no such directory", "empty": "no VERSION", "broker": "it is a broker's"} {
		cfg := g.cfg
		cfg.Store = DirFS(fs, dir)
		_, err := VerifyDir(dirContext(t), cfg)
		require.ErrorIs(t, err, ErrDir, dir)
		require.ErrorContains(t, err, says)
		require.ErrorIs(t, CheckDir(cfg), ErrDir)
	}
	require.Equal(t, before, filesOf(t, fs, ""))
	_, err = fs.Stat("missing")
	require.Error(t, err)

	for file, text := range map[string]string{"VERSION": "keyframe-replica 9\n", "replica.json": `{"version": 9}`} {
		was := filesOf(t, fs, "replica")["replica/"+file]
		writeFile(t, fs, "replica/"+file, text)
		_, err := VerifyDir(dirContext(t), g.cfg)
		require.ErrorIs(t, err, ErrDir, file)
		require.ErrorContains(t, err, "use the version that wrote it")
		writeFile(t, fs, "replica/"+file, was)
	}
	other := g.cfg
	other.Topic = "other"
	_, err = VerifyDir(dirContext(t), other)
	require.ErrorIs(t, err, ErrDir)
	require.ErrorContains(t, err, `it holds topic "t", not "other"`)
	for _, cfg := range []Config{{StateURL: "x", Store: Dir("d")}, {Topic: "t", Store: Dir("d")}, {Topic: "t", StateURL: "x"}} {
		_, err := VerifyDir(dirContext(t), cfg)
		require.ErrorIs(t, err, ErrConfig)
	}

	s, err := openDirStores(g.cfg.withDefaults())
	require.NoError(t, err)
	_, err = VerifyDir(dirContext(t), g.cfg)
	require.ErrorIs(t, err, engine.ErrLocked)
	require.NoError(t, s.close())
	require.NoError(t, CheckDir(g.cfg))
}

// Rows that cannot be read, and a file that says what is stored, are told from drift.
func TestVerifyDirFindsDamage(t *testing.T) {
	g := newDirRig(t, fold.LastValue)
	for i := range 1000 {
		g.log.append(0, fmt.Sprintf("k%04d", i), fmt.Sprintf("the value of row %04d%0400d", i, 0))
	}
	g.store(g.at(1000), 1000, 0)
	g.log.cut(0)
	rot(t, g.fs, "replica/table", "the value of row 0500")
	d := g.verify()
	require.Equal(t, Error, d.Outcome)
	require.ErrorIs(t, d.Err, ErrCorrupt)
	require.Equal(t, LocalCorruption, d.Cause)
	require.Equal(t, ByIndex, d.Repair.Method)
	require.Positive(t, d.Repair.Keys)
	require.Less(t, d.Repair.Keys, int64(100), "those of a block")
	require.InEpsilon(t, d.Repair.Keys*(426+17), d.Repair.Bytes, 0.01)

	writeFile(t, g.fs, "replica/replica.json", "{")
	_, err := VerifyDir(dirContext(t), g.cfg)
	require.ErrorContains(t, err, "replica.json is damaged")
}

func writeFile(t *testing.T, fs vfs.FS, path, text string) {
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	require.NoError(t, err)
	_, err = f.Write([]byte(text))
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// Who no longer wants to know gets no verdict.
func TestVerifyDirIsInterrupted(t *testing.T) {
	g := newDirRig(t, fold.LastValue)
	g.log.append(0, "a", "1")
	g.store(map[string]frame.Row{}, 1, 0)
	ctx, cancel := context.WithCancel(dirContext(t))
	end := func() { cancel() }
	g.plane.before.Store(&end)
	verdicts, err := VerifyDir(ctx, g.cfg)
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, verdicts)
	require.NoError(t, CheckDir(g.cfg), "it is closed")
}

// A log that is trimmed while a copy is compared with it has the copy compared again, with what is left.
func TestVerifyDirWhileTheLogIsTrimmed(t *testing.T) {
	g := newDirRig(t, fold.LastValue)
	g.log.append(0, "a", "1", "b", "1")
	g.log.cut(0)
	rows := g.at(2)
	rows["a"] = frame.Row{Key: []byte("a"), Value: []byte("2"), Offset: 0}
	g.store(rows, 2, 0)
	g.log.append(0, "b", "2")
	late := func() {
		g.log.cut(0)
		g.log.trim(0)
	}
	g.plane.before.Store(&late) // after the frames were listed
	d := g.verify()
	require.Equal(t, Drifted, d.Outcome)
	require.NoError(t, d.Unnamed)
	require.EqualValues(t, 3, d.At)
	require.Equal(t, []string{"~ a"}, d.keys())

	require.EqualValues(t, 2, g.plane.asked.Swap(0), "compared twice")

	g.log.append(0, "c", "1")
	g.log.cut(0)
	position := g.log.append(0, "c", "2")
	rows = g.at(position)
	rows["a"] = frame.Row{Key: []byte("a"), Value: []byte("2"), Offset: 0}
	g.store(rows, position, 0)
	late = func() { g.log.thin(0, 4) } // the nearest
	g.plane.before.Store(&late)
	d = g.verify()
	require.NoError(t, d.Unnamed)
	require.Equal(t, []string{"~ a"}, d.keys())
	require.EqualValues(t, 2, g.plane.asked.Swap(0), "compared twice")

	gone := func(string) state.Reason { return state.Reason_REASON_UNKNOWN_FRAME }
	g.plane.repair.refuse.Store(&gone) // a plane that goes on denying what it lists
	d = g.verify()
	require.Equal(t, Drifted, d.Outcome, "that much is known")
	require.ErrorIs(t, d.Unnamed, plane.ErrNoFrame)
	require.Empty(t, d.Differs)
	require.EqualValues(t, verifyTries, g.plane.asked.Load())
}

// Where the broker's own rows are damaged it is still known that the copy differs.
func TestVerifyDirCannotName(t *testing.T) {
	g := newDirRig(t, fold.LastValue)
	g.log.append(0, "a", "1", "b", "1")
	g.store(map[string]frame.Row{}, 2, 0)
	g.log.cut(0)
	g.plane.refuseRepairs()
	g.plane.past.refuse.Store(true)
	d := g.verify()
	require.Equal(t, Drifted, d.Outcome)
	require.Error(t, d.Unnamed)
	require.Empty(t, d.Differs)
	require.ErrorIs(t, d.Repair.Refused, ErrUnrepairable)
}

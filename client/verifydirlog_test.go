package client

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/proto/sketch"
)

// What cannot be compared says why.
func TestVerifyDirOfAnotherLog(t *testing.T) {
	g := newDirRig(t, fold.LastValue)
	g.log.append(0, "a", "1", "b", "1")
	g.store(g.at(2), 2, 0)
	g.log.parts[0].failure = "its disk is full"
	d := g.verify()
	require.Equal(t, Inconclusive, d.Outcome)
	require.Equal(t, "the broker cannot fold the partition: its disk is full", d.Reason)
	require.ErrorIs(t, d.Err, plane.ErrNotComparable)
	g.log.parts[0].failure = ""

	g.log.cutOff(0, 1)
	d = g.verify()
	require.Equal(t, Inconclusive, d.Outcome)
	var why *ReasonError
	require.ErrorAs(t, d.Err, &why)
	require.Contains(t, d.Reason, "the log ends at 1, below the copy")

	g.log.grow()
	verdicts, err := VerifyDir(dirContext(t), g.cfg)
	require.NoError(t, err)
	require.Len(t, verdicts, 2)
	require.Equal(t, Inconclusive, verdicts[1].Outcome)
	require.Contains(t, verdicts[1].Reason, "the directory has no state of this partition")
	g.cfg.Partitions = []int32{0}
	g.log.parts[0].incarnation[7]++
	d = g.verify()
	require.Equal(t, Inconclusive, d.Outcome)
	require.Contains(t, d.Reason, "the log was created anew since")
	g.log.create(2, 1)
	d = g.verify()
	require.Equal(t, Inconclusive, d.Outcome)
	require.Equal(t, "the topic was created anew since", d.Reason)
	g.cfg.Partitions = []int32{5}
	_, err = VerifyDir(dirContext(t), g.cfg)
	require.ErrorIs(t, err, ErrNoPartition)
}

// Cells and tags that leave out one of the keys that differ lead to a digest that is not the log's: then all rows are read.
func TestVerifyDirProvesWhatItFinds(t *testing.T) {
	g := newDirRig(t, fold.LastValue)
	g.log.append(0, "a", "1", "b", "1", "c", "1", "d", "1")
	g.log.cut(0)
	rows := g.at(4)
	for _, key := range []string{"a", "b"} {
		rows[key] = frame.Row{Key: []byte(key), Value: []byte("2"), Offset: rows[key].Offset}
	}
	g.store(rows, 4, 0)
	told := g.at(4)
	told["b"] = rows["b"]
	var h digest.Hasher
	var tags []uint64
	for row := range maps.Values(told) {
		tags = append(tags, plane.TagOf(h.Entry(row.Key, row.Value)))
	}
	lie := func(first int, cells []sketch.Cell) []sketch.Cell {
		return sketch.NewEncoder(slices.Clone(tags)).Next(nil, first+len(cells))[first:]
	}
	g.plane.repair.cells.Store(&lie)
	lieToo := func([]uint64) []uint64 { return tags }
	g.plane.repair.tags.Store(&lieToo)
	d := g.verify()
	require.Equal(t, Drifted, d.Outcome)
	require.NoError(t, d.Unnamed)
	require.Equal(t, []string{"~ a", "~ b"}, d.keys())
	require.Equal(t, ByFrame, d.Repair.Method)
	require.EqualValues(t, 1, g.plane.past.scans.Load())
}

// A digest that is kept, and is not that of the rows, is damage here, whatever the rows are.
func TestVerifyDirOfAKeptDigest(t *testing.T) {
	g := newDirRig(t, fold.LastValue)
	g.log.append(0, "a", "1", "b", "1")
	g.store(g.at(2), 2, 0)
	v, err := newDirVerifier(g.cfg.withDefaults())
	require.NoError(t, err)
	defer func() { require.NoError(t, v.stores.close()) }()
	s, ok, err := v.stores.open(0)
	require.NoError(t, err)
	require.True(t, ok)
	c := &dirCopy{rows: s, at: 2}
	_, _, err = s.entries(func(_ []byte, e digest.Entry) { c.stored.Add(e) })
	require.NoError(t, err)
	compare := func(want string) RepairCost {
		t.Helper()
		logs, err := v.logs(dirContext(t), nil)
		require.NoError(t, err)
		d, err := v.compare(dirContext(t), DirVerdict{}, c, logs[0])
		require.NoError(t, err)
		require.Equal(t, Drifted, d.Outcome)
		require.Equal(t, LocalCorruption, d.Cause)
		require.Equal(t, ByRehash, d.Repair.Method)
		require.Contains(t, d.Reason, want)
		return d.Repair
	}
	require.Zero(t, compare("the rows are the log's, but the digest that is kept of them is not theirs").Bytes)
	g.log.marker(0)
	g.log.cut(0)
	g.log.trim(0)
	cost := compare("position 2 is no longer in the log: with the 0 keys that have changed since, compared at 3; the digest that is kept of the rows is not theirs")
	require.Positive(t, cost.Bytes, "it is loaded first what has changed since")
}

// What changed since the position is of the frame that was asked for, and of that position, or it is asked for again.
func TestVerifyDirOfAnotherFrame(t *testing.T) {
	g := newDirRig(t, fold.LastValue)
	g.log.append(0, "a", "1", "b", "1", "b", "2")
	g.store(g.at(3), 3, 0)
	g.log.append(0, "c", "1", "c", "2")
	g.log.cut(0)
	g.log.trim(0)

	another := func(since int64, incarnation byte) *func(int, []byte) []byte {
		g.log.parts[0].incarnation[9] += incarnation
		data, _, ok := g.log.encode(0, 5, since)
		g.log.parts[0].incarnation[9] -= incarnation
		require.True(t, ok)
		f := func(_ int, right []byte) []byte {
			require.Len(t, data, len(right))
			require.False(t, bytes.Equal(data, right))
			return data
		}
		return &f
	}
	for name, lie := range map[string]*func(int, []byte) []byte{"another position": another(4, 0), "another incarnation": another(3, 1)} {
		g.plane.fault.Store(lie)
		g.plane.tries.Store(0)
		d := g.verify()
		require.Equal(t, Error, d.Outcome, name)
		require.ErrorIs(t, d.Err, plane.ErrFrameChanged, name)
		require.EqualValues(t, verifyTries, g.plane.tries.Load(), name)
	}
	g.plane.fault.Store(nil)
	require.Equal(t, Inconclusive, g.verify().Outcome)
}

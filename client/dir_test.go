package client

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/crashfs"
	"github.com/keyframelog/keyframe/storage/engine"
)

// A replica in a directory goes on where it was: no frame is loaded, and what it holds is compared with the log.
func TestDirResumes(t *testing.T) {
	g := newRig(t, fold.Counter, 1)
	g.cfg.Store = DirFS(vfs.NewMem(), "replica")
	g.log.append(0, "n", "1", "m", "1")
	g.log.cut(0)
	g.open()
	g.log.append(0, "n", "1")
	g.requireState(0)
	require.NoError(t, g.r.Close())
	loads := g.plane.tries.Load()
	g.log.append(0, "n", "1", "m", "1")

	g.events, g.verdicts = nil, nil
	g.open()
	e, resumed := g.saw(Resumed)
	require.True(t, resumed)
	require.Equal(t, int64(3), e.Offset)
	g.requireState(0)
	require.Equal(t, map[string]string{"n": "3", "m": "2"}, g.state())
	require.Equal(t, loads, g.plane.tries.Load())
	g.await("a comparison", func() bool { return g.outcomes()[Equal] > 0 })
}

// The leader epoch of the last batch applied is stored with the position, and reading goes on from both.
func TestDirKeepsTheLeaderEpoch(t *testing.T) {
	g := newRig(t, fold.LastValue, 1)
	g.cfg.Store = DirFS(vfs.NewMem(), "replica")
	g.log.append(0, "a", "1")
	g.log.cut(0)
	g.open()
	epochOf := func() int32 {
		awaitFollowing(t, g.r.partitions[0]) // before, what is assigned is nothing, or a former replica's
		g.tail.mu.Lock()
		defer g.tail.mu.Unlock()
		return g.tail.assigned[0].epoch
	}
	require.Equal(t, int32(-1), epochOf(), "a frame does not tell")
	g.log.lead(0, 7)
	g.log.append(0, "b", "1")
	g.requireState(0)
	require.NoError(t, g.r.Close())
	g.log.lead(0, 8)
	g.log.append(0, "c", "1")
	g.open()
	require.Equal(t, int32(7), epochOf())
	g.requireState(0)
	require.Equal(t, int32(8), g.r.partitions[0].rows().epoch())
}

// The largest row that a fold makes does not keep a replica from loading its frame, wherever it keeps its rows.
func TestLargestRowIsLoaded(t *testing.T) {
	headers := batch.AppendHeaders(nil, batch.Header{Key: "h", Value: make([]byte, fold.RowBytesMax-9)})
	row := frame.Row{Key: []byte("k"), Value: []byte("v"), Headers: headers}
	require.Equal(t, fold.RowBytesMax, len(row.Key)+len(row.Value)+len(row.Headers))
	var encoded bytes.Buffer
	w := frame.NewWriter(&encoded, frame.Header{Cut: 1, Since: -1, Fold: fold.LastValue})
	require.NoError(t, w.Append(&row))
	d := digestOf(map[string]frame.Row{"k": row})
	require.NoError(t, w.Close(frame.Footer{Digest: d, Pub: d.Pub(digest.FrameID{Cut: 1}), Rows: 1}))
	for _, store := range []Store{Memory(), DirFS(vfs.NewMem(), "replica")} {
		s, err := openStores(Config{Store: store, Fold: fold.LastValue}.withDefaults(), topicInfo{})
		require.NoError(t, err)
		fr, err := frame.NewReader(bytes.NewReader(encoded.Bytes()), 0)
		require.NoError(t, err)
		loaded, err := s.load(0, fr)
		require.NoError(t, err)
		got, ok, err := loaded.get([]byte("k"))
		require.NoError(t, err)
		require.True(t, ok)
		require.True(t, bytes.Equal(headers, got.Headers))
		require.NoError(t, s.close())
	}
}

// Rows, position and digest are one commit: after a crash at any moment the replica follows on from what is stored, and is equal.
func TestDirCrash(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 2))
	for range 15 {
		fs := crashfs.New()
		g := newRig(t, fold.Counter, 2)
		g.cfg.Store, g.cfg.CommitBytes = DirFS(fs, "replica"), 1+rnd.Int64N(2000)
		g.log.append(0, "n", "1")
		for range 3 {
			g.open()
			for range 1 + rnd.IntN(40) {
				g.log.append(rnd.Int32N(2), fmt.Sprint(rnd.IntN(10)), fmt.Sprint(rnd.IntN(10)), fmt.Sprint(rnd.IntN(10)), "-")
				if rnd.IntN(10) == 0 {
					g.log.cut(rnd.Int32N(2))
				}
			}
			if rnd.IntN(2) == 0 {
				g.wait()
			} // else it crashes wherever it is: on the way to the tail, or in what it was told to load
			crashed := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rnd.IntN(101), RNG: rand.New(rand.NewPCG(seed, rnd.Uint64()))})
			require.NoError(t, g.r.Close())
			for p := range int32(2) {
				if n := rnd.IntN(4); n > 0 { // else it goes on from its position
					g.log.append(p, "t", "1")
					g.log.cut(p)
					g.log.trim(p)
					if n > 2 { // too late even for what changed
						g.log.expire(p)
					}
				}
			}
			fs = crashed
			g.cfg.Store = DirFS(fs, "replica")
		}
		g.open()
		g.wait()
		for p := range int32(2) {
			g.awaitVerdictOf(p, g.log.cut(p), Equal)
		}
		require.Zero(t, g.outcomes()[Drifted])
		for _, v := range g.r.Scrub(context.Background()) {
			require.Equal(t, Equal, v.Outcome)
		}
		require.NoError(t, g.r.Close())
	}
}

// wait waits until every partition is at the log's end.
func (g *rig) wait() {
	for p, part := range g.log.parts {
		g.log.mu.Lock()
		end := part.end
		g.log.mu.Unlock()
		require.NoError(g.t, g.r.WaitFor(testContext(g.t), p, end))
	}
}

func (g *rig) awaitVerdictOf(p int32, at int64, want Outcome) {
	g.await(fmt.Sprintf("a verdict of partition %d at %d", p, at), func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, v := range g.verdicts {
			if v.Partition == p && v.At == at && v.Outcome == want {
				return true
			}
		}
		return g.r.partitions[p].comparedAt(at)
	})
}

// comparedAt tells whether a frame needs no comparison any more, such as the one that was bootstrapped from.
func (p *partition) comparedAt(at int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.compared >= at
}

// Many commits give back what was overwritten: the directory stays about as large as the state.
func TestDirGivesSpaceBack(t *testing.T) {
	fs := vfs.NewMem()
	g := newRig(t, fold.LastValue, 1)
	g.cfg.Store, g.cfg.CommitBytes = DirFS(fs, "replica"), 1
	g.log.append(0, "k", "v")
	g.open()
	for i := range 5 * trimCommits {
		g.log.append(0, "k", fmt.Sprint(i))
		g.requireState(0)
	}
	s := g.r.partitions[0].rows().(*dirRows)
	require.LessOrEqual(t, len(s.t.Frames()), 1)
	require.Equal(t, int64(1), s.t.Digest().Count)
}

func TestDirIsChecked(t *testing.T) {
	fs := vfs.NewMem()
	g := newRig(t, fold.LastValue, 1)
	g.cfg.Store = DirFS(fs, "replica")
	g.log.append(0, "k", "v")
	g.open()
	_, err := openReplica(testContext(t), g.cfg.withDefaults(), g.tail)
	require.Error(t, err, "it is locked")
	require.NoError(t, g.r.Close())

	other := g.cfg.withDefaults()
	other.Topic = "other"
	_, err = openReplica(testContext(t), other, g.tail)
	require.ErrorIs(t, err, ErrDir)

	d, err := engine.OpenDir(engine.Config{Dir: "broker", FS: fs})
	require.NoError(t, err)
	require.NoError(t, d.Close())
	other = g.cfg.withDefaults()
	other.Store = DirFS(fs, "broker")
	_, err = openReplica(testContext(t), other, g.tail)
	require.ErrorIs(t, err, ErrDir)
	require.ErrorContains(t, err, "it holds the state of a broker")
}

// A replaced state leaves nothing behind.
func TestDirDropsTheFormerState(t *testing.T) {
	g := newRig(t, fold.LastValue, 1)
	g.cfg.Store = DirFS(vfs.NewMem(), "replica")
	g.log.append(0, "a", "1")
	g.log.cut(0)
	g.open()
	g.log.append(0, "c", "1")
	g.requireState(0) // so the tail is assigned
	g.log.create(2, 1)
	g.log.append(0, "b", "2")
	g.log.cut(0)
	g.await("the new state", func() bool { return fmt.Sprint(g.state()) == "map[b:2]" })
	require.NoError(t, g.r.Close())
	g.open()
	ordinals, err := g.r.stores.(*dirStores).db.Ordinals()
	require.NoError(t, err)
	require.Len(t, ordinals, 1)
	require.Equal(t, map[string]string{"b": "2"}, g.state())
}

package client

import (
	"fmt"
	"maps"
	"path"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
)

// rottenRig is a replica whose directory is copied and damaged for each case.
type rottenRig struct {
	*rig
	fs    *vfs.MemFS
	cut   int64
	frame int64 // bytes of the keys and values of the key frame
	named map[string]Difference
}

func newRottenRig(t *testing.T, rows int) *rottenRig {
	g := &rottenRig{rig: newRig(t, fold.LastValue, 1), fs: vfs.NewMem(), named: map[string]Difference{}}
	g.cfg.Store, g.cfg.ScrubRate = DirFS(g.fs, "replica"), -1
	g.cfg.OnDifference = func(d Difference) { g.named[string(d.Key)] = d }
	kv := make([]string, 0, 2*rows)
	for i := range rows {
		kv = append(kv, fmt.Sprintf("k%09d", i), fmt.Sprintf("y%0104d", i))
		g.frame += 10 + 105
	}
	g.log.append(0, kv...)
	g.log.append(0, "k000000007", "-", "k000000008", "-", "k000001000", "changed")
	g.cut = g.log.cut(0)
	r := g.open()
	g.requireState(0)
	require.NoError(t, r.Close())
	return g
}

// tables are the files with rows, and their sizes.
func (g *rottenRig) tables() map[string]int64 {
	out := map[string]int64{}
	names, err := g.fs.List("replica/table")
	require.NoError(g.t, err)
	for _, name := range names {
		if path.Ext(name) == ".sst" {
			info, err := g.fs.Stat("replica/table/" + name)
			require.NoError(g.t, err)
			out[name] = info.Size()
		}
	}
	return out
}

// rot opens a copy of the directory in which bits of a file are flipped; nil: it cannot be opened.
func (g *rottenRig) rot(name string, at ...int64) *Replica {
	fs := vfs.NewMem()
	_, err := vfs.Clone(g.fs, fs, "replica", "replica")
	require.NoError(g.t, err)
	f, err := fs.OpenReadWrite("replica/table/"+name, vfs.WriteCategoryUnspecified)
	require.NoError(g.t, err)
	for _, o := range at {
		b := make([]byte, 1)
		_, err = f.ReadAt(b, o)
		require.NoError(g.t, err)
		b[0] ^= 4
		_, err = f.WriteAt(b, o)
		require.NoError(g.t, err)
	}
	require.NoError(g.t, f.Close())
	g.mu.Lock()
	g.verdicts, g.events = nil, nil
	g.mu.Unlock()
	clear(g.named)
	cfg := g.cfg.withDefaults()
	cfg.Store = DirFS(fs, "replica")
	r, err := openReplica(testContext(g.t), cfg, g.tail)
	if err != nil {
		return nil
	}
	g.r, g.cfg.Store = r, cfg.Store
	g.t.Cleanup(func() { require.NoError(g.t, r.Close()) })
	return r
}

// What a scrub of an open replica finds, VerifyDir finds in its directory: also where it is the index that cannot be read, and the rows can.
func TestVerifyDirReadsTheIndex(t *testing.T) {
	g := newRottenRig(t, 20_000)
	outcomes := map[Outcome]int{}
	for name, size := range g.tables() {
		r := g.rot(name, size/2)
		if r == nil {
			continue
		}
		scrubbed := r.Scrub(testContext(t))[0].Outcome
		require.NoError(t, r.Close())
		if g.rot(name, size/2) == nil { // scrubbing has repaired the other copy
			continue
		}
		require.NoError(t, g.r.Close())
		cfg := g.cfg
		cfg.OnDifference, cfg.OnEvent, cfg.OnVerdict = nil, nil, nil
		verified, err := VerifyDir(testContext(t), cfg)
		require.NoError(t, err)
		require.Len(t, verified, 1)
		require.Equal(t, scrubbed == Equal, verified[0].Outcome == Equal, "%s: a scrub says %v, VerifyDir %v", name, scrubbed, verified[0].Outcome)
		outcomes[verified[0].Outcome]++
	}
	require.Greater(t, outcomes[Error], 1, "rows and index: %v", outcomes)
}

// Wherever a bit flips in the files of a replica: a row that is shown is the log's, a scrub finds what cannot be read, and only that is fetched
// again, if it is rows.
func TestRottenBlockIsFetchedAgain(t *testing.T) {
	g := newRottenRig(t, 20_000)
	want := g.log.state(0)
	outcomes := map[string]int{}
	for name, size := range g.tables() {
		for at := int64(100); at < size; at += size/4 + 1 {
			began := time.Now()
			r := g.rot(name, at)
			if r == nil {
				outcomes["does not open"]++
				continue
			}
			for i := 5; i < 20_000; i += 997 {
				key := fmt.Sprintf("k%09d", i)
				if row, ok, err := r.Get(testContext(t), []byte(key)); err == nil {
					require.True(t, ok)
					require.Equal(t, want[key], string(row.Value))
				}
			}
			v := r.Scrub(testContext(t))[0]
			if v.Outcome == Equal {
				outcomes["not noticed"]++
			} else {
				require.ErrorIs(t, v.Err, ErrCorrupt)
				g.await("the repair", func() bool { return g.lastRepair() != nil })
				done := g.lastRepair()
				require.Equal(t, LocalCorruption, done.Cause)
				require.Equal(t, g.cut, done.Cut)
				outcomes[string(done.Method)]++
				t.Logf("%s at %d: %d keys, %d bytes by %s in %s", name, at, done.Keys, done.Bytes, done.Method, time.Since(began))
				if done.Method == ByIndex {
					require.Less(t, done.Bytes, g.frame/20)
					require.Equal(t, 1, done.RoundTrips)
					require.Len(t, g.named, int(done.Keys))
					require.Less(t, done.Keys, int64(400))
					require.Zero(t, g.count(Bootstrapped))
				}
			}
			require.Equal(t, want, g.state())
			require.Equal(t, Equal, r.Scrub(testContext(t))[0].Outcome)
			require.NoError(t, r.Close())
			require.NoError(t, g.open().Close())
		}
	}
	t.Log(maps.Collect(maps.All(outcomes)))
	require.Greater(t, outcomes[string(ByIndex)], 2)
}

// Blocks of rows that cannot be read, beside each other and apart, and keys that drifted, some of them in these blocks: both are told by one
// repair, which fetches no more.
func TestRottenBlocksAndDrift(t *testing.T) {
	g := newRottenRig(t, 20_000)
	lose := false
	g.tail.fault = func(s segment) []segment {
		if lose {
			s.records = nil
		}
		return []segment{s}
	}
	name, size := "", int64(0)
	for n, bytes := range g.tables() {
		if bytes > size {
			name, size = n, bytes
		}
	}
	r := g.rot(name, 500_000, 533_000, 1_500_000)
	require.NotNil(t, r)
	awaitFollowing(t, r.partitions[0])
	lose = true
	var drifted []string
	for i := 0; i < 20_000; i += 200 { // the damaged blocks have some of them
		drifted = append(drifted, fmt.Sprintf("k%09d", i))
		g.log.append(0, drifted[len(drifted)-1], fmt.Sprintf("z%0104d", i))
	}
	g.log.append(0, "k000000001", "-", "k000004000", "-")
	cut := g.log.cut(0)
	g.await("the repair", func() bool { return g.lastRepair() != nil })
	done := g.lastRepair()
	require.Equal(t, cut, done.Cut)
	require.Equal(t, BySketch, done.Method)
	require.Equal(t, LocalCorruption, done.Cause)
	require.Equal(t, 1, g.count(CorruptionFound))
	for _, key := range append(drifted, "k000000001", "k000004000") {
		require.Contains(t, g.named, key)
	}
	require.Greater(t, done.Keys, int64(102+3*200))
	require.Less(t, done.Keys, int64(102+3*300))
	require.Len(t, g.named, int(done.Keys))
	require.Less(t, done.Bytes, g.frame/10)
	require.Equal(t, g.log.state(0), g.state())
	require.Equal(t, Equal, r.Scrub(testContext(t))[0].Outcome)
}

package client

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/engine"
)

// damagedRig is a replica of two partitions in a directory that is copied and damaged for each case: each has a loaded key frame, and commits behind it.
type damagedRig struct {
	*rig
	whole *vfs.MemFS
	fs    *vfs.MemFS // of the case
	sst   string     // the only one, and its size
	size  int64
}

const damagedRows = 4000 // of each partition

func newDamagedRig(t *testing.T) *damagedRig {
	g := newLoadedRig(t)
	d, err := engine.OpenDir(engine.Config{Dir: "replica", Kind: engine.Replica, FS: g.whole})
	require.NoError(t, err)
	db, _, err := d.OpenTableDB()
	require.NoError(t, err)
	require.NoError(t, db.Compact(testContext(t), []byte{0}, []byte{0xff}, false)) // all of it is in one file
	require.NoError(t, d.Close())
	for name, size := range g.files() {
		if path.Ext(name) == ".sst" {
			require.Empty(t, g.sst)
			require.Greater(t, size, int64(1_500_000), "places are what they are called")
			g.sst, g.size = name, size
		}
	}
	return g
}

// newLoadedRig is a damagedRig whose rows are in several files.
func newLoadedRig(t *testing.T) *damagedRig {
	g := &damagedRig{rig: newRig(t, fold.LastValue, 2), whole: vfs.NewMem()}
	g.cfg.Store, g.cfg.ScrubRate, g.cfg.Name = DirFS(g.whole, "replica"), -1, "by-name"
	for p := range int32(2) {
		kv := make([]string, 0, 2*damagedRows)
		for i := range damagedRows {
			kv = append(kv, fmt.Sprintf("k%d-%09d", p, i), fmt.Sprintf("y%0104d", i))
		}
		g.log.append(p, kv...)
		g.log.cut(p)
	}
	r := g.open()
	g.cfg.Name = ""
	for p := range int32(2) {
		g.log.append(p, fmt.Sprintf("k%d-%09d", p, 7), "-", fmt.Sprintf("k%d-%09d", p, 8), "changed", fmt.Sprintf("new%d", p), "new")
		g.log.cut(p)
	}
	g.wait()
	require.NoError(t, r.Close())
	return g
}

// files are those of the directory, with their sizes, but for those that say who has it open.
func (g *damagedRig) files() map[string]int64 {
	out := map[string]int64{}
	for name, content := range filesOf(g.t, g.whole, "replica") {
		if base := path.Base(name); base != "LOCK" && base != "PID" {
			out[name] = int64(len(content))
		}
	}
	return out
}

// damage makes the directory of a case, in which bytes of a file are others: bits flipped, or zero.
func (g *damagedRig) damage(name string, at, n int64, zero bool) {
	g.fs = vfs.NewMem()
	_, err := vfs.Clone(g.whole, g.fs, "replica", "replica")
	require.NoError(g.t, err)
	g.cfg.Store = DirFS(g.fs, "replica")
	g.mu.Lock()
	g.verdicts, g.events = nil, nil
	g.mu.Unlock()
	f, err := g.fs.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
	require.NoError(g.t, err)
	b := make([]byte, n)
	read, err := f.ReadAt(b, at)
	if err != io.EOF {
		require.NoError(g.t, err)
	}
	for i := range b {
		if b[i] ^= 4; zero {
			b[i] = 0
		}
	}
	_, err = f.WriteAt(b[:read], at)
	require.NoError(g.t, err)
	require.NoError(g.t, f.Close())
}

// requireWhole asserts that a scan and gets of some rows show the log's state, and a scrub finds nothing.
func (g *damagedRig) requireWhole() {
	want := g.log.state(0)
	for k, v := range g.log.state(1) {
		want[k] = v
	}
	require.Equal(g.t, want, g.state())
	for i, key := range slices.Sorted(maps.Keys(want)) {
		value := want[key]
		if i%37 != 0 && value[0] == 'y' {
			continue // several of each block of the index, and those of the commits, will do
		}
		row, ok, err := g.r.Get(testContext(g.t), []byte(key))
		require.NoError(g.t, err)
		require.True(g.t, ok)
		require.Equal(g.t, value, string(row.Value))
	}
	for _, v := range g.r.Scrub(testContext(g.t)) {
		require.Equal(g.t, Equal, v.Outcome, "%+v", v)
	}
}

// followed opens the directory of a case, follows the log to its end, and has what a scrub finds repaired. It returns what was repaired, and what was told as
// the directory was opened.
func (g *damagedRig) followed() (repairs []RepairResult, aside []error) {
	g.open()
	g.wait()
	g.mu.Lock()
	for _, e := range g.events {
		if e.Kind == CorruptionFound {
			aside = append(aside, e.Err)
		}
	}
	g.mu.Unlock()
	for {
		rotten := false
		g.mu.Lock()
		g.events = nil
		g.mu.Unlock()
		for _, v := range g.r.Scrub(testContext(g.t)) {
			if v.Outcome == Equal {
				continue
			}
			rotten = true
			require.ErrorIs(g.t, v.Err, ErrCorrupt)
			done := func() *RepairResult {
				g.mu.Lock()
				defer g.mu.Unlock()
				for _, e := range g.events {
					if e.Kind == Repaired && e.Partition == v.Partition {
						return e.Repair
					}
				}
				return nil
			}
			g.await("the repair", func() bool { return done() != nil })
			repairs = append(repairs, *done())
		}
		if !rotten {
			return repairs, aside
		}
	}
}

// whereDamaged are places in a file of the directory, by what is there. Where it will do, one bit is flipped: at each read of a block of which more is
// wrong, Pebble tries every bit of it.
func whereDamaged(name string, size int64) map[string]func(*damagedRig) {
	flip := func(at, n int64) func(*damagedRig) { return func(g *damagedRig) { g.damage(name, at, n, false) } }
	zero := func(at, n int64) func(*damagedRig) { return func(g *damagedRig) { g.damage(name, at, n, true) } }
	gone := func(g *damagedRig) {
		g.damage(name, 0, 0, false)
		require.NoError(g.t, g.fs.Remove(name))
	}
	if path.Ext(name) != ".sst" {
		return map[string]func(*damagedRig){"head": zero(0, 20), "middle": flip(size/2, 4), "end": zero(size-10, 10), "gone": gone}
	}
	return map[string]func(*damagedRig){
		"head": zero(0, 60), "first block": flip(200, 1), "last block of the first index": flip(200_000, 1), "between indexes and rows": flip(410_000, 1),
		"first block of rows": flip(440_000, 1), "middle": flip(size/2, 1), "segments and meta": flip(size-15_000, 1), "filter": flip(size-3000, 1),
		"index block": flip(size-1400, 1), "properties": zero(size-700, 100), "before the footer": zero(size-120, 50), "footer": zero(size-53, 53),
		"all of it": zero(0, size), "gone": gone,
	}
}

// A copy is not called equal at a position before what it is known to have had: with a MANIFEST that ends in zeros, which Pebble takes for its end, tables
// come back as they were, or empty.
func TestADirectoryThatEndsTooEarly(t *testing.T) {
	g := newLoadedRig(t)
	shortened := 0
	for name, size := range g.files() {
		if !strings.HasPrefix(path.Base(name), "MANIFEST") {
			continue
		}
		for at := int64(0); at < size; at += 50 {
			g.damage(name, at, size-at, true)
			cfg := g.cfg
			cfg.OnEvent, cfg.OnVerdict = nil, nil
			verdicts, err := VerifyDir(testContext(t), cfg)
			require.NoError(t, err)
			for _, v := range verdicts {
				if v.Outcome == Equal {
					require.GreaterOrEqual(t, v.Position, int64(damagedRows), "zeros from %d of %d", at, size)
					continue
				}
				require.Equal(t, LocalCorruption, v.Cause)
				if shortened++; shortened > 2 && at%400 != 0 {
					continue
				}
				_, aside := g.followed()
				require.NotEmpty(t, aside)
				g.requireWhole()
				require.NoError(t, g.r.Close())
				break
			}
		}
	}
	require.NotZero(t, shortened)
}

// Wherever a directory is damaged, but in what says whose it is: what VerifyDir says of it, and changes nothing, is what becomes of it; the replica opens,
// is told that there is damage, shows the log's rows alone, and the next one that opens the directory finds nothing. Its name stays.
func TestReplicaRepairsItsDirectory(t *testing.T) {
	g := newDamagedRig(t)
	outcomes := map[string]int{}
	for name, size := range g.files() {
		if path.Dir(name) != "replica/table" {
			continue
		}
		for what, damage := range whereDamaged(name, size) {
			if strings.HasPrefix(path.Base(name), "marker.format") {
				continue // TestADirectoryOfAnotherVersion
			}
			if path.Ext(name) == ".log" || size == 0 && what != "gone" {
				continue // it is empty
			}
			t.Run(fmt.Sprintf("%s %s", path.Base(name), what), func(t *testing.T) {
				g.t = t
				damage(g)
				before := filesOf(t, g.fs, "replica")
				cfg := g.cfg
				cfg.OnEvent, cfg.OnVerdict = nil, nil
				verdicts, err := VerifyDirCosts(testContext(t), cfg)
				require.NoError(t, err)
				require.Len(t, verdicts, 2)
				require.Equal(t, before, filesOf(t, g.fs, "replica"))

				loads := g.plane.tries.Load()
				repairs, aside := g.followed()
				require.Equal(t, "by-name", g.r.Name())
				g.requireWhole()
				loaded := g.plane.tries.Load() - loads
				found, frames := false, int64(0)
				for _, v := range verdicts {
					if v.Outcome == Equal {
						continue
					}
					found = true
					require.Equal(t, Error, v.Outcome)
					require.ErrorIs(t, v.Err, ErrCorrupt)
					require.Equal(t, LocalCorruption, v.Cause)
					require.NotZero(t, v.Repair.Method)
					if v.Repair.Method == ByFrame {
						frames++
					}
					outcomes[string(v.Repair.Method)]++
					i := slices.IndexFunc(repairs, func(r RepairResult) bool { return r.Method == v.Repair.Method })
					require.True(t, i >= 0 || len(aside) == 2, "said: %+v, done: %+v", v.Repair, repairs)
				}
				require.Equal(t, found, len(aside)+len(repairs) > 0)
				if !found {
					outcomes["of no use"]++
				}
				require.Equal(t, frames, loaded, "%+v, done: %+v", verdicts, repairs)
				require.NoError(t, g.r.Close())

				g.mu.Lock()
				g.events = nil
				g.mu.Unlock()
				repairs, again := g.followed()
				require.Empty(t, repairs)
				require.Empty(t, again)
				g.requireWhole()
				require.Equal(t, loads+loaded, g.plane.tries.Load())
				require.NoError(t, g.r.Close())
			})
		}
	}
	t.Log(outcomes)
	for _, by := range []Method{ByRows, ByIndex, ByFrame} {
		require.Greater(t, outcomes[string(by)], 1, outcomes)
	}
}

// A policy that leaves things as they are is told what to do, and so is who opens a directory that may be somebody else's. Nothing is changed or lost.
func TestADamagedDirectoryIsLeftAlone(t *testing.T) {
	g := newDamagedRig(t)
	contents := func() map[string]string {
		all := filesOf(t, g.fs, "replica")
		for name := range all {
			if base := path.Base(name); base == "PID" || base == "LOCK" || strings.Contains(name, "/OPTIONS-") || strings.Contains(name, "MANIFEST") || base[0] == '0' && path.Ext(base) == ".log" {
				delete(all, name) // opening writes these
			}
		}
		return all
	}
	open := func() error {
		r, err := openReplica(testContext(t), g.cfg.withDefaults(), g.tail)
		if err == nil {
			require.NoError(t, r.Close())
		}
		return err
	}
	for _, policy := range []Policy{Report, Halt} {
		g.cfg.OnDrift = policy
		g.damage(g.sst, g.size-53, 53, true)
		before := contents()
		err := open()
		require.ErrorIs(t, err, ErrCorrupt)
		var damaged *damage.Error
		require.ErrorAs(t, err, &damaged)
		require.Contains(t, err.Error(), "Repair or Rebootstrap")
		require.Equal(t, before, contents())
	}
	g.cfg.OnDrift = Repair

	g.damage("replica/VERSION", 0, 4, true)
	before := contents()
	require.ErrorContains(t, open(), "replica/VERSION is damaged")
	require.Equal(t, before, contents())

	g.damage(g.sst, g.size-53, 53, true)
	before = contents()
	g.cfg.Topic = "another"
	require.ErrorIs(t, open(), ErrDir)
	require.Equal(t, before, contents())
	g.cfg.Topic = g.log.topic

	g.damage("replica/replica.json", 0, 4, true)
	before = contents()
	require.ErrorContains(t, open(), "replica/replica.json is damaged")
	require.Equal(t, before, contents())
}

// Whatever block of rows or of an index is damaged, a policy that leaves things as they are opens the directory: that rows are rotten is told of the partition
// that has them, and the other is shown.
func TestADirectoryWithRottenRowsIsShown(t *testing.T) {
	g := newDamagedRig(t)
	for _, policy := range []Policy{Report, Halt} {
		g.cfg.OnDrift = policy
		for at, of := range map[int64]int{200: 1, 200_000: 2, 410_000: 2, 440_000: 1, g.size / 2: 1, g.size - 65_000: 1} { // how many have rows there
			g.damage(g.sst, at, 1, false)
			r, err := openReplica(testContext(t), g.cfg.withDefaults(), g.tail)
			require.NoError(t, err, "damaged at %d", at)
			rotten := 0
			for _, v := range r.Scrub(testContext(t)) {
				if errors.Is(v.Err, ErrCorrupt) {
					rotten++
					continue
				}
				require.Equal(t, Equal, v.Outcome)
				for key, value := range g.log.state(v.Partition) {
					row, ok, err := r.Get(testContext(t), []byte(key))
					require.NoError(t, err)
					require.True(t, ok)
					require.Equal(t, value, string(row.Value))
					break
				}
			}
			require.Equal(t, of, rotten, "damaged at %d", at)
			_ = r.Close() // it may say that what came could not be stored
		}
	}
}

// What is set aside stays until the next time, and each time is told where it is.
func TestOneDamagedDatabaseIsKept(t *testing.T) {
	g := newDamagedRig(t)
	for name, size := range g.files() {
		if path.Ext(name) != ".sst" {
			continue
		}
		g.damage(name, size-53, 53, true)
		first := filesOf(t, g.fs, "replica")[name]
		_, aside := g.followed()
		require.Len(t, aside, 2)
		require.ErrorContains(t, aside[0], "set aside as replica/table.damaged")
		require.NoError(t, g.r.Close())
		require.Equal(t, first, filesOf(t, g.fs, "replica")["replica/table.damaged/"+path.Base(name)])

		names, err := g.fs.List("replica/table")
		require.NoError(t, err)
		for _, n := range names {
			if strings.HasPrefix(n, "MANIFEST") {
				require.NoError(t, g.fs.Remove("replica/table/"+n))
			}
		}
		g.mu.Lock()
		g.events = nil
		g.mu.Unlock()
		_, aside = g.followed()
		require.Len(t, aside, 2)
		g.requireWhole()
		require.NoError(t, g.r.Close())
		require.NotContains(t, filesOf(t, g.fs, "replica"), "replica/table.damaged/"+path.Base(name))
	}
}

// A process that ends while it sets a database aside leaves one that the next sets aside, or has nothing left to.
func TestEndWhileTablesAreSetAside(t *testing.T) {
	g := newDamagedRig(t)
	state, err := decodeDirState([]byte(filesOf(t, g.whole, "replica")["replica/replica.json"]))
	require.NoError(t, err)
	for i := range state.Partitions {
		state.Partitions[i].Lost = true
	}
	for name, size := range g.files() {
		if path.Ext(name) != ".sst" {
			continue
		}
		for _, renamed := range []bool{false, true} {
			g.damage(name, size-53, 53, true)
			require.NoError(t, writeDirState(g.fs, "replica", state))
			damaged := filesOf(t, g.fs, "replica")[name]
			if renamed {
				require.NoError(t, g.fs.Rename("replica/table", "replica/table.damaged"))
			}
			_, told := g.followed()
			require.Len(t, told, 2)
			require.Equal(t, "by-name", g.r.Name())
			g.requireWhole()
			require.NoError(t, g.r.Close())
			require.Equal(t, damaged, filesOf(t, g.fs, "replica")["replica/table.damaged/"+path.Base(name)])
			g.mu.Lock()
			g.events = nil
			g.mu.Unlock()
			_, told = g.followed()
			require.Empty(t, told)
			require.NoError(t, g.r.Close())
		}
	}
}

// Damage that is met while the log is followed, and keeps what comes from being stored, is repaired as what a scrub finds is: by the rows, or else by a
// key frame. A policy that repairs nothing ends following, with the reason.
func TestDamageIsMetOnTheWay(t *testing.T) {
	g := newDamagedRig(t)
	stored, err := decodeDirState([]byte(filesOf(t, g.whole, "replica")["replica/replica.json"]))
	require.NoError(t, err)
	no := stored.Partitions[slices.IndexFunc(stored.Partitions, func(p dirPartition) bool { return p.Ordinal == 0 })].Partition // whose index and rows come first
	g.plane.interval.Store(never)
	for _, c := range []struct {
		name   string
		policy Policy
		rows   bool // they are damaged too
	}{{"index", Repair, false}, {"rebootstrap", Rebootstrap, false}, {"halt", Halt, false}, {"index and rows", Repair, true}, {"report", Report, false}} {
		t.Run(c.name, func(t *testing.T) {
			g.t = t
			g.cfg.OnDrift = c.policy
			g.damage(g.sst, 100_000, 10, false)
			if c.rows {
				f, err := g.fs.OpenReadWrite(g.sst, vfs.WriteCategoryUnspecified)
				require.NoError(t, err)
				_, err = f.WriteAt(make([]byte, 10), 700_000)
				require.NoError(t, err)
				require.NoError(t, f.Close())
			}
			r, err := openReplica(testContext(t), g.cfg.withDefaults(), g.tail)
			require.NoError(t, err)
			g.r = r
			g.t.Cleanup(func() { _ = r.Close() })
			before := len(g.plane.parts())
			for i := range damagedRows {
				g.log.append(no, fmt.Sprintf("k%d-%09d", no, i), c.name)
			}
			end := g.log.cut(no)
			_ = r.WaitFor(testContext(t), no, end) // an error is seen below
			r.Verify(testContext(t))               // what came is stored by now, or cannot be
			if c.policy == Halt || c.policy == Report {
				require.ErrorIs(t, r.WaitFor(testContext(t), no, end+1), ErrCorrupt)
				require.Error(t, r.Close(), "what came is not stored")
				require.True(t, slices.ContainsFunc(g.plane.parts()[before:], func(x *state.ReplicaPartition) bool {
					return x.Partition == no && x.Outcome == state.Outcome_OUTCOME_ERROR && strings.HasPrefix(x.Reason, ErrCorrupt.Error())
				}), "that its rows are rotten is told")
				return
			}
			g.await("the damage", func() bool { return g.count(CorruptionFound) > 0 })
			awaitFollowing(t, r.partitions[no])
			require.NoError(t, r.WaitFor(testContext(t), no, end))
			require.NoError(t, r.Err())
			require.Equal(t, Equal, r.Verify(testContext(t))[no].Outcome)
			require.Equal(t, c.policy == Repair && !c.rows, g.count(Repaired) == 1)
			require.NoError(t, r.Close())
			repairs, _ := g.followed()
			require.Empty(t, repairs)
			g.requireWhole()
			require.NoError(t, g.r.Close())
		})
	}
}

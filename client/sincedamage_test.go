package client

import (
	"fmt"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"
)

// Damage that is met where what has changed since the position is applied is dealt with as that which is met while the log is followed, and the other
// partition does not suffer from it.
func TestDamageIsMetByWhatChangedSince(t *testing.T) {
	g := newDamagedRig(t)
	stored, err := decodeDirState([]byte(filesOf(t, g.whole, "replica")["replica/replica.json"]))
	require.NoError(t, err)
	no := map[uint32]int32{}
	for _, p := range stored.Partitions {
		no[p.Ordinal] = p.Partition
	}
	const index, shared, last, rows = 100_000, 200_000, 300_000, 700_000
	for _, c := range []struct {
		name           string
		policy         Policy
		at             []int64
		made, replaced int     // partitions whose index is made anew, and whose state is another now
		others         []int32 // whose index is not damaged
	}{
		{"index", Repair, []int64{index}, 1, 0, []int32{no[1]}},
		{"index of both", Repair, []int64{shared}, 0, 2, nil},
		{"index of the last", Repair, []int64{last}, 1, 0, []int32{no[0]}},
		{"index, and rows", Repair, []int64{index, rows}, 0, 1, []int32{no[1]}},
		{"rebootstrap", Rebootstrap, []int64{index}, 0, 1, []int32{no[1]}},
		{"halt", Halt, []int64{index}, 0, 0, []int32{no[1]}},
		{"report", Report, []int64{index}, 0, 0, []int32{no[1]}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g.t = t
			g.cfg.OnDrift = c.policy
			g.damage(g.sst, c.at[0], 1, false)
			for _, at := range c.at[1:] {
				f, err := g.fs.OpenReadWrite(g.sst, vfs.WriteCategoryUnspecified)
				require.NoError(t, err)
				_, err = f.WriteAt(make([]byte, 10), at)
				require.NoError(t, err)
				require.NoError(t, f.Close())
			}
			ends := map[int32]int64{}
			for p := range int32(2) {
				for i := 0; i < damagedRows; i += 10 {
					g.log.append(p, fmt.Sprintf("k%d-%09d", p, i), fmt.Sprintf("y%s%0100d", c.name, i))
				}
				ends[p] = g.log.cut(p)
				g.log.trim(p)
			}
			r, err := openReplica(testContext(t), g.cfg.withDefaults(), g.tail)
			require.NoError(t, err)
			g.r = r
			defer func() { require.NoError(t, r.Close()) }()
			for _, p := range c.others {
				require.NoError(t, r.WaitFor(testContext(t), p, ends[p]))
			}
			g.await("the damage", func() bool { return g.count(CorruptionFound) > 0 })
			require.Zero(t, g.count(BootstrapFailed))
			if c.made+c.replaced == 0 {
				stopped := r.WaitFor(testContext(t), 1-c.others[0], ends[0])
				require.ErrorIs(t, stopped, ErrCorrupt)
				require.NotErrorIs(t, stopped, ErrReopen, "that would not help")
				return
			}
			for p, end := range ends {
				require.NoError(t, r.WaitFor(testContext(t), p, end))
			}
			require.NoError(t, r.Err())
			for _, v := range r.Verify(testContext(t)) {
				require.Equal(t, Equal, v.Outcome, "%+v", v)
			}
			g.requireWhole()
			require.Equal(t, []int{c.made, c.replaced}, []int{g.count(Repaired), g.count(Bootstrapped)})
		})
	}
}

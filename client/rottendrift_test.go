package client

import (
	"errors"
	"fmt"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/state"
)

// rottenDriftRig is a replica in a directory one block of which is damaged, and keys of which drift: some in that block, some elsewhere.
type rottenDriftRig struct {
	*rottenRig
	lose    bool
	applied map[string]string // what was applied, whether it can be read or not
}

func newRottenDriftRig(t *testing.T, policy Policy) *rottenDriftRig {
	g := &rottenDriftRig{rottenRig: newRottenRig(t, 20_000)}
	g.applied = g.log.state(0)
	g.cfg.OnDrift = policy
	g.tail.fault = func(s segment) []segment {
		if g.lose {
			s.records = nil
		}
		return []segment{s}
	}
	return g
}

// rotLargest opens a copy of the directory in which a block of rows is damaged.
func (g *rottenDriftRig) rotLargest() {
	name, size := "", int64(0)
	for n, bytes := range g.tables() {
		if bytes > size {
			name, size = n, bytes
		}
	}
	require.NotNil(g.t, g.rot(name, 500_000))
	awaitFollowing(g.t, g.r.partitions[0])
}

// drift has the replica miss what is written to every so many of the keys, and a deletion, and cuts a frame.
func (g *rottenDriftRig) drift(every int) int64 {
	g.log.mu.Lock()
	g.lose = true
	g.log.mu.Unlock()
	for i := 0; i < 20_000; i += every {
		g.log.append(0, fmt.Sprintf("k%09d", i), fmt.Sprintf("z%0104d", i))
	}
	g.log.append(0, "k000000001", "-", "new", "1")
	return g.log.cut(0)
}

// requireNamed holds that what was named is right, that it is all that drifted, and, rotten, the rows that cannot be read. It returns how many these are.
func (g *rottenDriftRig) requireNamed(named map[string]Difference, cut int64) (unreadable int) {
	g.t.Helper()
	log := g.log.stateAt(0, cut)
	of := func(s map[string]string, key string) digest.Entry {
		if v, ok := s[key]; ok {
			return entry(key, v)
		}
		return digest.Entry{}
	}
	for _, s := range []map[string]string{g.applied, log} {
		for key := range s {
			if of(g.applied, key) != of(log, key) {
				_, ok := named[key]
				require.True(g.t, ok, "%s has drifted", key)
			}
		}
	}
	both := 0
	for key, d := range named {
		require.Equal(g.t, cut, d.Cut)
		require.False(g.t, d.LogUnknown)
		require.Equal(g.t, of(log, key), d.Log, key)
		if d.Applied == (digest.Entry{}) {
			require.Equal(g.t, of(g.applied, key), d.Here, key)
			require.NotEqual(g.t, d.Log, d.Here, key)
			continue
		}
		unreadable++
		require.Zero(g.t, d.Here, key)
		require.Equal(g.t, of(g.applied, key), d.Applied, key)
		if d.Applied != d.Log {
			both++
		}
	}
	require.Positive(g.t, both, "rows that have drifted as well cannot be read")
	return unreadable
}

// Where rows of a partition cannot be read, and keys of it have drifted, each of both is named as what it is, whatever the policy, however the keys are
// found: before another state takes the place of this one, and in a dispute.
func TestRottenRowsAndDriftAreNamed(t *testing.T) {
	nothing := func(call string) state.Reason {
		if call == "sketch" || call == "tags" {
			return state.Reason_REASON_TOO_FAR_ABOVE_FRAME
		}
		return state.Reason_REASON_UNSPECIFIED
	}
	for name, c := range map[string]struct {
		policy   Policy
		every    int
		refuse   func(string) state.Reason
		disputed bool
		ends     EventKind
	}{
		"halt":              {policy: Halt, every: 100, ends: Stopped},
		"halt, most of it":  {policy: Halt, every: 1, ends: Stopped},
		"halt, one by one":  {policy: Halt, every: 100, refuse: nothing, ends: Stopped},
		"report":            {policy: Report, every: 100, ends: KeysNamed},
		"rebootstrap":       {policy: Rebootstrap, every: 100, ends: KeysNamed},
		"repair, disputed":  {policy: Repair, every: 100, disputed: true, ends: RepairRefused},
		"repair":            {policy: Repair, every: 100, ends: Repaired},
		"repair by a frame": {policy: Repair, every: 100, refuse: nothing, ends: Repaired},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRottenDriftRig(t, c.policy)
			g.rotLargest()
			if c.refuse != nil {
				g.plane.repair.refuse.Store(&c.refuse)
			}
			if c.disputed {
				g.plane.dispute(true)
			}
			cut := g.drift(c.every)
			g.await("what comes of it", func() bool { return g.count(c.ends) > 0 })
			g.mu.Lock()
			defer g.mu.Unlock()
			require.Greater(t, g.requireNamed(g.named, cut), 200)
		})
	}
}

// verified is what VerifyDir says of the directory, closed, with what a repair takes, and the keys that it names.
func (g *rottenDriftRig) verified() (DirVerdict, map[string]Difference) {
	cfg := g.cfg
	cfg.OnDifference, cfg.OnEvent, cfg.OnVerdict = nil, nil, nil
	verdicts, err := VerifyDirCosts(testContext(g.t), cfg)
	require.NoError(g.t, err)
	named := map[string]Difference{}
	for _, d := range verdicts[0].Differs {
		named[string(d.Key)] = d
	}
	require.Len(g.t, named, len(verdicts[0].Differs))
	return verdicts[0], named
}

// VerifyDir names both too, and says what a repair of them takes. Where the log cannot be compared with, it makes no claim about what that has.
func TestVerifyDirOfRottenRowsAndDrift(t *testing.T) {
	g := newRottenDriftRig(t, Report)
	g.rotLargest()
	cut := g.drift(100)
	g.await("what differs is named", func() bool { return g.count(KeysNamed) > 0 })
	require.NoError(t, g.r.Close())
	d, named := g.verified()
	require.Equal(t, Drifted, d.Outcome)
	require.Equal(t, LocalCorruption, d.Cause)
	require.ErrorIs(t, d.Err, ErrCorrupt)
	require.NoError(t, d.Unnamed)
	unreadable := g.requireNamed(named, cut)
	require.Greater(t, unreadable, 200)

	g.log.mu.Lock()
	topic := g.log.parts[0].incarnation
	g.log.parts[0].incarnation[0]++
	g.log.mu.Unlock()
	other, of := g.verified()
	require.Equal(t, Error, other.Outcome)
	require.ErrorIs(t, other.Err, ErrCorrupt)
	require.Len(t, of, unreadable)
	for _, x := range of {
		require.True(t, x.LogUnknown)
		require.Zero(t, x.Log)
		require.Zero(t, x.Here)
		require.NotZero(t, x.Applied)
	}
	g.log.mu.Lock()
	g.log.parts[0].incarnation = topic
	g.log.mu.Unlock()

	g.cfg.OnDrift, g.lose = Repair, false
	clear(g.named)
	g.open()
	g.await("the repair", func() bool { return g.lastRepair() != nil })
	done := g.lastRepair()
	require.Equal(t, done.Method, d.Repair.Method)
	require.Equal(t, done.Keys, d.Repair.Keys)
	require.InEpsilon(t, done.Bytes, d.Repair.Bytes, 0.05)
	g.requireNamed(g.named, cut)
}

// Rows that the log start has passed have left the log, those that cannot be read too: it has none of these, which is no drift, unless it has another one since.
func TestVerifyDirOfRottenRowsThatHaveExpired(t *testing.T) {
	for name, c := range map[string]struct{ drift, trim bool }{
		"equal": {}, "drifted": {drift: true}, "drifted, behind the trim": {drift: true, trim: true},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRottenDriftRig(t, Report)
			g.rotLargest()
			if c.drift {
				g.drift(100)
				g.await("what differs is named", func() bool { return g.count(KeysNamed) > 0 })
			}
			require.NoError(t, g.r.Close())
			const start = 3800 // within the damaged block: row i was written at offset i
			if c.trim {
				g.log.append(0, "later", "1")
			}
			log := g.log.stateAt(0, g.log.cutExpiring(0, start))
			if c.trim {
				g.log.trim(0)
			}
			cfg := g.cfg
			cfg.OnDifference, cfg.OnEvent, cfg.OnVerdict = nil, nil, nil
			verdicts, err := VerifyDir(testContext(t), cfg)
			require.NoError(t, err)
			d := verdicts[0]
			require.NoError(t, d.Unnamed)
			require.Equal(t, c.drift, d.Outcome == Drifted)
			gone, both := 0, 0
			for _, x := range d.Differs {
				want := digest.Entry{}
				if v, ok := log[string(x.Key)]; ok {
					want = entry(string(x.Key), v)
				}
				require.Equal(t, want, x.Log, "%s", x.Key)
				require.False(t, x.LogUnknown)
				var row int
				_, _ = fmt.Sscanf(string(x.Key), "k%d", &row)
				require.Equal(t, x.Applied != digest.Entry{} && row < start, x.Expired, "%s", x.Key)
				switch {
				case x.Expired && x.Log == digest.Entry{}:
					require.False(t, x.drifted())
					gone++
				case x.Expired:
					require.True(t, x.drifted())
					both++
				}
			}
			require.Positive(t, gone)
			require.Equal(t, c.drift, both > 0)
			require.Equal(t, int64(len(d.Differs)-gone), d.Repair.Keys, "what has expired is not fetched")
		})
	}
}

// Where the first attempt to find what differs came to nothing, since the connection broke and the log was trimmed meanwhile, all rows that cannot be read are
// listed by the next: those too that the first one had met.
func TestRottenRowsAreListedWhenComparedAgain(t *testing.T) {
	g := newRottenDriftRig(t, Report)
	g.rotLargest()
	g.drift(2)
	g.await("what differs is named", func() bool { return g.count(KeysNamed) > 0 })
	require.NoError(t, g.r.Close())
	var unreadable []string
	for key, d := range g.named {
		if d.Applied != (digest.Entry{}) {
			unreadable = append(unreadable, key)
		}
	}
	oneByOne := func(call string) state.Reason {
		if call == "sketch" || call == "tags" {
			return state.Reason_REASON_TOO_FAR_ABOVE_FRAME
		}
		return state.Reason_REASON_UNSPECIFIED
	}
	g.plane.repair.refuse.Store(&oneByOne)
	breaks := func(row int) error {
		if row < 15_000 { // behind the damaged block
			return nil
		}
		g.plane.past.breaks.Store(nil)
		for _, key := range unreadable {
			g.log.append(0, key, "later")
		}
		g.log.cut(0)
		g.log.trim(0)
		g.plane.repair.refuse.Store(nil)
		return connect.NewError(connect.CodeUnavailable, errors.New("the connection broke"))
	}
	g.plane.past.breaks.Store(&breaks)
	cfg := g.cfg
	cfg.OnDifference, cfg.OnEvent, cfg.OnVerdict = nil, nil, nil
	verdicts, err := VerifyDir(testContext(t), cfg)
	require.NoError(t, err)
	require.Nil(t, g.plane.past.breaks.Load())
	require.NoError(t, verdicts[0].Unnamed)
	var listed []string
	for _, d := range verdicts[0].Differs {
		if d.Applied != (digest.Entry{}) {
			listed = append(listed, string(d.Key))
		}
	}
	require.ElementsMatch(t, unreadable, listed)
}

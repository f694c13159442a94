package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
)

// repair repairs the directory, and returns what it took; a zero Method: nothing.
func (g *dirRig) repair(t *testing.T) (done RepairResult) {
	t.Helper()
	var mu sync.Mutex
	cfg := g.cfg
	cfg.Brokers, cfg.ScrubRate = []string{"fake"}, -1
	cfg.OnEvent = func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Kind == Repaired {
			done = *e.Repair
		}
	}
	r, err := openReplica(testContext(t), cfg.withDefaults(), newFakeTail(g.log))
	require.NoError(t, err)
	g.log.mu.Lock()
	end := g.log.parts[0].end
	g.log.mu.Unlock()
	require.NoError(t, r.WaitFor(testContext(t), 0, end))
	require.Eventually(t, func() bool { return r.Verify(testContext(t))[0].Outcome == Equal }, guard, 1)
	require.NoError(t, r.Close())
	mu.Lock()
	defer mu.Unlock()
	return done
}

// What a repair is said to take is what it takes then: where the copy stands at a key frame, above the last one, or below, whatever has come since. The keys
// that differ are among those that the log changed between the frame and the position.
func TestVerifyDirSaysWhatARepairTakes(t *testing.T) {
	const rows, drifted = 2000, 40
	key := func(i int) string { return fmt.Sprintf("k%04d", i) }
	others := func(g *dirRig) { g.log.append(0, key(1500), "o", key(1501), "o", key(1502), "o") }
	manyOthers := func(g *dirRig) {
		for i := range 2 * drifted {
			g.log.append(0, key(1000+i), "o")
		}
	}
	over := func(g *dirRig, n int) {
		for i := range n {
			g.log.append(0, key(i), "over")
		}
	}
	nothing := func(*dirRig) {}
	// Who learns of the frame there before more is applied is repaired at it.
	sooner := []string{"a frame there, some overwritten since, frame", "a frame there, all overwritten since, frame"}
	for name, c := range map[string]struct {
		since func(g *dirRig)
		keys  int64
	}{
		"the log ends there":                     {nothing, drifted},
		"a frame there":                          {func(g *dirRig) { g.log.cut(0) }, drifted},
		"others changed since":                   {others, drifted},
		"others changed since, and a frame":      {func(g *dirRig) { others(g); g.log.cut(0) }, drifted},
		"some were overwritten since":            {func(g *dirRig) { over(g, 10) }, drifted - 10},
		"all were overwritten since":             {func(g *dirRig) { over(g, drifted) }, 0},
		"some were overwritten since, and frame": {func(g *dirRig) { over(g, 10); g.log.cut(0) }, drifted - 10},
		"all were overwritten since, and frame":  {func(g *dirRig) { over(g, drifted); g.log.cut(0) }, 0},
		// What is nearest to a copy is not what it is repaired with.
		"a frame there, and a later one":                {func(g *dirRig) { g.log.cut(0); others(g); g.log.cut(0) }, drifted},
		"a frame there, some overwritten since, frame":  {func(g *dirRig) { g.log.cut(0); over(g, 10); g.log.cut(0) }, drifted - 10},
		"a frame there, all overwritten since, frame":   {func(g *dirRig) { g.log.cut(0); over(g, drifted); g.log.cut(0) }, 0},
		"a frame there, some overwritten above it":      {func(g *dirRig) { g.log.cut(0); over(g, 10) }, drifted},
		"frames above, some overwritten between them":   {func(g *dirRig) { others(g); g.log.cut(0); over(g, 10); g.log.cut(0); over(g, 20) }, drifted},
		"a frame far above, more overwritten behind it": {func(g *dirRig) { over(g, 10); manyOthers(g); g.log.cut(0); over(g, 20) }, drifted - 10},
	} {
		t.Run(name, func(t *testing.T) {
			g := newDirRig(t, fold.LastValue)
			for i := range rows {
				g.log.append(0, key(i), strings.Repeat("v", 100))
			}
			g.log.cut(0)
			for i := range drifted {
				g.log.append(0, key(i), strings.Repeat("w", 100))
			}
			position := g.log.parts[0].end
			copied := g.at(position)
			for i := range drifted {
				copied[key(i)] = frame.Row{Key: []byte(key(i)), Value: []byte("wrong"), Offset: copied[key(i)].Offset}
			}
			g.store(copied, position, 0)
			c.since(g)
			d := g.verify()
			require.Equal(t, Drifted, d.Outcome)
			require.Len(t, d.Differs, drifted)
			require.Equal(t, c.keys, d.Repair.Keys)
			require.Positive(t, d.Repair.FrameBytes)
			done := g.repair(t)
			if done.Keys == drifted && slices.Contains(sooner, name) {
				return
			}
			require.Equal(t, c.keys, done.Keys)
			if c.keys == 0 {
				require.Equal(t, ByLog, d.Repair.Method)
				require.Zero(t, d.Repair.Bytes)
				require.Zero(t, done.Bytes)
				return
			}
			require.Equal(t, done.Method, d.Repair.Method)
			require.InEpsilon(t, done.Bytes, d.Repair.Bytes, 0.05)
		})
	}
}

// A counter is wrong after what follows as well, and a row that was lost costs no row of ours.
func TestVerifyDirSaysWhatARepairOfCountersTakes(t *testing.T) {
	for _, cut := range []bool{false, true} {
		g := newDirRig(t, fold.Counter)
		for i := range 500 {
			g.log.append(0, fmt.Sprint("k", i), "1")
		}
		g.log.cut(0)
		g.log.append(0, "k1", "1", "k2", "1", "k3", "1")
		position := g.log.parts[0].end
		copied := g.at(position)
		for _, key := range []string{"k1", "k2"} {
			copied[key] = frame.Row{Key: []byte(key), Value: []byte("7"), Offset: copied[key].Offset}
		}
		delete(copied, "k400")
		g.store(copied, position, 0)
		g.log.append(0, "k1", "1", "k5", "1")
		if cut {
			g.log.cut(0)
		}
		d := g.verify()
		require.Len(t, d.Differs, 3)
		done := g.repair(t)
		require.Equal(t, BySketch, d.Repair.Method)
		require.Equal(t, done.Method, d.Repair.Method)
		require.Equal(t, done.Keys, d.Repair.Keys)
		require.InEpsilon(t, done.Bytes, d.Repair.Bytes, 0.05)
	}
}

// Where the log goes on from no copy, it is a whole frame that is loaded: beyond its end, of another log, without a copy of the partition.
func TestVerifyDirSaysThatAFrameIsLoaded(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(g *dirRig)
		refused bool // in a dispute
	}{
		"beyond the end":      {func(g *dirRig) { g.log.cutOff(0, 2); g.log.cut(0) }, true},
		"another incarnation": {func(g *dirRig) { g.log.create(2, 1); g.log.append(0, "x", "1"); g.log.cut(0) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := newDirRig(t, fold.LastValue)
			g.log.append(0, "a", "1", "b", "1", "c", "1")
			g.store(g.at(3), 3, 0)
			g.log.append(0, "d", "1")
			c.change(g)
			for _, disputed := range []bool{false, true} {
				if disputed {
					g.plane.dispute(true)
				}
				d := g.verify()
				require.Equal(t, Inconclusive, d.Outcome)
				require.Equal(t, ByFrame, d.Repair.Method)
				require.Positive(t, d.Repair.Bytes)
				require.Equal(t, d.Repair.FrameBytes, d.Repair.Bytes)
				require.Equal(t, disputed && c.refused, d.Repair.Refused != nil)
			}
		})
	}
}

// received counts the bytes of bodies, of what has a path with `of` in it, but for reports.
type received struct {
	of    string
	bytes atomic.Int64
}

func (c *received) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil && strings.Contains(r.URL.Path, c.of) && !strings.HasSuffix(r.URL.Path, "Report") {
		resp.Body = &receivedBody{resp.Body, c}
	}
	return resp, err
}

type receivedBody struct {
	io.ReadCloser
	of *received
}

func (b *receivedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.of.bytes.Add(int64(n))
	return n, err
}

// Where the position is no longer in the log, what has changed since is received too: twice where what is kept of the copy tells that it came to nothing.
func TestVerifyDirSaysWhatARepairBehindTheTrimTakes(t *testing.T) {
	g := newDirRig(t, fold.LastValue)
	for i := range 2000 {
		g.log.append(0, fmt.Sprintf("k%04d", i), strings.Repeat("v", 100))
	}
	position := g.log.cut(0)
	copied := g.at(position)
	copied["k0001"] = frame.Row{Key: []byte("k0001"), Value: []byte("wrong"), Offset: copied["k0001"].Offset}
	g.store(copied, position, 0)
	for i := range 1000 {
		g.log.append(0, fmt.Sprintf("k%04d", 1000+i), fmt.Sprintf("w%0100d", i*7919))
	}
	g.log.cut(0)
	g.log.trim(0)
	d := g.verify()
	require.Len(t, d.Differs, 1)
	require.Equal(t, BySketch, d.Repair.Method)
	var count received
	g.cfg.HTTPClient = &http.Client{Transport: &count}
	done := g.repair(t)
	require.Equal(t, done.Keys, d.Repair.Keys)
	require.InEpsilon(t, count.bytes.Load(), d.Repair.Bytes, 0.05)
}

// What takes nothing from the broker is not refused in a dispute: the log overwrites it.
func TestVerifyDirSaysThatTheLogIsNotRefused(t *testing.T) {
	g := newDirRig(t, fold.LastValue)
	for i := range 100 {
		g.log.append(0, fmt.Sprint("k", i), "1")
	}
	g.log.cut(0)
	position := g.log.append(0, "k1", "2")
	copied := g.at(position)
	copied["k1"] = frame.Row{Key: []byte("k1"), Value: []byte("wrong"), Offset: copied["k1"].Offset}
	g.store(copied, position, 0)
	g.plane.dispute(true)
	require.ErrorIs(t, g.verify().Repair.Refused, ErrDisputed)
	g.log.append(0, "k1", "3")
	g.log.cut(0)
	d := g.verify()
	require.Equal(t, ByLog, d.Repair.Method)
	require.NoError(t, d.Repair.Refused)
	require.Zero(t, g.repair(t).Method)
}

// Memory does not grow with how much the log has changed since: only the keys that differ are looked for among that.
func TestVerifyDirKeepsWhatDiffersAlone(t *testing.T) {
	g := newDirRig(t, fold.LastValue)
	g.log.append(0, "a", "1", "b", "1", "c", "1")
	g.log.cut(0)
	position := g.log.append(0, "b", "2")
	copied := g.at(position)
	copied["a"] = frame.Row{Key: []byte("a"), Value: []byte("wrong"), Offset: copied["a"].Offset}
	g.store(copied, position, 0)
	g.log.append(0, "a", "2", "c", "2", "d", "2")
	v, err := newDirVerifier(g.cfg)
	require.NoError(t, err)
	defer func() { require.NoError(t, v.stores.close()) }()
	logs, err := v.logs(dirContext(t), nil)
	require.NoError(t, err)
	f := newest(logs[0].frames)
	over := v.overwritten(dirContext(t), &carried{from: position}, []Difference{{Key: []byte("a")}, {Key: []byte("b")}}, f, logs[0].info.LastStable)
	require.Equal(t, map[string]bool{"a": true, "b": false}, over)
}

// A key that differs is found at the cost of the difference; the first blocks of a key frame are loaded for who is to know what a repair takes, and for nobody
// else.
func TestVerifyDirLoadsNoFrameToFindAKey(t *testing.T) {
	g := newDirRig(t, fold.LastValue)
	kv := make([]string, 0, 20_000)
	for i := range 10_000 {
		kv = append(kv, fmt.Sprintf("k%06d", i), fmt.Sprintf("%0100d", i))
	}
	g.log.append(0, kv...)
	cut := g.log.cut(0)
	copied := g.at(cut)
	copied["k000007"] = frame.Row{Key: []byte("k000007"), Value: []byte("x"), Offset: 7}
	g.store(copied, cut, 0)
	take := func(verify func(context.Context, Config) ([]DirVerdict, error)) int64 {
		count := received{of: "/"}
		g.cfg.HTTPClient = &http.Client{Transport: &count}
		verdicts, err := verify(testContext(t), g.cfg)
		require.NoError(t, err)
		require.Equal(t, []string{"~ k000007"}, verdicts[0].keys())
		require.Equal(t, BySketch, verdicts[0].Repair.Method)
		return count.bytes.Load()
	}
	require.Less(t, take(VerifyDir), int64(8<<10))
	require.Greater(t, take(VerifyDirCosts), int64(128<<10))
}

package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/client/plane"
)

// A copy of which rows that later deltas are folded onto cannot be read is replaced by a key frame, which may lie below the end that the log had at the start: it is
// followed to that end all the same before the command says that it is equal.
func TestACopyThatIsReplacedIsFollowedToTheEnd(t *testing.T) {
	const keys, later = 500, 20000
	n := startNode(t)
	n.run(t, "", "topic", "create", "counts", "--cleanup-policy", "compact", "--topic-config", "keyframe.fold=counter", "--topic-config", "keyframe.interval.ms=3600000")
	add := func(adds int) {
		var lines strings.Builder
		for i := range adds {
			fmt.Fprintf(&lines, "the counter of row %03d%0300d\t1\n", i%keys, 0)
		}
		n.run(t, lines.String(), "produce", "counts")
	}
	add(keys)
	end := keys
	for _, args := range [][]string{{"repair", "counts"}, {"replica", "run", "counts", "--exit"}} {
		dir := filepath.Join(t.TempDir(), "replica")
		n.copyTo(t, "counts", dir)
		flipByte(t, filepath.Join(dir, "table"), "the counter of row 250")
		add(keys)
		n.run(t, "", "frames", "cut", "counts")
		add(later)
		out := n.run(t, "", append(args, "--dir", dir)...)
		end += keys + later
		require.Contains(t, out, fmt.Sprintf("partition 0 at %d: equal", end))
		require.Contains(t, n.run(t, "", "verify", "counts", "--dir", dir), fmt.Sprintf("partition 0 at %d: equal", end))
	}
}

// What could not be told of a state does not outvote that it, or a newer one, is equal; nothing older than what happened to it since counts.
func TestProvedEqual(t *testing.T) {
	const end = 100
	verdict := func(at int64, o client.Outcome) client.Verdict {
		return client.Verdict{Partition: 3, At: at, Outcome: o}
	}
	rotten := verdict(120, client.Error)
	rotten.Err = client.ErrCorrupt
	slow := verdict(120, client.Error)
	slow.Err = errors.New("deadline_exceeded")
	trimmed := verdict(110, client.Inconclusive)
	trimmed.Err = plane.ErrNotComparable
	for _, x := range []struct {
		name     string
		told     []client.Verdict
		event    client.EventKind
		last     client.Verdict
		position int64
		want     bool
	}{
		{"equal at the end", nil, 0, verdict(end, client.Equal), end, true},
		{"equal, but below the end", nil, 0, verdict(99, client.Equal), 99, false},
		{"trimmed while it was asked for", nil, 0, trimmed, 110, false},
		{"... and a newer one was equal", []client.Verdict{verdict(111, client.Equal)}, 0, trimmed, 120, true},
		{"... or an older one", []client.Verdict{verdict(109, client.Equal)}, 0, trimmed, 120, false},
		{"... which is above the end, and what was asked for is not", []client.Verdict{verdict(99, client.Equal)}, 0, verdict(98, client.Inconclusive), 120, false},
		{"equal, and then there was no answer", []client.Verdict{verdict(120, client.Equal)}, 0, slow, 120, true},
		{"equal, and then it drifted", []client.Verdict{verdict(120, client.Equal), verdict(121, client.Drifted)}, 0, slow, 130, false},
		{"drift is drift", []client.Verdict{verdict(121, client.Equal)}, 0, verdict(120, client.Drifted), 130, false},
		{"equal, and then a key frame took its place", []client.Verdict{verdict(120, client.Equal)}, client.Bootstrapped, slow, 120, false},
		{"... of which nothing is told yet", []client.Verdict{verdict(120, client.Equal)}, 0, slow, 119, false},
		{"rows are rotten", []client.Verdict{verdict(121, client.Equal)}, 0, rotten, 130, false},
	} {
		l := newReplicaLog(replicaLines{io.Discard}, true)
		for _, v := range x.told {
			l.verdict(v)
		}
		if x.event != 0 {
			l.event(client.Event{Kind: x.event, Partition: 3})
		}
		require.Equal(t, x.want, l.provedEqual(x.last, x.position, end), x.name)
	}
}

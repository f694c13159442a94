package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/protobuf/proto"

	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/state"
)

// replaced is a replica whose copy a key frame at 10 takes the place of when it is compared first. It gets to 30 as soon as it is moved.
type replaced struct {
	scripted
	first client.Outcome // of the copy that was there, or of what has taken its place
	moved chan struct{}
	at    int64
}

func (r *replaced) Positions() client.Positions { return client.Positions{0: {Offset: r.at}} }

func (r *replaced) WaitFor(_ context.Context, _ int32, end int64) error {
	if r.at < end {
		<-r.moved
		r.at = 30
	}
	return nil
}

func (r *replaced) Verify(context.Context) []client.Verdict {
	v := client.Verdict{At: r.at, Outcome: client.Equal}
	if r.compare++; r.compare == 1 {
		v.Outcome, r.at = r.first, 10
		if r.first == client.Equal {
			v.At = r.at
		}
		r.log.event(client.Event{Kind: client.Bootstrapped, Offset: r.at})
	}
	r.log.verdict(v)
	return []client.Verdict{v}
}

// A copy that is replaced by a key frame, which may lie below the end that the log had at the start, is followed to that end all the same before the command says
// that it is equal.
func TestACopyThatIsReplacedIsFollowedToTheEnd(t *testing.T) {
	for _, first := range []client.Outcome{client.Drifted, client.Equal} {
		synctest.Test(t, func(t *testing.T) {
			l := newReplicaLog(replicaLines{io.Discard}, true)
			r := &replaced{scripted: scripted{log: l}, first: first, moved: make(chan struct{}), at: 30}
			ended := make(chan error, 1)
			go func() { ended <- verifyNow(t.Context(), r, map[int32]int64{0: 30}, l) }()
			synctest.Wait()
			require.Empty(t, ended, "at 10")
			require.Equal(t, 1, r.compare)
			close(r.moved)
			require.NoError(t, <-ended)
			require.Equal(t, 2, r.compare)
		})
	}
}

// So is one of which rows that later deltas are folded onto cannot be read.
func TestACopyThatCannotBeFoldedOntoIsReplaced(t *testing.T) {
	const keys = 500
	n := startNode(t)
	n.run(t, "", "topic", "create", "counts", "--cleanup-policy", "compact", "--topic-config", "keyframe.fold=counter", "--topic-config", "keyframe.interval.ms=3600000")
	add := func() {
		var lines strings.Builder
		for i := range keys {
			fmt.Fprintf(&lines, "the counter of row %03d%0300d\t1\n", i, 0)
		}
		n.run(t, lines.String(), "produce", "counts")
	}
	add()
	end := keys
	for _, args := range [][]string{{"repair", "counts"}, {"replica", "run", "counts", "--exit"}} {
		dir := filepath.Join(t.TempDir(), "replica")
		n.copyTo(t, "counts", dir)
		flipByte(t, filepath.Join(dir, "table"), "the counter of row 250")
		add()
		n.run(t, "", "frames", "cut", "counts")
		add()
		out := n.run(t, "", append(args, "--dir", dir)...)
		end += 2 * keys
		require.Contains(t, out, "corruption found")
		require.Contains(t, out, fmt.Sprintf("partition 0 at %d: equal", end))
		require.Contains(t, n.run(t, "", "verify", "counts", "--dir", dir), fmt.Sprintf("partition 0 at %d: equal", end))
	}
}

// untold is a state plane in front of the node's that does not tell the digests of one partition.
func (n *node) untold(t *testing.T, partition int32) string {
	t.Helper()
	to, err := url.Parse(n.state)
	require.NoError(t, err)
	plane := httputil.NewSingleHostReverseProxy(to)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/DigestAt") {
			asked, err := io.ReadAll(r.Body)
			var m state.DigestAtRequest
			if err != nil || proto.Unmarshal(asked, &m) != nil || m.GetPartition() == partition {
				http.Error(w, "no", http.StatusForbidden)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(asked))
		}
		plane.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	return front.URL
}

// A partition that cannot be compared keeps no other one from being put right, or its keys from being named.
func TestAPartitionThatCannotBeComparedHoldsUpNoOther(t *testing.T) {
	n := startNode(t)
	n.run(t, "", "topic", "create", "users", "--cleanup-policy", "compact", "--partitions", "2")
	var lines strings.Builder
	for i := range 50 {
		fmt.Fprintf(&lines, "k%02d\tonline\n", i)
	}
	n.run(t, lines.String(), "produce", "users")
	direct, front := n.state, n.untold(t, 1)
	for _, args := range [][]string{{"replica", "run", "users", "--exit", "--on-drift", "report"}, {"replica", "run", "users", "--exit"}, {"repair", "users"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			dir, wrong := filepath.Join(t.TempDir(), "replica"), ""
			n.copyTo(t, "users", dir, wrongly(func(r *kgo.Record) {
				if r.Partition == 0 && wrong == "" {
					wrong, r.Value = string(r.Key), []byte("wrong")
				}
			}))
			n.state = front
			out, err := n.try(t, "", append(args, "--dir", dir)...)
			n.state = direct
			require.Error(t, err, out)
			require.Contains(t, out+err.Error(), "are not proved equal to the log")
			if args[0] == "repair" {
				require.Equal(t, []string{"~ " + wrong}, keysPrinted(out), out)
			} else {
				require.Contains(t, out, fmt.Sprintf("key %q differs", wrong))
			}
			after, err := n.try(t, "", "verify", "users", "--dir", dir)
			if args[len(args)-1] == "report" {
				require.Equal(t, []string{"~ " + wrong}, keysPrinted(after), after)
				return
			}
			require.Equal(t, 1, strings.Count(out, "repaired, logical drift: 1 key by"), out)
			require.NoError(t, err, after)
		})
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

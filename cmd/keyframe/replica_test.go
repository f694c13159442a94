package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What cannot become a replica ends at once, with the reason; what takes too long ends at --timeout.
func TestReplicaRunEnds(t *testing.T) {
	n, p := startBehindProxy(t)
	n.run(t, "", "topic", "create", "plain")
	_, err := n.try(t, "", "replica", "run", "plain", "--exit")
	require.ErrorContains(t, err, "replicate topic plain")
	require.ErrorContains(t, err, "cleanup.policy")
	n.run(t, "", "topic", "create", "framed", "--cleanup-policy", "compact")
	n.run(t, "a\t1\n", "produce", "framed")
	_, err = n.try(t, "", "replica", "run", "framed", "--exit", "--state-url", "http://127.0.0.1:1")
	require.ErrorContains(t, err, "the state plane at http://127.0.0.1:1 (flag --state-url)")

	out := n.run(t, "", "replica", "run", "framed", "--exit")
	last := strings.Split(strings.TrimSpace(out), "\n")
	require.Contains(t, last[len(last)-1], "partition 0 at 1: equal, 1 rows")
	require.NotContains(t, last[len(last)-2], "equal", "the verdict at the end is printed once:\n%s", out)

	p.withhold(kmsg.Fetch)
	_, err = n.try(t, "", "replica", "run", "framed", "--exit", "--timeout", "500ms")
	require.ErrorContains(t, err, "not verified within 500ms (--timeout)")
	require.ErrorContains(t, err, "is at 0, not yet at 1")
}

// A broker that is away is told once, and once that it is back.
func TestReplicaRunTellsThatTheBrokerIsAway(t *testing.T) {
	n, p := startBehindProxy(t)
	n.run(t, "", "topic", "create", "r", "--cleanup-policy", "compact")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	read, write := io.Pipe()
	root := newRootCommand()
	root.SetOut(write)
	root.SetArgs([]string{"replica", "run", "r", "--interval", "1h"})
	go func() { write.CloseWithError(root.ExecuteContext(ctx)) }()

	var away, back int
	said := bufio.NewScanner(read)
	for said.Scan() {
		switch line := said.Text(); {
		case strings.HasPrefix(line, "topic:"):
			p.hangUp(true)
		case strings.Contains(line, "the broker at "+p.addr+" does not answer"):
			away++
			p.hangUp(false)
		case strings.Contains(line, "the broker at "+p.addr+" answers again"):
			back++
			cancel()
		}
	}
	require.NoError(t, said.Err())
	require.Equal(t, []int{1, 1}, []int{away, back})
}

// A replica that ends while it connects does not say that the broker is away.
func TestReplicaRunThatEndsBlamesNobody(t *testing.T) {
	var out bytes.Buffer
	l := &replicaLog{to: &out}
	for _, err := range []error{context.Canceled, kgo.ErrClientClosed} {
		l.OnBrokerConnect(kgo.BrokerMetadata{Host: "localhost", Port: 9092}, 0, nil, fmt.Errorf("unable to dial: %w", err))
	}
	require.Empty(t, out.String())
}

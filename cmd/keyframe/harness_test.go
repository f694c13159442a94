package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker"
)

// node is a broker in this process whose tools are pointed at it.
type node struct {
	dir   string
	kafka string
	state string
	*broker.Broker
}

func startNode(t *testing.T) *node {
	t.Helper()
	return startNodeWith(t, func(*broker.Config) {})
}

func startNodeIn(t *testing.T, dir string) *node {
	t.Helper()
	return startNodeWith(t, func(cfg *broker.Config) { cfg.DataDir = dir })
}

func startNodeWith(t *testing.T, set func(*broker.Config)) *node {
	t.Helper()
	cfg := broker.DefaultConfig()
	cfg.DataDir, cfg.KafkaAddr, cfg.StateAddr = filepath.Join(t.TempDir(), "data"), "127.0.0.1:0", "127.0.0.1:0"
	cfg.Groups.InitialRebalanceDelay = 0
	set(&cfg)
	b, err := broker.Start(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return &node{dir: cfg.DataDir, kafka: b.KafkaAddr().String(), state: "http://" + b.StateAddr().String(), Broker: b}
}

// run is a command line against the node; what it prints comes back.
func (n *node) run(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	out, err := n.try(t, stdin, args...)
	require.NoError(t, err, "keyframe %s: %s", strings.Join(args, " "), out)
	return out
}

func (n *node) try(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	t.Setenv(envName("brokers"), n.kafka)
	t.Setenv(envName("state-url"), n.state)
	return command(t, stdin, args...)
}

// givenUp runs a command line that gives up at its --timeout, with longer and longer ones until it came as far as that it says far: a machine that is
// busy with something else may need more than the first for that. It returns the timeout too.
func (n *node) givenUp(t *testing.T, stdin, far string, args ...string) (after, out string, err error) {
	t.Helper()
	for d := 300 * time.Millisecond; d < time.Minute; d *= 2 {
		after = d.String()
		if out, err = n.try(t, stdin, append(args[:len(args):len(args)], "--timeout", after)...); err != nil && strings.Contains(out+err.Error(), far) {
			break
		}
	}
	return after, out, err
}

// lockedBuffer is both streams of a command, which may write to them at the same time.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// command runs one command line and returns what it printed to both streams.
func command(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	var out lockedBuffer
	root := newRootCommand()
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

package crash

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/process"
)

// built is the broker as it is, compiled once for all tests.
var built struct {
	once   sync.Once
	dir    string
	binary string
}

func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.RemoveAll(built.dir)
	os.Exit(code)
}

// broker returns the binary of the broker as it is.
func broker(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		var err error
		built.dir, err = os.MkdirTemp("", "keyframe-txn-")
		require.NoError(t, err)
		built.binary = build(t, built.dir, "")
	})
	require.NotEmpty(t, built.binary, "the broker was not built")
	return built.binary
}

// build compiles the broker into a directory; overlay, if not "", is a file for go build -overlay.
func build(t *testing.T, dir, overlay string) (binary string) {
	t.Helper()
	binary = filepath.Join(dir, "keyframe")
	var args []string
	if overlay != "" {
		args = []string{"-overlay", overlay}
	}
	require.NoError(t, process.Build(t.Context(), binary, args...))
	return binary
}

// node is a broker in a process of its own, behind a proxy that has one address for all its lives.
type node struct {
	t           *testing.T
	binary, dir string
	proxy       *proxy
	process     *process.Broker
}

func startNode(t *testing.T, binary string) *node {
	n := &node{t: t, binary: binary, dir: filepath.Join(t.TempDir(), "data"), proxy: startProxy(t)}
	n.start()
	t.Cleanup(func() { n.kill() })
	return n
}

// start begins a life of the broker.
func (n *node) start() {
	n.t.Helper()
	p, err := process.Start(n.t.Context(), n.binary, n.dir, process.Options{
		Flags: []string{"--advertised-addr", n.proxy.addr(), "--group-initial-rebalance-delay", "0s"},
		Log: func(line string) {
			if strings.Contains(line, `"level":"ERROR"`) {
				n.t.Log(line)
			}
		},
	})
	require.NoError(n.t, err)
	n.process = p
	n.proxy.connectTo(p.Kafka)
}

// kill ends it, as kill -9 does.
func (n *node) kill() {
	n.proxy.connectTo("")
	n.process.Kill()
}

// verify ends the broker and has its own tool look at all that it has left.
func (n *node) verify() {
	n.t.Helper()
	n.kill()
	cmd := exec.Command(n.binary, "check", "--data-dir", n.dir)
	cmd.Env = process.Environ()
	out, err := cmd.CombinedOutput()
	require.NoError(n.t, err, "%s", out)
}

// number is a count from the environment.
func number(t *testing.T, name string, otherwise int) int {
	text, ok := os.LookupEnv(name)
	if !ok {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, name)
	return n
}

// clock is one for all clients of a test.
func clock(epoch time.Time) func() int64 { return func() int64 { return int64(time.Since(epoch)) } }

package crash

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
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
	args := []string{"build", "-o", binary}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.Command("go", append(args, "github.com/keyframelog/keyframe/cmd/keyframe")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return binary
}

// node is a broker in a process of its own, behind a proxy that has one address for all its lives.
type node struct {
	t           *testing.T
	binary, dir string
	proxy       *proxy
	cmd         *exec.Cmd
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
	n.cmd = exec.Command(n.binary, "serve", "--data-dir", n.dir, "--kafka-addr", "127.0.0.1:0", "--state-addr", "127.0.0.1:0", "--log-format", "json",
		"--advertised-addr", n.proxy.addr(), "--group-initial-rebalance-delay", "0s")
	n.cmd.Env = environ()
	stderr, err := n.cmd.StderrPipe()
	require.NoError(n.t, err)
	require.NoError(n.t, n.cmd.Start())
	var said []string
	addr := ""
	lines := bufio.NewScanner(stderr)
	for addr == "" && lines.Scan() {
		said = append(said, lines.Text())
		_, rest, _ := strings.Cut(lines.Text(), `"kafka_addr":"`)
		addr, _, _ = strings.Cut(rest, `"`)
	}
	require.NotEmpty(n.t, addr, "the broker did not start: %s", strings.Join(said, "\n"))
	go func() {
		for lines.Scan() { // keep the pipe empty; ends with the process
			if strings.Contains(lines.Text(), `"level":"ERROR"`) {
				n.t.Log(lines.Text())
			}
		}
	}()
	n.proxy.connectTo(addr)
}

// kill ends it, as kill -9 does.
func (n *node) kill() {
	n.proxy.connectTo("")
	_ = n.cmd.Process.Kill()
	_ = n.cmd.Wait()
}

// verify ends the broker and has its own tool look at all that it has left.
func (n *node) verify() {
	n.t.Helper()
	n.kill()
	cmd := exec.Command(n.binary, "check", "--data-dir", n.dir)
	cmd.Env = environ()
	out, err := cmd.CombinedOutput()
	require.NoError(n.t, err, "%s", out)
}

// environ is the environment of this process without the settings of its tests, which a broker would refuse.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "KEYFRAME_") })
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

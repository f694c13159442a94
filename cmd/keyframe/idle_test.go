package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestIdleConnectionsAreSmall opens many connections to the real binary, uses each as a client does at its start, and looks at what
// the process takes for them: 30 KiB each at most. KEYFRAME_IDLE_CONNECTIONS says how many; both ends need as many open files.
func TestIdleConnectionsAreSmall(t *testing.T) {
	n := 1000
	if v, err := strconv.Atoi(os.Getenv("KEYFRAME_IDLE_CONNECTIONS")); err == nil {
		n = v
	}
	binary := filepath.Join(t.TempDir(), "keyframe")
	build(t, binary)
	p := startProcess(t, binary, filepath.Join(t.TempDir(), "data"), "--max-connections", strconv.Itoa(n+100))
	defer p.kill(t)
	use := func(count int) {
		for range count {
			c, err := net.Dial("tcp", p.kafka)
			require.NoError(t, err)
			t.Cleanup(func() { c.Close() })
			require.NoError(t, c.SetDeadline(time.Now().Add(60*time.Second)))
			versions := kmsg.NewPtrApiVersionsRequest()
			versions.Version, versions.ClientSoftwareName, versions.ClientSoftwareVersion = 3, "idle", "1"
			exchange(t, c, versions)
			metadata := kmsg.NewPtrMetadataRequest()
			metadata.Version = 12
			exchange(t, c, metadata)
		}
	}
	use(50) // what the first connections allocate for all
	before := residentBytes(t, p.cmd.Process.Pid)
	use(n)
	each := (residentBytes(t, p.cmd.Process.Pid) - before) / n
	t.Logf("%d idle connections: %d bytes of resident memory each", n, each)
	require.LessOrEqual(t, each, 30<<10)
}

// exchange sends a request and reads its answer.
func exchange(t *testing.T, c net.Conn, req kmsg.Request) {
	t.Helper()
	_, err := c.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID("idle")).AppendRequest(nil, req, 1))
	require.NoError(t, err)
	var size [4]byte
	_, err = io.ReadFull(c, size[:])
	require.NoError(t, err)
	_, err = io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(size[:])))
	require.NoError(t, err)
}

// residentBytes is what a process has in memory.
func residentBytes(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skipf("SKIPPED: resident memory is read from /proc, which is not there: %v", err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	line, _, _ := strings.Cut(rest, "kB")
	kib, err := strconv.Atoi(strings.TrimSpace(line))
	require.NoError(t, err)
	return kib << 10
}

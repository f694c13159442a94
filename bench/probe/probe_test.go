//go:build linux

package probe

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestUsageGrowsWithWhatIsUsed(t *testing.T) {
	p := Process{os.Getpid()}
	before, err := p.Usage()
	require.NoError(t, err)
	used, after := make([]byte, 64<<20), before
	for deadline := time.Now().Add(time.Minute); after.CPU-before.CPU < 50*time.Millisecond; {
		require.True(t, time.Now().Before(deadline), "processor time is not told")
		for i := range used {
			used[i]++
		}
		after, err = p.Usage()
		require.NoError(t, err)
	}
	require.GreaterOrEqual(t, after.PeakRSS, before.RSS+48<<20)
	require.NotEmpty(t, used)
}

func TestWhoListens(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue // no IPv6 here
		}
		port := l.Addr().(*net.TCPAddr).Port
		p, err := Listening(port)
		require.NoError(t, err)
		require.Equal(t, os.Getpid(), p.PID)
		require.NoError(t, l.Close())
		_, err = Listening(port)
		require.ErrorIs(t, err, ErrNoProcess)
	}
	command, err := Process{os.Getpid()}.Command()
	require.NoError(t, err)
	require.Equal(t, os.Args, command)
}

func TestAProcessThatIsGone(t *testing.T) {
	cmd := exec.Command("true")
	require.NoError(t, cmd.Run())
	p := Process{cmd.Process.Pid}
	require.False(t, p.Alive())
	_, err := p.Usage()
	require.ErrorIs(t, err, ErrNoProcess)
	_, err = p.Quiet(t.Context(), time.Millisecond)
	require.ErrorIs(t, err, ErrNoProcess)
}

func TestWhenAProcessBegan(t *testing.T) {
	before := time.Now()
	cmd := exec.CommandContext(t.Context(), "sleep", "600")
	require.NoError(t, cmd.Start())
	p := Process{cmd.Process.Pid}
	began, err := p.Began()
	require.NoError(t, err)
	require.WithinRange(t, began, before.Add(-20*time.Millisecond), time.Now())
	require.True(t, p.Alive())
	require.NoError(t, cmd.Process.Kill())
	require.Error(t, cmd.Wait())
	require.False(t, p.Alive())
	_, err = p.Began()
	require.ErrorIs(t, err, ErrNoProcess)
}

// A process that sleeps is quiet. How long one that works is waited for, the context says.
func TestQuiet(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sleep", "600")
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	p := Process{cmd.Process.Pid}
	_, err := p.Quiet(t.Context(), 100*time.Millisecond)
	require.NoError(t, err)
	stopped, stop := context.WithCancel(t.Context())
	stop()
	_, err = p.Quiet(stopped, time.Hour)
	require.ErrorIs(t, err, context.Canceled)
}

func TestDiskBytesAreThoseOfBlocks(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a", "b", "full"), make([]byte, 1<<20), 0o644))
	require.NoError(t, os.Truncate(newFile(t, filepath.Join(dir, "hole")), 1<<30))
	n, err := DiskBytes(dir)
	require.NoError(t, err)
	require.GreaterOrEqual(t, n, int64(1<<20))
	require.Less(t, n, int64(2<<20), "a hole takes nothing")
	_, err = DiskBytes(filepath.Join(dir, "nowhere"))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func newFile(t *testing.T, name string) string {
	t.Helper()
	require.NoError(t, os.WriteFile(name, nil, 0o644))
	return name
}

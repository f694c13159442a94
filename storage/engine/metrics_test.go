package engine

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/stretchr/testify/require"
)

// A flush that fails is tried again at once, thousands of times in a second.
func TestRepeatedFailuresAreLoggedNowAndThen(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(1000, 0)
	var c counters
	l := c.listener(Broker, logDir, slog.New(slog.NewTextHandler(&out, nil)), func() time.Time { return now })
	fail := func(n int, what string) {
		for i := range n {
			l.BackgroundError(fmt.Errorf("create d/log/%06d.sst: %w\n(1) attached stack trace", i, errors.New(what)))
		}
	}
	fail(1000, "no space left on device")
	fail(1, "input/output error")
	require.Equal(t, 2, strings.Count(out.String(), "\n"), out.String())
	require.NotContains(t, out.String(), "stack trace")
	out.Reset()
	now = now.Add(failureEvery)
	fail(5, "no space left on device")
	require.Equal(t, 1, strings.Count(out.String(), "\n"), out.String())
	require.Contains(t, out.String(), "times=1000")
	require.EqualValues(t, 1006, c.background.Load())
}

// Only where nothing else has what a file had is a backup to be restored.
func TestDamageIsToldWithWhatComesOfIt(t *testing.T) {
	for _, x := range []struct {
		kind   Kind
		name   string
		backup bool
	}{{Broker, logDir, true}, {Broker, tableDir, false}, {Replica, tableDir, false}} {
		var out bytes.Buffer
		var c counters
		l := c.listener(x.kind, x.name, slog.New(slog.NewTextHandler(&out, nil)), time.Now)
		l.DataCorruption(pebble.DataCorruptionInfo{Path: "d/000089.sst", Details: errors.New("checksum mismatch")})
		require.Contains(t, out.String(), "a file is damaged: ")
		require.Contains(t, out.String(), "file=d/000089.sst")
		require.Equal(t, x.backup, strings.Contains(out.String(), "restore the data directory from a backup"), out.String())
	}
}

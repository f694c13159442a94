package engine

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A flush that fails is tried again at once, thousands of times in a second.
func TestRepeatedFailuresAreLoggedNowAndThen(t *testing.T) {
	var out bytes.Buffer
	now := time.Unix(1000, 0)
	var c counters
	l := c.listener(Broker, slog.New(slog.NewTextHandler(&out, nil)), func() time.Time { return now })
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

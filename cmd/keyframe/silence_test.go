package main

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// That nothing comes is said once in each silence, and given up in the end; what is not waited for is no silence.
func TestSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		var out lockedBuffer
		s := newSilence(5*time.Second, time.Minute, &out, cancel)
		time.Sleep(time.Hour)
		s.wait(1)
		time.Sleep(4 * time.Second)
		s.wait(0)
		time.Sleep(4 * time.Second)
		require.Empty(t, out.String())
		s.wait(1) // asked, and not answered
		time.Sleep(50 * time.Second)
		require.Equal(t, "nothing came of the broker for 5s: it does not answer, or cannot write (its disk may be full)\n", out.String())
		s.wait(-1)
		time.Sleep(59 * time.Second)
		require.Equal(t, 2, strings.Count(out.String(), "\n"))
		require.NoError(t, ctx.Err())
		time.Sleep(2 * time.Second)
		synctest.Wait()
		require.ErrorContains(t, context.Cause(ctx), "nothing came of the broker for 1m0s")
		require.Equal(t, context.Cause(ctx), s.stop())
		s.wait(-1)
		s.wait(1)
		time.Sleep(time.Hour)
		require.Equal(t, 2, strings.Count(out.String(), "\n"))
	})
}

package main

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestCompactionComes: it is looked for until nothing is missing, an error ends it, and when the time is up it says what was missing last.
func TestCompactionComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		require.NoError(t, compactionComes(t.Context(), "topic", func(context.Context) (string, error) {
			if looks++; looks < 3 {
				return "much", nil
			}
			return "", nil
		}))
		require.Equal(t, 3, looks)

		broken := errors.New("broken")
		require.ErrorIs(t, compactionComes(t.Context(), "topic", func(context.Context) (string, error) { return "", broken }), broken)

		began := time.Now()
		err := compactionComes(t.Context(), "topic", func(ctx context.Context) (string, error) {
			if time.Since(began) < time.Minute {
				return "2 records are left, not 1", nil
			}
			<-ctx.Done() // as a read that comes to no end
			return "", ctx.Err()
		})
		require.EqualError(t, err, "topic was not compacted: not within 1m30s: 2 records are left, not 1")
		require.Equal(t, compactionMax, time.Since(began))

		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		err = compactionComes(ctx, "topic", func(context.Context) (string, error) { return "much", nil })
		require.ErrorIs(t, err, context.Canceled)
	})
}

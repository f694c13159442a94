package keyed

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/bench/target"
	"github.com/keyframelog/keyframe/client"
)

// Who waits for a verdict has it, also where that of a comparison which was made before is told after it; not before it was told.
func TestCountedWhateverIsToldLater(t *testing.T) {
	f, err := NewReplica(&target.Target{Config: target.Config{StateURL: "http://localhost"}}, "topic", "")
	require.NoError(t, err)
	r := f.(*replica)
	made := time.UnixMilli(1_000)
	before, v := client.Verdict{Partition: 3, Time: made.Add(-time.Millisecond)}, client.Verdict{Partition: 3, Time: made}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	r.verdict(before)
	require.ErrorIs(t, r.counted(ended, v), context.Canceled)
	r.verdict(v)
	r.verdict(before)
	require.NoError(t, r.counted(t.Context(), v))
}

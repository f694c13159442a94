package said

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/memory"
)

// What a state lacks that was said, as where its table is full, nobody compares; begun anew it lacks nothing.
func TestAStateThatLacksSomething(t *testing.T) {
	tables := func() []*memory.Table {
		return []*memory.Table{memory.New(memory.Identity{}, 0, memory.Config{Fold: fold.LastValue})}
	}
	s := New(tables(), []int64{0})
	full := errors.New("full")
	s.err = full
	require.ErrorIs(t, s.Wait(t.Context(), s.Moment()), full)
	require.NoError(t, s.Begin(tables(), []int64{0}))
	require.NoError(t, s.Wait(t.Context(), s.Moment()))
}

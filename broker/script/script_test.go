package script

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What is played keeps its events and comments, and has what came of them anew.
func TestPlay(t *testing.T) {
	var seen []Args
	got := play("Somebody comes.\n\n> join a gen=3 static\n  an earlier outcome\n> kill -\n", func(words []string) []string {
		seen = append(seen, ParseArgs(words[1:]))
		return words[:1]
	})
	require.Equal(t, "Somebody comes.\n\n> join a gen=3 static\n  join\n> kill -\n  kill\n", got)
	require.Len(t, seen, 2)
	require.Equal(t, "a", seen[0].Who)
	require.Equal(t, int32(3), seen[0].Int("gen"))
	require.True(t, seen[0].Has("static"))
	require.False(t, seen[0].Has("instance"))
	require.Empty(t, seen[1].Who)
}

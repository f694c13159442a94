package suggest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNearest(t *testing.T) {
	known := []string{"list", "create", "keyframe.fold", "keyframe.retain", "x"}
	for name, want := range map[string]string{
		"lst": "list", "LIST": "list", "craete": "create", "keyframe.flod": "keyframe.fold", "keyfram.retian": "keyframe.retain",
		"delete everything": "", "": "x", strings.Repeat("x", 1000): "",
	} {
		require.Equal(t, want, Nearest(name, known), name)
	}
	require.Empty(t, Nearest("x", nil))
}

func TestDistance(t *testing.T) {
	for pair, want := range map[[2]string]int{
		{"", ""}: 0, {"a", ""}: 1, {"", "ab"}: 2, {"kitten", "sitting"}: 3, {"flaw", "lawn"}: 2, {"same", "same"}: 0,
	} {
		require.Equal(t, want, distance(pair[0], pair[1]), pair)
	}
}

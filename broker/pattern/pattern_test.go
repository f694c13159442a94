package pattern

import (
	"regexp/syntax"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCompile(t *testing.T) {
	for _, ok := range []string{"", "a", "a|b", "a.*", `(?i)orders-\d{1,19}`, "^a$", strings.Repeat("name-of-a-topic|", 1000), "(ab{100}){9}"} {
		re, err := Compile(ok)
		require.NoError(t, err, "%.40q", ok)
		require.False(t, re.MatchString("no such text\n"))
	}
	re, err := Compile("a|bc")
	require.NoError(t, err)
	for text, want := range map[string]bool{"a": true, "bc": true, "ac": false, "ab": false, "xa": false, "bcx": false, "a\n": false} {
		require.Equal(t, want, re.MatchString(text), "%q", text)
	}
	re, err = Compile(`\Qorders.v1|a`) // quoted to its end
	require.NoError(t, err)
	require.True(t, re.MatchString("orders.v1|a"))
	require.False(t, re.MatchString("a"))
	require.False(t, re.MatchString("ordersxv1|a"))
	var bad *syntax.Error
	for _, wrong := range []string{"(", "a)(b", "[", "x{1001}", "a{2,1}", `\`} {
		_, err := Compile(wrong)
		require.ErrorAs(t, err, &bad, "%q", wrong)
	}
}

// An expression is refused before it takes memory.
func TestCompileBounds(t *testing.T) {
	for _, large := range []string{strings.Repeat("x{1000}", 2000), strings.Repeat("(x{0,1000})", 100), `(\pL{500}){2}`, strings.Repeat(`\pL`, 5000),
		strings.Repeat("x", 1<<14+1), strings.Repeat("(bc{500})", 80)} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Compile(large)
		runtime.ReadMemStats(&after)
		require.ErrorIs(t, err, ErrTooLarge, "%.40q", large)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(100<<20), "%.40q", large)
	}
}

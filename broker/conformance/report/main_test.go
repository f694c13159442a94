package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func summarize(t *testing.T, events ...string) (*summary, string) {
	t.Helper()
	var shown bytes.Buffer
	s, err := read(strings.NewReader(strings.Join(events, "\n")), &shown)
	require.NoError(t, err)
	return s, shown.String()
}

const brokerLine = `{"Action":"output","Output":"broker: Keyframe at x\n"}`

// Leaves are counted, whoever they are children of.
func TestCountsLeaves(t *testing.T) {
	s, shown := summarize(t, brokerLine,
		`{"Action":"run","Test":"A"}`, `{"Action":"run","Test":"A/1"}`, `{"Action":"run","Test":"A/1/x"}`, `{"Action":"run","Test":"B"}`,
		`{"Action":"output","Test":"B","Output":"=== RUN B\n"}`,
		`{"Action":"pass","Test":"A/1/x"}`, `{"Action":"pass","Test":"A/1"}`, `{"Action":"pass","Test":"A"}`, `{"Action":"pass","Test":"B"}`)
	require.ElementsMatch(t, []string{"A/1/x", "B"}, s.passed)
	require.True(t, s.good())
	require.Empty(t, shown)
	var out bytes.Buffer
	s.print(&out, time.Second)
	require.Equal(t, "conformance: 2 tests ran, 2 passed, 0 failed, 0 skipped, in 1 s\non Keyframe at x\n", out.String())
}

func TestWhatIsNotGood(t *testing.T) {
	for name, test := range map[string]struct {
		events          []string
		failed, skipped []string
		shown           string
	}{
		"a failed leaf": {[]string{brokerLine, `{"Action":"run","Test":"A/1"}`, `{"Action":"output","Test":"A/1","Output":"why\n"}`,
			`{"Action":"fail","Test":"A/1"}`, `{"Action":"fail","Test":"A"}`}, []string{"A/1"}, nil, "why"},
		"a parent that failed by itself": {[]string{brokerLine, `{"Action":"run","Test":"A/1"}`, `{"Action":"pass","Test":"A/1"}`, `{"Action":"fail","Test":"A"}`},
			[]string{"A"}, nil, ""},
		"a skip": {[]string{brokerLine, `{"Action":"pass","Test":"B"}`, `{"Action":"run","Test":"A"}`, `{"Action":"output","Test":"A","Output":"because\n"}`,
			`{"Action":"skip","Test":"A"}`}, nil, []string{"A"}, "because"},
		"a process that ended": {[]string{brokerLine, `{"Action":"run","Test":"A"}`, `{"Action":"output","Test":"A","Output":"panic: x\n"}`}, []string{"A"}, nil, "panic"},
		"no broker":            {[]string{`{"Action":"pass","Test":"A"}`}, nil, nil, ""},
		"no tests":             {[]string{brokerLine}, nil, nil, ""},
		"does not build":       {[]string{`{"Action":"build-output","Output":"undefined: x\n"}`, "not JSON"}, nil, nil, "undefined"},
	} {
		t.Run(name, func(t *testing.T) {
			s, shown := summarize(t, test.events...)
			require.False(t, s.good())
			require.Equal(t, test.failed, s.failed)
			require.Equal(t, test.skipped, s.skipped)
			require.Contains(t, shown, test.shown)
		})
	}
}

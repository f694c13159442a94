// Package script plays conversations with a state machine that are kept in files and read as diffs, for tests. Lines that begin with
// "> " are events, the lines below each, indented, are what came of it; all others are for the reader.
//
//	Two members come and the first one leads.
//
//	> join a proto=range
//	  a: generation 1, leader a
//
// With the flag -update a test writes its files anew.
package script

import (
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Updating says whether the tests are to write their golden files anew.
func Updating() bool { return *update }

// Play plays the files that match pattern, each in a subtest and against a machine of its own: start makes it, and returns what does an
// event and says what came of it, line by line.
func Play(t *testing.T, pattern string, start func(*testing.T) (do func(words []string) []string)) {
	files, err := filepath.Glob(pattern)
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), filepath.Ext(file)), func(t *testing.T) {
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			got := play(string(want), start(t))
			if Updating() {
				require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
				return
			}
			require.Equal(t, string(want), got)
		})
	}
}

// play runs the events of a script and returns it with their outcomes.
func play(script string, do func(words []string) []string) string {
	var out strings.Builder
	for line := range strings.Lines(script) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "> "):
			out.WriteString(line + "\n")
			for _, o := range do(strings.Fields(line[2:])) {
				out.WriteString("  " + o + "\n")
			}
		case strings.HasPrefix(line, "  "): // an earlier outcome
		default:
			out.WriteString(line + "\n")
		}
	}
	return out.String()
}

// Args are the words behind the name of an event: who does it, "-" for nobody, and options as name=value or name.
type Args struct {
	Who     string
	options map[string]string
}

// ParseArgs parses the words.
func ParseArgs(words []string) Args {
	a := Args{options: map[string]string{}}
	for i, w := range words {
		key, value, _ := strings.Cut(w, "=")
		if i == 0 {
			if w != "-" {
				a.Who = w
			}
			continue
		}
		a.options[key] = value
	}
	return a
}

// Get is an option's value; "" where it is not given.
func (a Args) Get(key string) string { return a.options[key] }

// Has says whether an option is given.
func (a Args) Has(key string) bool {
	_, ok := a.options[key]
	return ok
}

// Int is an option's value as a number; 0 where it is not given, or is none.
func (a Args) Int(key string) int32 {
	n, _ := strconv.Atoi(a.options[key])
	return int32(n)
}

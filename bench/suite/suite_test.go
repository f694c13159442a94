package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/compare"
	"github.com/keyframelog/keyframe/bench/footprint"
	"github.com/keyframelog/keyframe/bench/launch"
	"github.com/keyframelog/keyframe/bench/result"
	"github.com/keyframelog/keyframe/bench/scale"
	"github.com/keyframelog/keyframe/bench/target"
)

func pair(a, b, cpuA, cpuB float64) compare.Pair {
	run := func(name string, mbps, cpu float64) *result.Result {
		r := result.New("produce", nil)
		r.Add("throughput", mbps, "MB/s", result.Higher)
		r.Add("broker CPU", cpu, "s/GB", result.Lower)
		return r.End(result.Target{Name: name, Command: []string{"/somewhere/" + name}})
	}
	return compare.Pair{A: run("keyframe", a, cpuA), B: run("kafka", b, cpuB)}
}

func TestWhatCostsLessIsTimesBetter(t *testing.T) {
	r := row{name: "x", title: "produce", aims: []aim{{"throughput", 1.2}, {"broker CPU", atMost(0.5)}, {"nowhere", 1}}}
	m := r.judge(compare.Of([]compare.Pair{pair(130, 100, 1, 4), pair(120, 100, 2, 4), pair(150, 100, 1, 2)}))
	require.Len(t, m.Lines, 2, "what was not measured is not told")
	require.InDelta(t, 1.3, m.Lines[0].Times.Median, 1e-9)
	require.InDelta(t, 2, m.Lines[1].Times.Median, 1e-9)
	require.True(t, m.kept())
	require.Empty(t, m.A.Command, "paths of the machine stay there")
	require.False(t, r.judge(compare.Of([]compare.Pair{pair(110, 100, 1, 4)})).kept())
	require.False(t, r.judge(compare.Of([]compare.Pair{pair(130, 100, 3, 4)})).kept())
}

// What ours is to be at most stands beside what it is to be in times the peer's; either may be missed.
func TestBoundsOfOurs(t *testing.T) {
	r := row{name: "x", title: "produce", aims: []aim{{"throughput", 1}}, bounds: []bound{{"throughput", 500}, {"broker CPU", 2}, {"nowhere", 1}}}
	m := r.judge(compare.Of([]compare.Pair{pair(130, 100, 2, 1)}))
	require.True(t, m.kept())
	require.Len(t, m.Lines, 2)
	require.Equal(t, ">= 1.00, <= 500 MB/s", m.Lines[0].aim())
	require.Equal(t, "<= 2.00 s/GB", m.Lines[1].aim())
	require.False(t, r.judge(compare.Of([]compare.Pair{pair(501, 100, 2, 1)})).kept())
	require.False(t, r.judge(compare.Of([]compare.Pair{pair(130, 100, 2.1, 1)})).kept())
}

// A run of some rows leaves what was measured of the others, and the text around the table.
func TestRowsAreKept(t *testing.T) {
	dir := t.TempDir()
	file, readme := filepath.Join(dir, "table.json"), filepath.Join(dir, "README.md")
	require.NoError(t, os.WriteFile(readme, []byte("before\n"+begin+"\nold\n"+end+"\nafter\n"), 0o644))
	all := rows()
	for _, r := range []row{all[1], all[0]} {
		table, err := readTable(file)
		require.NoError(t, err)
		r.aims = []aim{{"throughput", 1.2}}
		table.put(r.judge(compare.Of([]compare.Pair{pair(100, 100, 1, 1)})))
		require.NoError(t, table.write(file, readme))
	}
	text, err := os.ReadFile(readme)
	require.NoError(t, err)
	require.Regexp(t, `(?s)^before\n`+begin+`\n\| workload.*produce 1 KiB.*\*\*missed\*\*.*produce 100 B.*`+end+`\nafter\n$`, string(text))
	require.NotContains(t, string(text), "old")
	require.NoError(t, os.WriteFile(readme, []byte("no marks"), 0o644))
	table, err := readTable(file)
	require.NoError(t, err)
	require.ErrorContains(t, table.write(file, readme), "no place for the table")
}

// What a scaling row tells and bounds its runs have: the names of figures are made in two places.
func TestScalingRowsTellFiguresThatThereAre(t *testing.T) {
	for _, r := range scaleRows() {
		w, ok := r.ours.(scale.Config)
		if !ok {
			continue
		}
		small := scale.Config{Against: w.Against}
		for _, s := range w.Steps {
			small.Steps = append(small.Steps, scale.Step{At: s.At, Workload: figuresOf(r)})
		}
		got, err := small.Run(t.Context(), nil, bench.Silent)
		require.NoError(t, err)
		for _, a := range r.aims {
			_, ok := got.Figure(a.figure)
			require.True(t, ok, "%s: %s", r.name, a.figure)
		}
		for _, b := range r.bounds {
			_, ok := got.Figure(b.figure)
			require.True(t, ok, "%s: %s", r.name, b.figure)
		}
	}
}

// figuresOf is a workload that has the figures whose growth a row tells.
type figuresOf row

func (f figuresOf) Run(context.Context, *target.Target, bench.Progress) (*result.Result, error) {
	r := result.New("figures", nil)
	for _, a := range f.aims {
		if name, ok := strings.CutPrefix(a.figure, "growth of "); ok {
			r.Add(name, 1, "", result.Lower)
		}
	}
	return r, nil
}

// A row that starts its brokers itself starts them by the command of its side, at every step.
func TestStartedIn(t *testing.T) {
	command := launch.Parse("other {dir} {port}")
	for _, r := range rows() {
		if !r.starts {
			continue
		}
		started := []bench.Workload{startedIn(r.ours, "here", command)}
		if w, ok := started[0].(scale.Config); ok {
			started = nil
			for _, s := range w.Steps {
				started = append(started, s.Workload)
			}
		}
		for _, w := range started {
			require.Equal(t, command, w.(footprint.Config).Start)
			require.Equal(t, "here", w.(footprint.Config).Dir)
		}
	}
}

// A quick row makes sense as the whole one does.
func TestQuickRowsAreValid(t *testing.T) {
	var valid func(w bench.Workload)
	valid = func(w bench.Workload) {
		switch w := w.(type) {
		case scale.Config:
			for _, s := range w.Steps {
				valid(s.Workload)
			}
		case footprint.Config:
			require.NoError(t, w.StartedBy(launch.Keyframe("keyframe")).(footprint.Config).Validate())
		case interface{ Validate() error }:
			require.NoError(t, w.Validate())
		}
	}
	for _, r := range rows() {
		for _, r := range []row{r, r.quick()} {
			valid(r.ours)
			valid(r.theirs)
		}
	}
}

func TestRowsHaveNamesOfTheirOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range rows() {
		require.False(t, seen[r.name], r.name)
		seen[r.name] = true
		require.NotEmpty(t, r.aims, r.name)
	}
}

// A peer that is a program says what it measured; one that fails, or says something else, is an error.
func TestAPeerThatIsAProgram(t *testing.T) {
	file := filepath.Join(t.TempDir(), "result.json")
	data, err := json.Marshal(pair(1, 2, 3, 4).B)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, data, 0o644))
	r, err := jetstream{program: "cat", args: []string{file}}.Run(t.Context(), nil, nil)
	require.NoError(t, err)
	throughput, _ := r.Figure("throughput")
	require.Equal(t, 2.0, throughput.Value)
	_, err = jetstream{program: "false"}.Run(t.Context(), nil, nil)
	require.ErrorContains(t, err, "exit status 1")
	_, err = jetstream{program: "true"}.Run(t.Context(), nil, nil)
	require.ErrorContains(t, err, "printed no result")
	for _, r := range jetstreamRows() {
		require.NoError(t, r.ours.(interface{ Validate() error }).Validate(), r.name)
	}
}

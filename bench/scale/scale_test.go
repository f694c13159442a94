package scale_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/footprint"
	"github.com/keyframelog/keyframe/bench/launch"
	"github.com/keyframelog/keyframe/bench/result"
	"github.com/keyframelog/keyframe/bench/scale"
	"github.com/keyframelog/keyframe/bench/target"
)

// grows is a workload whose cost is that of its keys; it fails with none.
type grows struct{ Keys int }

func (g grows) Run(_ context.Context, _ *target.Target, p bench.Progress) (*result.Result, error) {
	if g.Keys == 0 {
		return nil, errors.New("no keys")
	}
	p.Phase("run", 0, "")
	r := result.New("grows", g)
	r.Add("cost", 2*float64(g.Keys), "ms", result.Lower)
	r.Add("flat", 3, "MB", result.Lower)
	r.Add("told", 1, "", "")
	if g.Keys > 10 {
		r.Add("only late", 1, "ms", result.Lower)
	}
	return r.End(result.Target{Name: "x"}), nil
}

func figure(name string, v float64, unit string) result.Figure {
	return result.Figure{Name: name, Value: v, Unit: unit, Better: result.Lower}
}

type phases struct {
	bench.Progress
	names []string
}

func (p *phases) Phase(name string, _ int64, _ string) { p.names = append(p.names, name) }

func TestHowFiguresGrow(t *testing.T) {
	w, err := scale.New("keys", []scale.Step{{10, grows{10}}, {100, grows{100}}, {1000, grows{1000}}})
	require.NoError(t, err)
	p := &phases{Progress: bench.Silent}
	r, err := w.Run(t.Context(), nil, p)
	require.NoError(t, err)
	require.Equal(t, []string{"keys 10: run", "keys 100: run", "keys 1k: run"}, p.names)
	require.Equal(t, "grows against keys", r.Workload)
	require.Equal(t, []result.Figure{
		figure("growth of cost", 100, "x"), figure("growth of flat", 1, "x"),
		figure("cost at keys 10", 20, "ms"), figure("cost at keys 100", 200, "ms"), figure("cost at keys 1k", 2000, "ms"),
		figure("flat at keys 10", 3, "MB"), figure("flat at keys 100", 3, "MB"), figure("flat at keys 1k", 3, "MB"),
	}, r.Figures)
	steps := []float64{10, 100, 1000}
	require.Equal(t, []result.Series{
		{Name: "cost", Plot: "cost against state size", X: steps, Y: []float64{1, 10, 100}, XUnit: "keys", YUnit: "times the first step"},
		{Name: "flat", Plot: "cost against state size", X: steps, Y: []float64{1, 1, 1}, XUnit: "keys", YUnit: "times the first step"},
		{Name: "cost against state size", X: steps, Y: []float64{20, 200, 2000}, XUnit: "keys", YUnit: "ms"},
		{Name: "flat against state size", X: steps, Y: []float64{3, 3, 3}, XUnit: "keys", YUnit: "MB"},
	}, r.Series)
	require.Equal(t, "x", r.Target.Name)
}

func TestAStepThatFailsIsNamed(t *testing.T) {
	w, err := scale.New("keys", []scale.Step{{0, grows{}}, {1.5, grows{1}}})
	require.NoError(t, err)
	_, err = w.Run(t.Context(), nil, bench.Silent)
	require.ErrorContains(t, err, "at keys 0: no keys")
	for _, steps := range [][]scale.Step{nil, {{1, grows{1}}}, {{2, grows{1}}, {1, grows{1}}}} {
		_, err := scale.New("keys", steps)
		require.ErrorContains(t, err, "two steps at least, ascending")
	}
}

// A workload that starts its brokers itself starts others at every step.
func TestOtherBrokers(t *testing.T) {
	w, err := scale.New("bytes", []scale.Step{{1, footprint.DefaultConfig()}, {2, footprint.DefaultConfig()}})
	require.NoError(t, err)
	other := launch.Parse("other {dir} {port}")
	for _, s := range w.StartedBy(other).(scale.Config).Steps {
		require.Equal(t, other, s.Workload.(footprint.Config).Start)
	}
	require.Nil(t, w.Steps[0].Workload.(footprint.Config).Start)
}

package compare

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/result"
	"github.com/keyframelog/keyframe/bench/target"
)

// script is a workload that says what it was told to, and notes when it ran.
type script struct {
	name       string
	durability string
	values     []float64
	ran        *[]string
}

func (s *script) Run(_ context.Context, t *target.Target, p bench.Progress) (*result.Result, error) {
	*s.ran = append(*s.ran, s.name)
	if len(s.values) == 0 {
		return nil, errors.New("nothing left")
	}
	r := result.New("script", nil)
	r.Add("throughput", s.values[0], "MB/s", result.Higher)
	if s.name == "A" {
		r.Add("only here", 1, "", "")
	}
	s.values = s.values[1:]
	return r.End(t.Describe(s.durability)), nil
}

func sides(ran *[]string, durability string, a, b []float64) (Side, Side) {
	return Side{&target.Target{Config: target.Config{Name: "A"}}, &script{"A", "fsync", a, ran}},
		Side{&target.Target{Config: target.Config{Name: "B"}}, &script{"B", durability, b, ran}}
}

func TestPairsInTurn(t *testing.T) {
	var ran []string
	a, b := sides(&ran, "fsync", []float64{10, 40, 30, 8}, []float64{10, 20, 10, 16})
	c, err := Run(t.Context(), a, b, 4, bench.Silent)
	require.NoError(t, err)
	require.Equal(t, []string{"A", "B", "A", "B", "A", "B", "A", "B"}, ran)
	require.Empty(t, c.Unlike)
	require.Len(t, c.Figures, 1, "what one side alone has cannot be compared")
	f, ok := c.Figure("throughput")
	require.True(t, ok)
	require.Equal(t, []float64{1, 2, 3, 0.5}, f.Ratios, "of each pair, not of the medians")
	require.Equal(t, Spread{1.5, 0.5, 3}, f.Ratio)
	require.Equal(t, Spread{20, 8, 40}, f.A)
	require.Equal(t, Spread{13, 10, 20}, f.B)
}

func TestUnlikeDurabilityIsSaid(t *testing.T) {
	var ran []string
	a, b := sides(&ran, "page cache", []float64{1}, []float64{1})
	c, err := Run(t.Context(), a, b, 1, bench.Silent)
	require.NoError(t, err)
	require.Contains(t, c.Unlike, "A: fsync; B: page cache")
}

func TestHalfAComparisonIsNone(t *testing.T) {
	var ran []string
	a, b := sides(&ran, "fsync", []float64{1, 2}, []float64{1})
	_, err := Run(t.Context(), a, b, 2, bench.Silent)
	require.ErrorContains(t, err, "B, pair 2: nothing left")
	_, err = Run(t.Context(), a, b, 0, bench.Silent)
	require.Error(t, err)
}

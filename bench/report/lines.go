package report

import (
	"image/color"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"

	"github.com/keyframelog/keyframe/bench/result"
)

// line is a series of one run in a plot.
type line struct {
	run
	result.Series
	name  string // in the legend
	color color.Color
	dash  []vg.Length
}

// linesOf are the lines of each plot, in the order in which the first run has them: a series has a plot of its own, or shares one.
func linesOf(runs []run) (plots [][]line) {
	title := func(s result.Series) string {
		if s.Plot != "" {
			return s.Plot
		}
		return s.Name
	}
	sides := slices.ContainsFunc(runs, func(r run) bool { return r.side > 0 })
	at := map[string]int{}
	for _, s := range runs[0].Series {
		if _, ok := at[title(s)]; !ok {
			at[title(s)] = len(plots)
			plots = append(plots, nil)
		}
	}
	for _, r := range runs {
		kinds := map[string]int{}
		for _, s := range r.Series {
			i, ok := at[title(s)]
			if !ok {
				continue // the first run has none to compare it with
			}
			l := line{run: r, Series: s, name: r.name, color: colors[r.side]}
			if kind := kinds[s.Plot]; s.Plot != "" {
				kinds[s.Plot]++
				if l.name = s.Name; sides {
					l.name, l.dash = r.name+": "+s.Name, dashes[kind%len(dashes)]
				} else {
					l.color = colors[kind%len(colors)]
				}
			}
			l.Series.Name = title(s)
			plots[i] = append(plots[i], l)
		}
	}
	return plots
}

// dashes tell the series of a plot apart where colors tell the sides apart.
var dashes = [][]vg.Length{nil, {6, 3}, {2, 2}, {8, 3, 2, 3}, {12, 4}, {1, 3}, {10, 3, 2, 3, 2, 3}}

// Spans from which on an axis is drawn in powers: steps of what there is more and more of, and values that would lie on the axis.
const (
	logStepsFrom  = 10
	logValuesFrom = 20
)

// drawLines draws one plot. Over time it begins at zero. Over steps of something there is more and more of, the steps stand as far apart as they are
// times each other: what grows with them rises evenly, and what does not is flat.
func drawLines(lines []line) (drawing, error) {
	first := lines[0].Series
	p := newPlot(first.Name, first.XUnit, first.YUnit)
	p.Y.Min = 0
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.TickerFunc(evenTicks), plot.TickerFunc(evenTicks)
	var xs, ys []float64
	for _, l := range lines {
		xs, ys = append(xs, l.X...), append(ys, l.Y...)
	}
	steps := first.XUnit != secondsUnit && spans(xs, logStepsFrom)
	logY := steps && spans(ys, logValuesFrom)
	if steps {
		p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, stepTicks(xs)
	}
	if logY {
		p.Y.Min = slices.Min(ys)
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	}
	for _, l := range lines {
		if err := addLine(p, l, points(l.X, l.Y)); err != nil {
			return drawing{}, err
		}
	}
	return render(p, first.Name)
}

// secondsUnit is the axis of time.
const secondsUnit = "s"

// spans tells whether numbers, all above zero, reach from one to so many times as much.
func spans(v []float64, times float64) bool {
	if len(v) == 0 || slices.ContainsFunc(v, func(x float64) bool { return !(x > 0) || math.IsInf(x, 0) }) {
		return false
	}
	return slices.Max(v) >= times*slices.Min(v)
}

// stepTicks are the steps themselves.
func stepTicks(xs []float64) plot.ConstantTicks {
	var ticks plot.ConstantTicks
	for _, x := range slices.Compact(slices.Sorted(slices.Values(xs))) {
		ticks = append(ticks, plot.Tick{Value: x, Label: tickLabel(x)})
	}
	return ticks
}

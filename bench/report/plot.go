package report

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/keyframelog/keyframe/bench/result"
)

// run is one of those that are drawn into one plot.
type run struct {
	name string
	side int // 0 or 1
	no   int // of its pair
	*result.Result
}

type drawing struct {
	title string
	svg   []byte
}

// colors are those of the two sides, and where there is one, of its series: told apart by who sees no red or no green, too (Okabe and Ito).
var colors = []color.Color{
	color.RGBA{0x00, 0x6d, 0xb0, 0xff}, color.RGBA{0xd9, 0x5f, 0x02, 0xff}, color.RGBA{0x00, 0x9e, 0x73, 0xff}, color.RGBA{0xcc, 0x79, 0xa7, 0xff},
	color.RGBA{0xe6, 0x9f, 0x00, 0xff}, color.RGBA{0x56, 0xb4, 0xe9, 0xff}, color.RGBA{0x00, 0x00, 0x00, 0xff}, color.RGBA{0x88, 0x88, 0x88, 0xff},
}

const (
	width  = 22 * vg.Centimeter
	height = 9 * vg.Centimeter
	margin = 0.5 * vg.Centimeter

	legendWidth = 6 * vg.Centimeter
)

// drawAll makes the plots of all series that the runs have, and one of each latency.
func drawAll(runs []run) (out []drawing, err error) {
	for _, lines := range linesOf(runs) {
		d, err := drawLines(lines)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	for i, l := range runs[0].Latency {
		d, err := drawLatency(runs, i, l.Name+" percentiles")
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// drawLatency draws percentiles so that each further nine has the same room: what is rare is what matters.
func drawLatency(runs []run, i int, name string) (drawing, error) {
	p := newPlot(name, "percentile", "ms")
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.X.Tick.Marker = plot.ConstantTicks{{Value: 0, Label: "0"}, {Value: 1, Label: "90"}, {Value: 2, Label: "99"}, {Value: 3, Label: "99.9"}, {Value: 4, Label: "99.99"}, {Value: 5, Label: "99.999"}}
	for _, r := range runs {
		if i >= len(r.Latency) {
			continue
		}
		var x, y []float64
		for _, q := range r.Latency[i].Distribution {
			if q.Percent < 100 && q.Ms > 0 {
				x, y = append(x, -math.Log10(1-q.Percent/100)), append(y, q.Ms)
			}
		}
		if err := addLine(p, line{run: r, name: r.name, color: colors[r.side]}, points(x, y)); err != nil {
			return drawing{}, err
		}
	}
	return render(p, name)
}

func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.Padding = vg.Points(6)
	for _, style := range []*draw.TextStyle{&p.Title.TextStyle, &p.X.Label.TextStyle, &p.Y.Label.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label, &p.Legend.TextStyle} {
		style.Font.Variant = "Sans"
	}
	p.Legend.Top, p.Legend.Left, p.Legend.Padding = true, true, vg.Points(3)
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = color.Gray{0xe6}, color.Gray{0xe6}
	p.Add(grid)
	return p
}

// addLine draws one line; the first of a side stands in the legend.
func addLine(p *plot.Plot, l line, xy plotter.XYs) error {
	if len(xy) == 0 {
		return nil
	}
	drawn, marks, err := plotter.NewLinePoints(xy)
	if err != nil {
		return fmt.Errorf("%s: %w", p.Title.Text, err)
	}
	drawn.Color, drawn.Width, drawn.Dashes = l.color, vg.Points(1.2), l.dash
	marks.Color, marks.Radius, marks.Shape = l.color, vg.Points(1.5), draw.CircleGlyph{}
	p.Add(drawn)
	if len(xy) <= 12 {
		p.Add(marks)
	}
	if l.no == 0 {
		p.Legend.Add(l.name, drawn)
	}
	return nil
}

func points(x, y []float64) plotter.XYs {
	out := make(plotter.XYs, 0, len(x))
	for i := range min(len(x), len(y)) {
		if !math.IsNaN(y[i]) && !math.IsInf(y[i], 0) {
			out = append(out, plotter.XY{X: x[i], Y: y[i]})
		}
	}
	return out
}

// evenTicks are some six, at round numbers.
func evenTicks(least, most float64) (ticks []plot.Tick) {
	step := math.Pow(10, math.Floor(math.Log10((most-least)/6)))
	for _, more := range []float64{2, 2.5, 2} { // 1, 2, 5, 10
		if (most-least)/step > 7 {
			step *= more
		}
	}
	for i := math.Ceil(least / step); i*step <= most; i++ {
		ticks = append(ticks, plot.Tick{Value: i * step, Label: tickLabel(i * step)})
	}
	return ticks
}

// tickLabel writes large numbers short.
func tickLabel(v float64) string {
	for _, unit := range []struct {
		of   float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if math.Abs(v) >= 10*unit.of || math.Abs(v) >= unit.of && unit.of > 1e3 {
			return strconv.FormatFloat(v/unit.of, 'f', -1, 64) + unit.name
		}
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// headroom is what lies above the highest value.
const headroom = 1.05

func render(p *plot.Plot, title string) (drawing, error) {
	p.Y.Max *= headroom
	if p.Y.Max <= p.Y.Min { // a line at zero
		p.Y.Max = p.Y.Min + 1
	}
	if _, log := p.Y.Scale.(plot.LogScale); log {
		p.Y.Max *= 2
		if p.Y.Max < 4*p.Y.Min { // what is flat is to look so
			p.Y.Min, p.Y.Max = p.Y.Min/4, p.Y.Max*4
		}
	}
	c := vgsvg.New(width, height)
	// The legend stands beside the lines, where it hides none. Its texts begin at one edge: how long they are a browser's font decides.
	legend, all := p.Legend, draw.New(c)
	p.Legend = plot.NewLegend()
	p.Draw(draw.Crop(all, 0, -legendWidth, 0, -margin))
	legend.Draw(draw.Crop(all, width-legendWidth+margin, 0, 0, -2*margin))
	var svg bytes.Buffer
	if _, err := c.WriteTo(&svg); err != nil {
		return drawing{}, err
	}
	// Inside a page an SVG begins with its element.
	data := svg.Bytes()
	if i := bytes.Index(data, []byte("<svg")); i > 0 {
		data = data[i:]
	}
	return drawing{title, data}, nil
}

// Package report writes what was measured as one page that stands alone: the answer first, then plots, figures, and everything that is needed to
// repeat it.
//
//	err := report.Write(dir, report.Data{Comparisons: []*compare.Comparison{c}})
//
// In the directory are index.html, which needs nothing beside it, the plots as SVG files of their own, and data.json, which has all that was measured.
package report

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"strings"

	"github.com/keyframelog/keyframe/bench/compare"
	"github.com/keyframelog/keyframe/bench/result"
)

// Data is what a report is about.
type Data struct {
	Comparisons []*compare.Comparison `json:"comparisons,omitempty"`
	Results     []*result.Result      `json:"results,omitempty"`
}

// Write makes the directory, if it is not there, and writes the report into it. Errors: those of the file system, and of data that cannot be drawn.
func Write(dir string, d Data) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	page, err := newPage(d)
	if err != nil {
		return err
	}
	raw, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	page.Raw = string(raw)
	var html bytes.Buffer
	if err := pageTemplate.Execute(&html, page); err != nil {
		return err
	}
	files := map[string][]byte{"index.html": html.Bytes(), "data.json": raw}
	for _, s := range page.Sections {
		for _, p := range s.Plots {
			files[p.File] = []byte(p.SVG)
		}
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

//go:embed page.html
var pageHTML string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{"quantity": Quantity, "ratio": Ratio}).Parse(pageHTML))

// page is what the template shows.
type page struct {
	Title    string
	Machine  result.Machine
	Answers  []answer
	Sections []section
	Raw      string
}

// answer is the line at the top: how the figure that a workload is about came out.
type answer struct {
	Workload, Figure, Unit string
	A, B                   string // names
	AValue, BValue         float64
	Times                  float64 // how many times better A is; below 1: worse
	Low, High              float64 // of the pairs
	Bar                    float64 // percent of the width
	Unlike                 string
	Anchor                 string
}

// section is one comparison, or the runs of one workload against one target.
type section struct {
	Anchor, Title, Unlike string
	Targets               []result.Target
	Figures               []row
	Plots                 []plotted
	Config                string
	Pairs                 int
}

type row struct {
	Name, Unit string
	Values     []float64 // of a comparison: the medians of A and B
	Ratio      *compare.Spread
	Pairs      []float64
}

type plotted struct {
	File string
	SVG  template.HTML
}

func newPage(d Data) (*page, error) {
	p := &page{Title: "Benchmark"}
	for i, c := range d.Comparisons {
		s, err := comparisonSection(c, fmt.Sprintf("c%d-%s", i+1, fileName(c.Workload)))
		if err != nil {
			return nil, err
		}
		p.Sections = append(p.Sections, *s)
		p.Answers = append(p.Answers, answerOf(c, s.Anchor))
		p.Machine = c.Pairs[0].A.Machine
	}
	for i, r := range d.Results {
		s, err := resultSection(r, fmt.Sprintf("r%d-%s", i+1, fileName(r.Workload)))
		if err != nil {
			return nil, err
		}
		p.Sections = append(p.Sections, *s)
		p.Machine = r.Machine
	}
	p.scale()
	return p, nil
}

// answerOf is about the first figure of a comparison.
func answerOf(c *compare.Comparison, anchor string) answer {
	if len(c.Figures) == 0 {
		return answer{Workload: c.Workload, A: c.A.Name, B: c.B.Name, Unlike: c.Unlike, Anchor: anchor}
	}
	f := c.Figures[0]
	times := f.Times()
	return answer{Workload: c.Workload, Figure: f.Name, Unit: f.Unit, A: c.A.Name, B: c.B.Name, AValue: f.A.Median, BValue: f.B.Median,
		Times: times.Median, Low: times.Min, High: times.Max, Unlike: c.Unlike, Anchor: anchor}
}

// scale gives the best answer the whole width.
func (p *page) scale() {
	most := 1.0
	for _, a := range p.Answers {
		most = max(most, a.Times)
	}
	for i := range p.Answers {
		p.Answers[i].Bar = 100 * p.Answers[i].Times / most
	}
}

func comparisonSection(c *compare.Comparison, anchor string) (*section, error) {
	s := &section{Anchor: anchor, Title: fmt.Sprintf("%s: %s and %s", c.Workload, c.A.Name, c.B.Name), Unlike: c.Unlike, Targets: []result.Target{c.A, c.B}, Pairs: len(c.Pairs)}
	for _, f := range c.Figures {
		s.Figures = append(s.Figures, row{f.Name, f.Unit, []float64{f.A.Median, f.B.Median}, &f.Ratio, f.Ratios})
	}
	var runs []run
	for i, pair := range c.Pairs {
		runs = append(runs, run{c.A.Name, 0, i, pair.A}, run{c.B.Name, 1, i, pair.B})
	}
	return s, s.finish(runs)
}

func resultSection(r *result.Result, anchor string) (*section, error) {
	s := &section{Anchor: anchor, Title: r.Workload + ": " + r.Target.Name, Targets: []result.Target{r.Target}}
	for _, f := range r.Figures {
		s.Figures = append(s.Figures, row{f.Name, f.Unit, []float64{f.Value}, nil, nil})
	}
	return s, s.finish([]run{{r.Target.Name, 0, 0, r}})
}

// finish adds the config and the plots.
func (s *section) finish(runs []run) error {
	config, err := json.MarshalIndent(runs[0].Config, "", "  ")
	if err != nil {
		return err
	}
	s.Config = string(config)
	plots, err := drawAll(runs)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Title, err)
	}
	for _, p := range plots {
		name := s.Anchor + "-" + fileName(p.title) + ".svg"
		s.Plots = append(s.Plots, plotted{name, template.HTML(p.svg)}) //nolint:gosec // our own drawing, whose texts its writer escapes
	}
	return nil
}

// fileName is what a name becomes in those of files and links.
func fileName(s string) string { return strings.Map(fileRune, strings.ToLower(s)) }

func fileRune(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
		return r
	}
	return '-'
}

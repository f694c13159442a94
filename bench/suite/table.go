package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/keyframelog/keyframe/bench/compare"
	"github.com/keyframelog/keyframe/bench/report"
	"github.com/keyframelog/keyframe/bench/result"
)

const (
	tableFile  = "bench/table.json"
	readmeFile = "bench/README.md"
)

// measured is what came of a row.
type measured struct {
	Name     string         `json:"name"`
	Title    string         `json:"title"`
	Date     string         `json:"date"`
	Keyframe string         `json:"keyframe"` // version
	Machine  result.Machine `json:"machine"`
	Pairs    int            `json:"pairs"`
	A        result.Target  `json:"a"`
	B        result.Target  `json:"b"`
	Lines    []line         `json:"lines"`
}

// line is one figure of it.
type line struct {
	Figure string         `json:"figure"`
	Unit   string         `json:"unit"`
	Better result.Better  `json:"better"`
	A      compare.Spread `json:"a"`
	B      compare.Spread `json:"b"`
	Times  compare.Spread `json:"times"`          // better
	Aim    float64        `json:"aim,omitempty"`  // Times at least
	Most   float64        `json:"most,omitempty"` // A at most
}

func (l line) kept() bool { return l.Times.Median >= l.Aim && (l.Most == 0 || l.A.Median <= l.Most) }

// judge holds a comparison against what is to be reached.
func (r row) judge(c *compare.Comparison) measured {
	m := measured{Name: r.name, Title: r.title, Date: time.Now().UTC().Format(time.DateOnly), Keyframe: c.Pairs[0].A.Machine.Keyframe, Machine: c.Pairs[0].A.Machine,
		Pairs: len(c.Pairs), A: c.A, B: c.B}
	m.A.Command, m.B.Command = nil, nil // paths of this machine
	for _, a := range r.aims {
		if f, ok := c.Figure(a.figure); ok {
			m.Lines = append(m.Lines, line{f.Name, f.Unit, f.Better, f.A, f.B, f.Times(), a.times, 0})
		}
	}
	for _, b := range r.bounds {
		f, ok := c.Figure(b.figure)
		if !ok {
			continue
		}
		i := slices.IndexFunc(m.Lines, func(l line) bool { return l.Figure == b.figure })
		if i < 0 {
			i, m.Lines = len(m.Lines), append(m.Lines, line{f.Name, f.Unit, f.Better, f.A, f.B, f.Times(), 0, 0})
		}
		m.Lines[i].Most = b.most
	}
	return m
}

func (m measured) kept() bool {
	return !slices.ContainsFunc(m.Lines, func(l line) bool { return !l.kept() })
}

func (m measured) pairs() string {
	if m.Pairs == 1 {
		return "1 pair"
	}
	return fmt.Sprintf("%d pairs", m.Pairs)
}

func (m measured) print(to io.Writer) {
	out := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintf(out, "%s (%s)\t%s\t%s\ttimes better\tfrom, to\taim\t\n", m.Title, m.pairs(), m.A.Name, m.B.Name)
	for _, l := range m.Lines {
		fmt.Fprintf(out, "  %s\t%s %s\t%s %s\t%s\t%s, %s\t%s\t%s\n", l.Figure, report.Quantity(l.A.Median), l.Unit, report.Quantity(l.B.Median), l.Unit,
			report.Ratio(l.Times.Median), report.Ratio(l.Times.Min), report.Ratio(l.Times.Max), l.aim(), l.verdict())
	}
	_ = out.Flush() // to the terminal
}

func (l line) aim() string {
	var parts []string
	if l.Aim > 0 {
		parts = append(parts, ">= "+report.Ratio(l.Aim))
	}
	if l.Most > 0 {
		parts = append(parts, "<= "+report.Quantity(l.Most)+" "+l.Unit)
	}
	return strings.Join(parts, ", ")
}

func (l line) verdict() string {
	if l.kept() {
		return ""
	}
	return "MISSED"
}

// table is what was measured, in the order of the rows.
type table struct {
	Rows []measured `json:"rows"`
}

func readTable(file string) (*table, error) {
	t := &table{}
	data, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return t, nil
	}
	if err == nil {
		err = json.Unmarshal(data, t)
	}
	return t, err
}

// put takes the place of what was measured of the row before.
func (t *table) put(m measured) {
	t.Rows = append(slices.DeleteFunc(t.Rows, func(o measured) bool { return o.Name == m.Name }), m)
	order := map[string]int{}
	for i, r := range rows() {
		order[r.name] = i
	}
	slices.SortStableFunc(t.Rows, func(a, b measured) int { return order[a.Name] - order[b.Name] })
}

const (
	begin = "<!-- go run ./bench/suite: begin -->"
	end   = "<!-- go run ./bench/suite: end -->"
)

// write stores the table, and writes it into the README between its two marks.
func (t *table) write(file, readme string) error {
	data, err := json.MarshalIndent(t, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(file, append(data, '\n'), 0o644); err != nil {
		return err
	}
	text, err := os.ReadFile(readme)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("%s has no place for the table: %s ... %s", readme, begin, end)
	}
	return os.WriteFile(readme, []byte(before+begin+"\n"+t.markdown()+end+after), 0o644)
}

// markdown is the table for people.
func (t *table) markdown() string {
	var out bytes.Buffer
	fmt.Fprintf(&out, "| workload | figure | Keyframe | peer | times better (pairs: from, to) | to reach | measured |\n| --- | --- | --- | --- | --- | --- | --- |\n")
	for _, m := range t.Rows {
		for i, l := range m.Lines {
			title, when := "", ""
			if i == 0 {
				title, when = m.Title, fmt.Sprintf("%s, %s, %s", m.Date, m.pairs(), m.B.Name)
			}
			aim := l.aim()
			if !l.kept() {
				aim += ", **missed**"
			}
			fmt.Fprintf(&out, "| %s | %s | %s %s | %s %s | **%s** (%s, %s) | %s | %s |\n", title, l.Figure, report.Quantity(l.A.Median), l.Unit,
				report.Quantity(l.B.Median), l.Unit, report.Ratio(l.Times.Median), report.Ratio(l.Times.Min), report.Ratio(l.Times.Max), aim, when)
		}
	}
	return out.String()
}

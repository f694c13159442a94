package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"github.com/keyframelog/keyframe/bench"
	"github.com/keyframelog/keyframe/bench/compare"
	"github.com/keyframelog/keyframe/bench/report"
	"github.com/keyframelog/keyframe/bench/result"
)

// grouped is a number for eyes: 1,234,567.
var grouped = report.Grouped

// measured runs something that is measured, shows how far it is, prints what it found, and writes the report if one is wanted.
func measured(cmd *cobra.Command, c *config, dir string, run func(context.Context, bench.Progress) (report.Data, error)) error {
	ctx, out, stop := whileRead(cmd.Context(), cmd.OutOrStdout())
	defer stop()
	progress := newBenchProgress(os.Stderr)
	found, err := run(ctx, progress)
	progress.end()
	if err == nil {
		err = printMeasured(out, c.str("format"), found)
	}
	if err == nil && dir != "" {
		err = report.Write(dir, found)
	}
	return out.ended(cmd.Context(), err)
}

func printMeasured(out io.Writer, format string, found report.Data) error {
	if format != "table" {
		e := json.NewEncoder(out)
		if format == "json" {
			e.SetIndent("", "  ")
		}
		return e.Encode(found)
	}
	for _, c := range found.Comparisons {
		printComparison(out, c)
	}
	if len(found.Results) > 0 {
		printResults(out, found.Results)
	}
	return nil
}

// printResults has a column for each run.
func printResults(out io.Writer, runs []*result.Result) {
	first := runs[0]
	printAbout(out, first)
	t := newFigureTable(out)
	for _, f := range first.Figures {
		row := table.Row{f.Name}
		for _, r := range runs {
			if f, ok := r.Figure(f.Name); ok {
				row = append(row, report.Quantity(f.Value))
			}
		}
		t.AppendRow(append(row, f.Unit))
	}
	t.Render()
}

// printAbout says what was measured, where, and what an acknowledgement meant.
func printAbout(out io.Writer, r *result.Result) {
	fmt.Fprintf(out, "%s on %s: %s\n%s\n", r.Workload, r.Target.Name, r.Target.Software, r.Target.Durability)
	fmt.Fprintf(out, "%s\n\n", machineText(r.Machine))
}

func machineText(m result.Machine) string {
	s := fmt.Sprintf("%s/%s, %d cores", m.OS, m.Arch, m.Cores)
	if m.MemoryBytes > 0 {
		s += fmt.Sprintf(", %d GB", m.MemoryBytes/1e9)
	}
	if m.CPU != "" {
		s += ", " + m.CPU
	}
	if m.Load != "" {
		s += "; load before it " + m.Load
	}
	return s
}

// printComparison has a row for each figure: the medians, and the ratios of the pairs.
func printComparison(out io.Writer, c *compare.Comparison) {
	fmt.Fprintf(out, "%s, %d pairs A B A B\nA  %s: %s; %s\nB  %s: %s; %s\n", c.Workload, len(c.Pairs), c.A.Name, c.A.Software, c.A.Durability, c.B.Name,
		c.B.Software, c.B.Durability)
	if c.Unlike != "" {
		fmt.Fprintf(out, "UNLIKE: the two do not promise the same, %s\n", c.Unlike)
	}
	fmt.Fprintf(out, "%s\n\n", machineText(c.Pairs[0].A.Machine))
	t := newFigureTable(out)
	t.AppendHeader(table.Row{"", c.A.Name, c.B.Name, "", "A/B", "min", "max", "pairs"})
	for _, f := range c.Figures {
		pairs := ""
		for i, r := range f.Ratios {
			if i > 0 {
				pairs += " "
			}
			pairs += report.Ratio(r)
		}
		t.AppendRow(table.Row{f.Name, report.Quantity(f.A.Median), report.Quantity(f.B.Median), f.Unit, report.Ratio(f.Ratio.Median), report.Ratio(f.Ratio.Min), report.Ratio(f.Ratio.Max), pairs})
	}
	t.Render()
}

// newFigureTable aligns numbers to the right, with the name before them.
func newFigureTable(out io.Writer) table.Writer {
	t := table.NewWriter()
	t.SetOutputMirror(out)
	t.SetStyle(plainTable())
	t.SetColumnConfigs([]table.ColumnConfig{{Number: 2, Align: text.AlignRight}, {Number: 3, Align: text.AlignRight}})
	return t
}

package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"

	"github.com/keyframelog/keyframe/bench/drill"
	"github.com/keyframelog/keyframe/client"
)

// faultTold is what people are told about a fault.
type faultTold struct {
	short string // in the help
	what  string // what happened
	why   string // and how it came out
}

// flippedByFrame is how a flipped bit comes out in a table so small that opening it reads the block.
const flippedByFrame = "Its table could not be opened any more, and was set aside: a whole key frame was loaded."

func faultsTold() map[drill.Fault]faultTold {
	return map[drill.Fault]faultTold{
		drill.Lost: {
			"a replica is given a batch without one of its deltas",
			"a replica was given a batch without one of its deltas; offsets and checksum were right.",
			"A hole in the offsets proves nothing, an aborted transaction leaves one too: the next digest tells.",
		},
		drill.LostBatch: {
			"a replica is not given a batch at all",
			"a whole batch never reached a replica, and the next one did.",
			"Kafka's clients read on, as they do in compacted topics: the next digest tells, and which keys.",
		},
		drill.Doubled: {
			"a delta is applied twice: its transaction was aborted, and it was sent again",
			"an increment was sent, aborted, and sent again; a replica was not told of the abort: it counted both.",
			"Offsets, sequences and checksums were in order. The counter was wrong, and so was the digest.",
		},
		drill.Mutated: {
			"one bit of a value changes on the way to a replica",
			"one bit of a value changed on the way to a replica, and the checksum was made to match.",
			"A checksum protects from hop to hop, a digest from end to end.",
		},
		drill.BeforeLog: {
			"a write is acknowledged, and never reaches the log",
			"a program's last write was acknowledged by a middleman, and never reached the log.",
			"All replicas agree with the log: only the program's own state tells (keyframe reconcile compares it).",
		},
		drill.Flipped: {
			"one bit of a row changes in the files of a replica",
			"one bit of a row changed in a replica's files. Reading it failed; nothing wrong was ever shown.",
			"A scrub found the block; the index told which rows were in it, and only those were fetched again.",
		},
		drill.Asleep: {
			"a replica comes back after the deltas that it lacks were trimmed",
			"a replica was closed while keys changed and were deleted, and the deltas were trimmed.",
			"It said what it had, and was told what has changed since: each key once, deletions included.",
		},
	}
}

// printDrill prints a line for each fault with what it means below, and how the copies compare in the end.
func printDrill(out io.Writer, report *drill.Report) error {
	lines := strings.Split(drillTable(report.Findings), "\n")
	told := faultsTold()
	fmt.Fprintf(out, "\n%s\n", lines[0])
	for i, line := range lines[1:] {
		f := told[report.Findings[i].Fault]
		if report.Findings[i].Fault == drill.Flipped && report.Findings[i].Method == client.ByFrame {
			f.why = flippedByFrame
		}
		fmt.Fprintf(out, "%s\n    %s\n    %s\n", line, f.what, f.why)
	}
	fmt.Fprint(out, "\nAt and found at are offsets; after: from the fault to the verdict; bytes: of the repair, on the wire,\n"+
		"beside those of a whole key frame, which a copy without digests would have to load to be sure.\n\n")
	for _, end := range report.Ends {
		printEnd(out, &end)
	}
	verdict := "every fault was found and put right"
	if !report.OK() {
		verdict = "NOT ALL IS WELL"
	}
	_, err := fmt.Fprintf(out, "%s, in %s\n", verdict, took(report.Took))
	return err
}

// drillTable has a line for each fault, below its header.
func drillTable(findings []drill.Finding) string {
	t := table.NewWriter()
	t.SetStyle(plainTable())
	t.AppendHeader(table.Row{"fault", "at", "found at", "by", "after", "repaired in", "keys", "bytes", "a whole frame", "factor"})
	columns := []table.ColumnConfig{}
	for _, name := range []string{"at", "found at", "after", "repaired in", "keys", "bytes", "a whole frame", "factor"} {
		columns = append(columns, table.ColumnConfig{Name: name, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(columns)
	for _, f := range findings {
		row := table.Row{string(f.Fault), grouped(f.Injected), "NOT FOUND", "", "", "", "", "", "", ""}
		if f.Detected {
			row[2], row[3], row[4], row[5] = grouped(f.At), string(f.By), took(f.After), "NOT REPAIRED"
		}
		if f.Repaired {
			row[5], row[6], row[7], row[8], row[9] = took(f.In), grouped(f.Keys), grouped(f.Bytes), grouped(f.WholeFrame), factor(f.Factor())
			if !f.Exact {
				row[6] = fmt.Sprintf("%s, NOT %s", grouped(f.Keys), grouped(f.Harmed))
			}
		}
		t.AppendRow(row)
	}
	lines := strings.Split(t.Render(), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}

func printEnd(out io.Writer, end *drill.End) {
	what := fmt.Sprintf("%d replicas and the producer's own state at %s", end.Replicas, grouped(end.Cut))
	if len(end.Wrong) == 0 {
		say(out, end.Topic, "%s equal the log: %s rows, digest %s", what, grouped(end.Log.Count), shortSum(end.Log.Sum.Bytes()))
		return
	}
	say(out, end.Topic, "%s: the log has %s rows, digest %s", what, grouped(end.Log.Count), shortSum(end.Log.Sum.Bytes()))
	for _, wrong := range end.Wrong {
		say(out, "", "DIFFERENT: %s", wrong)
	}
}

// encodeDrill prints the report in JSON.
func encodeDrill(cmd *cobra.Command, c *config, format string, report *drill.Report) error {
	faults := nested{columns: []string{"fault", "topic", "injected", "detected", "at", "after_us", "by", "repaired", "in_us", "method", "harmed", "keys",
		"exact", "bytes", "whole_frame_bytes"}}
	for _, f := range report.Findings {
		faults.rows = append(faults.rows, []any{string(f.Fault), f.Topic, f.Injected, f.Detected, f.At, f.After.Microseconds(), string(f.By), f.Repaired,
			f.In.Microseconds(), string(f.Method), f.Harmed, f.Keys, f.Exact, f.Bytes, f.WholeFrame})
	}
	topics := nested{columns: []string{"topic", "cut", "replicas", "rows", "sum", "equal"}}
	for _, end := range report.Ends {
		sum := end.Log.Sum.Bytes()
		topics.rows = append(topics.rows, []any{end.Topic, end.Cut, end.Replicas, end.Log.Count, fmt.Sprintf("%x", sum[:]), len(end.Wrong) == 0})
	}
	out, err := newOutputIn(cmd, c, format, "ok", "took_us", "faults", "topics")
	if err != nil {
		return err
	}
	return errors.Join(out.row(report.OK(), report.Took.Microseconds(), faults, topics), out.close())
}

// took is a duration for eyes, in three digits or so.
func took(d time.Duration) string {
	unit := time.Microsecond
	for _, step := range []time.Duration{time.Millisecond, 10 * time.Millisecond, 100 * time.Millisecond, time.Second, 10 * time.Second} {
		if d >= step {
			unit = step / 100
		}
	}
	return d.Round(unit).String()
}

// factor is how many times as much the whole would have cost.
func factor(f float64) string {
	if f < 10 {
		return fmt.Sprintf("%.1fx", f)
	}
	return grouped(int64(f)) + "x"
}

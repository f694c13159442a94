package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/state"
)

// sourceReport prints how a source and a topic compared, and what was done about it.
type sourceReport struct {
	topic, source string
	named         bool // the source is where the user said, though it be empty
	toHere        bool // the topic is made the source
	wrote         bool

	differing, moved []client.Difference
}

func (r *sourceReport) differs(d client.Difference) { r.differing = append(r.differing, d) }
func (r *sourceReport) moves(d client.Difference)   { r.moved = append(r.moved, d) }

func addCutFlag(cmd *cobra.Command, at *string) {
	cmd.Flags().StringVar(at, "at", "", "compare at a cut that was made before the dump: its name, or P:OFFSET,... of key frames (default: cut now)")
}

// sourcePoint checks what is said before the source is read, which may take long.
func sourcePoint(cmd *cobra.Command, c *config, text string) (*state.At, error) {
	if err := checkFormat(c); err != nil {
		return nil, err
	}
	return parsePoint(cmd, "at", text)
}

// verifySource compares the rows of a file or of standard input.
func verifySource(cmd *cobra.Command, c *config, args []string, flags sourceFlags, point string, asJSON bool) error {
	at, err := sourcePoint(cmd, c, point)
	if err != nil {
		return err
	}
	source, err := openSource(cmd, fileArgument(args), flags)
	if err != nil {
		return err
	}
	report := &sourceReport{topic: args[0], source: source.name, named: fileArgument(args) != ""}
	return errors.Join(compareSource(cmd, c, report, source, at, asJSON), source.close())
}

// compareSource writes nothing.
func compareSource(cmd *cobra.Command, c *config, report *sourceReport, source *sourceFile, at *state.At, asJSON bool) error {
	found, err := client.Compare(cmd.Context(), client.CompareConfig{
		StateURL: c.str("state-url"), Topic: report.topic, At: at, OnDifference: report.differs, OnMoved: report.moves,
	}, source.rows())
	if err != nil {
		return reconcileError(c, report.topic, err)
	}
	if found.Source.Count == 0 && !report.named {
		return errors.New("standard input has no rows: name the --dir of a replica or a FILE of rows, or - if it is meant to be empty")
	}
	return report.print(cmd, c, asJSON, client.Published{Comparison: found, Verdict: found.Outcome})
}

// print ends with the exit status that the verdict is.
func (r *sourceReport) print(cmd *cobra.Command, c *config, asJSON bool, done client.Published) error {
	p, err := newDifferPrinter(cmd, c, asJSON, differSides{
		here: r.source, log: r.topic + " at " + cutText(done.Comparison), toHere: r.toHere, partitions: len(done.Offsets) > 1,
	})
	if err != nil {
		return err
	}
	for _, d := range r.differing {
		if err := p.key(d); err != nil {
			return err
		}
	}
	for _, d := range r.moved {
		if err := r.movedKey(p, d); err != nil {
			return err
		}
	}
	columns, values := sourceFacts(done, r.wrote)
	if err := p.close(columns, values...); err != nil {
		return err
	}
	if p.text != nil {
		fmt.Fprintln(cmd.ErrOrStderr(), r.summary(p, done))
	}
	switch {
	case done.Verdict == client.Equal:
		return nil
	case done.Verdict == client.Inconclusive && !r.toHere: // all that differs may be newer than the source
		return exitError(2)
	}
	return exitError(1)
}

// movedKey prints a key that is left alone.
func (r *sourceReport) movedKey(p *differPrinter, d client.Difference) error {
	text := "? " + shown(d.Key)
	if p.sides.partitions {
		text += fmt.Sprintf(" (partition %d)", d.Partition)
	}
	return p.fact(text+"  written since the cut: left alone", []string{"key", "partition", "here", "log", "moved"},
		nonNil(d.Key), d.Partition, entryOf(d.Here), entryOf(d.Log), true)
}

// cutText is a cut as --at takes it: by offsets, which last longer than a name that nobody noted.
func cutText(c client.Comparison) string {
	points := make([]string, len(c.Offsets))
	for p, offset := range c.Offsets {
		points[p] = fmt.Sprintf("%d:%d", p, offset)
	}
	return strings.Join(points, ",")
}

func sourceFacts(done client.Published, wrote bool) (columns []string, values []any) {
	columns = []string{"moved", "rows", "cut", "verdict", "reason", "method", "bytes", "round_trips"}
	reason := any(absent{})
	if done.Reason != "" {
		reason = done.Reason
	}
	values = []any{
		done.Moved, done.Source.Count, cutText(done.Comparison), done.Verdict.String(), reason, string(done.Method), done.Bytes, done.RoundTrips,
	}
	if wrote {
		columns, values = append(columns, "written", "written_bytes"), append(values, done.Written, done.WrittenBytes)
	}
	return columns, values
}

func (r *sourceReport) summary(p *differPrinter, done client.Published) string {
	text := fmt.Sprintf("%s, by %s: %s", counted(done.Source.Count, "row"), done.Method, p.summary())
	if done.Moved > 0 {
		text += fmt.Sprintf(", %d left alone", done.Moved)
	}
	if r.wrote {
		text += "; " + counted(done.Written, "delta") + " written"
	}
	if done.Duplicates > 0 {
		text += fmt.Sprintf("; %d keys were live in more than one partition", done.Duplicates)
	}
	text += "; " + done.Verdict.String()
	if done.Reason != "" {
		text += " (" + done.Reason + ")"
	}
	if !r.wrote && !done.Consistent {
		text += "; a transaction is open: what is in it, or was written behind its first record, is not compared"
	}
	return text + fmt.Sprintf("; %s received, %s", counted(done.Bytes, "byte"), counted(int64(done.RoundTrips), "round trip"))
}

// counted is a number of things.
func counted[N int | int64 | uint64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

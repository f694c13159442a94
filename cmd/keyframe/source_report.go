package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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

	cmd    *cobra.Command
	c      *config
	asJSON bool
	p      *differPrinter // nil until it is known what differs
	err    error          // of printing
}

// compared prints what is above the keys. Nothing of a source that may be empty by mistake is printed.
func (r *sourceReport) compared(found client.Comparison) {
	if found.Source.Count == 0 && !r.named {
		return
	}
	r.p, r.err = newDifferPrinter(r.cmd, r.c, r.asJSON, differSides{
		here: r.source, log: r.topic + " at " + cutText(found), toHere: r.toHere, partitions: len(found.Offsets) > 1,
	})
}

func (r *sourceReport) differs(d client.Difference) {
	if r.p != nil && r.err == nil {
		r.err = r.p.key(d)
	}
}

// moves prints a key that is left alone.
func (r *sourceReport) moves(d client.Difference) {
	if r.p == nil || r.err != nil {
		return
	}
	text := "? " + shown(d.Key)
	if r.p.sides.partitions {
		text += fmt.Sprintf(" (partition %d)", d.Partition)
	}
	r.err = r.p.fact(text+"  written since the cut: left alone", []string{"key", "partition", "here", "log", "moved"},
		nonNil(d.Key), d.Partition, entryOf(d.Here), entryOf(d.Log), true)
}

// atLong is what a cut means to a dump.
const atLong = `--at CUT is a cut that was made before the dump was taken: keyframe frames cut TOPIC --name prints one. The dump is compared with the topic's state
there, and a key that a delta touched since with its row now. Such a key is right if the row is the dump's. If it is not, it was written since the cut:
its delta may be newer than the dump, and it is left alone and named (? in front of it), whether it differed at the cut or not. A row of the dump that has
expired since (retention, DeleteRecords) nobody wrote: the topic lacks it, and it differs. The topic is equal if nothing differs and nothing is left
alone. A cut that is made now means the same.`

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
	report := &sourceReport{cmd: cmd, c: c, asJSON: asJSON, topic: args[0], source: source.name, named: fileArgument(args) != ""}
	return errors.Join(report.compare(cmd.Context(), http.DefaultClient, source, at), source.close())
}

// compare writes nothing.
func (r *sourceReport) compare(ctx context.Context, by *http.Client, source *sourceFile, at *state.At) error {
	found, err := client.Compare(ctx, client.CompareConfig{
		StateURL: r.c.str("state-url"), HTTPClient: by, Topic: r.topic, At: at, OnCompared: r.compared, OnDifference: r.differs, OnMoved: r.moves,
	}, source.rows())
	if err != nil {
		return errors.Join(reconcileError(r.c, r.topic, err), r.breakOff())
	}
	if found.Source.Count == 0 && !r.named {
		return errors.New("standard input has no rows: name the --dir of a replica or a FILE of rows, or - if it is meant to be empty")
	}
	return r.end(client.Published{Comparison: found, Verdict: found.Outcome})
}

// flush hands what was printed so far to the reader.
func (r *sourceReport) flush() error {
	if r.p == nil || r.err != nil {
		return r.err
	}
	return r.p.flush()
}

// breakOff ends it without a verdict.
func (r *sourceReport) breakOff() error {
	if r.p == nil || r.err != nil {
		return r.err
	}
	return r.p.close(nil)
}

// end ends with the exit status that the verdict is.
func (r *sourceReport) end(done client.Published) error {
	if r.err != nil {
		return r.err
	}
	columns, values := sourceFacts(done, r.wrote)
	if err := r.p.close(columns, values...); err != nil {
		return err
	}
	if r.p.text != nil {
		fmt.Fprintln(r.cmd.ErrOrStderr(), r.summary(done))
	}
	switch {
	case done.Verdict == client.Equal:
		return nil
	case done.Verdict == client.Inconclusive: // nobody knows
		return exitError(2)
	}
	return exitError(1)
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

func (r *sourceReport) summary(done client.Published) string {
	text := fmt.Sprintf("%s, by %s: %s", counted(done.Source.Count, "row"), done.Method, r.p.summary())
	if done.Moved > 0 {
		text += fmt.Sprintf(", %d left alone", done.Moved)
	}
	if r.wrote {
		text += "; " + counted(done.Written, "delta") + " written"
	}
	if done.Duplicates > 0 {
		text += fmt.Sprintf("; %s too many of keys that were live in more than one partition", counted(done.Duplicates, "row"))
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

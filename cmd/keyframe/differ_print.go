package main

import (
	"encoding/hex"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/digest"
)

// differSides are the two states whose keys a differPrinter compares, as its header names them: --- HERE, +++ LOG.
type differSides struct {
	here, log string
	// toHere: what is printed is the way from the log to here, as where the log is about to be changed: --- LOG, +++ HERE, and + is a key that is
	// only here.
	toHere bool
	// partitions: there are several, they are named behind the keys.
	partitions bool
}

// differPrinter prints keys whose rows differ, by the hashes of the rows, a line each: + KEY  HASH, - KEY  HASH, ~ KEY  HASH -> HASH, marked as
// keyframe diff marks them, and ? KEY where the log's row is not known. In JSON it is an object {"key", "partition", "here", "log", "applied", "log_unknown"}, the
// hashes whole; one that is missing says that there is no such row. A row here that cannot be read is as none, and applied is what was applied of it; log_unknown,
// true or missing, says that what the log has of such a row is not known: that log is missing says nothing then. Between them stand facts, and the last line is a
// summary: {"new", "gone", "changed", "unknown"}, the last of these where there are any, which the others do not count.
type differPrinter struct {
	text  *markedText // or
	out   *output
	sides differSides
	begun bool

	added, removed, changed, unknown int
}

// newDifferPrinter takes the format from the settings; asJSON is short for jsonl.
func newDifferPrinter(cmd *cobra.Command, c *config, asJSON bool, sides differSides) (*differPrinter, error) {
	p := &differPrinter{sides: sides}
	format := c.str("format")
	if asJSON {
		format = "jsonl"
	}
	if format == "table" { // the lines are of several kinds
		p.text = newMarkedText(cmd.OutOrStdout())
		return p, nil
	}
	var err error
	p.out, err = newOutputIn(cmd, c, format, "key", "partition", "here", "log", "applied", "log_unknown")
	return p, err
}

// fact prints what is no key: text as a line for eyes, or the columns that have values as an object.
func (p *differPrinter) fact(text string, columns []string, values ...any) error {
	if p.out != nil {
		return writeObject(p.out.json, columns, values)
	}
	p.begun = false // the header stands above the keys
	return p.text.line("", text)
}

// key prints a key that differs.
func (p *differPrinter) key(d client.Difference) error {
	before, after := d.Here, d.Log
	if p.sides.toHere {
		before, after = after, before
	}
	mark, unreadable := "~", d.Applied != (digest.Entry{})
	switch {
	case d.LogUnknown:
		mark = "?"
		p.unknown++
	case unreadable && after == (digest.Entry{}):
		mark = "-"
		p.removed++
	case before == (digest.Entry{}):
		mark = "+"
		p.added++
	case after == (digest.Entry{}):
		mark = "-"
		p.removed++
	default:
		p.changed++
	}
	if p.out != nil {
		unknown := any(absent{})
		if d.LogUnknown {
			unknown = true
		}
		return p.out.row(nonNil(d.Key), d.Partition, entryOf(d.Here), entryOf(d.Log), entryOf(d.Applied), unknown)
	}
	if !p.begun {
		p.begun = true
		if err := p.header(); err != nil {
			return err
		}
	}
	line := mark + " " + shown(d.Key)
	if p.sides.partitions {
		line += fmt.Sprintf(" (partition %d)", d.Partition)
	}
	switch {
	case d.LogUnknown:
		line += "  cannot be read, " + shortEntry(d.Applied) + " was applied, and what the log has is not known"
	case d.Expired && mark == "-":
		line += "  cannot be read, " + shortEntry(d.Applied) + " was applied, and has expired"
	case unreadable && mark == "-":
		line += "  cannot be read, " + shortEntry(d.Applied) + " was applied, and the log has none"
	case unreadable && d.Applied != after:
		line += "  " + shortEntry(after) + "  cannot be read, " + shortEntry(d.Applied) + " was applied"
	case unreadable:
		line += "  " + shortEntry(after) + "  cannot be read"
	case mark == "+":
		line += "  " + shortEntry(after)
	case mark == "-":
		line += "  " + shortEntry(before)
	default:
		line += "  " + shortEntry(before) + " -> " + shortEntry(after)
	}
	return p.text.line(mark, line)
}

func (p *differPrinter) header() error {
	before, after := p.sides.here, p.sides.log
	if p.sides.toHere {
		before, after = after, before
	}
	_ = p.text.line("-", "--- "+printable(before)) // the last line has the error
	return p.text.line("+", "+++ "+printable(after))
}

// entryOf is the hash of a row as JSON shows it.
func entryOf(e digest.Entry) any {
	if e == (digest.Entry{}) {
		return absent{}
	}
	return hex.EncodeToString(e[:])
}

func (p *differPrinter) keys() int { return p.added + p.removed + p.changed + p.unknown }

func (p *differPrinter) summary() string {
	text := fmt.Sprintf("%d new, %d gone, %d changed", p.added, p.removed, p.changed)
	if p.unknown > 0 {
		text += fmt.Sprintf(", %d not known", p.unknown)
	}
	return text
}

// flush hands what was printed so far to the reader.
func (p *differPrinter) flush() error {
	if p.text != nil {
		return p.text.to.Flush()
	}
	return p.out.flush()
}

// close ends the output; in JSON with a summary: the counts, and what the columns and values add to them. As text it is the caller's, on standard
// error.
func (p *differPrinter) close(columns []string, values ...any) error {
	if p.text != nil {
		return p.text.to.Flush()
	}
	unknown := any(absent{})
	if p.unknown > 0 {
		unknown = p.unknown
	}
	columns = append([]string{"new", "gone", "changed", "unknown"}, columns...)
	if err := writeObject(p.out.json, columns, append([]any{p.added, p.removed, p.changed, unknown}, values...)); err != nil {
		return err
	}
	return p.out.close()
}

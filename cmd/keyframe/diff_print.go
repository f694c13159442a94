package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/keyframelog/keyframe/proto/state"
)

// What differs is printed on one line where it fits, as it does for short values.
const diffLineMax = 100

// diffPrinter prints differences: as text with a mark for each, or in one of the JSON formats.
type diffPrinter struct {
	topic      string
	text       *markedText // or
	out        *output
	from, to   []*state.AsOf
	begun      bool
	partitions bool // there are several: name them
	more       bool // the limit cut it short

	added, removed, changed int
}

func newDiffPrinter(cmd *cobra.Command, c *config, topic string, asJSON bool) (*diffPrinter, error) {
	p := &diffPrinter{topic: topic}
	format := c.str("format")
	if asJSON {
		format = "jsonl"
	}
	if format == "table" { // a difference has no columns
		p.text = newMarkedText(cmd.OutOrStdout())
		return p, nil
	}
	var err error
	p.out, err = newOutputIn(cmd, c, format, "key", "partition", "before", "after")
	return p, err
}

// between notes which points are compared.
func (p *diffPrinter) between(from, to []*state.AsOf) {
	p.from, p.to, p.partitions = from, to, len(from) > 1
}

func (p *diffPrinter) row(r *state.DiffRow) error {
	mark := "~"
	switch {
	case r.Before == nil:
		mark = "+"
		p.added++
	case r.After == nil:
		mark = "-"
		p.removed++
	default:
		p.changed++
	}
	if p.out != nil {
		return p.out.row(nonNil(r.Key), r.Partition, sideOf(r.Before), sideOf(r.After))
	}
	if !p.begun {
		p.begun = true
		p.text.line("-", fmt.Sprintf("--- %s at %s", printable(p.topic), pointText(p.from)))
		p.text.line("+", fmt.Sprintf("+++ %s at %s", printable(p.topic), pointText(p.to)))
	}
	name := mark + " " + shown(r.Key)
	if p.partitions {
		name += fmt.Sprintf(" (partition %d)", r.Partition)
	}
	switch mark {
	case "+":
		return p.text.line(mark, name+"  "+shown(r.After.Value))
	case "-":
		return p.text.line(mark, name+"  "+shown(r.Before.Value))
	}
	before, after := shown(r.Before.Value), shown(r.After.Value)
	if len(name)+len(before)+len(after) <= diffLineMax {
		return p.text.line(mark, name+"  "+before+" -> "+after)
	}
	_ = p.text.line(mark, name) // the last line has the error
	_ = p.text.line("-", "    - "+before)
	return p.text.line("+", "    + "+after)
}

// sideOf is a row as JSON shows it beside its key.
func sideOf(r *state.Row) any {
	if r == nil {
		return absent{}
	}
	return object{[]string{"value", "offset", "timestamp"}, []any{nonNil(r.Value), r.Offset, timestamp(r.TimestampMs)}}
}

// shown is a key or a value on one line.
func shown(b []byte) string {
	if len(b) == 0 {
		return `""`
	}
	return fmt.Sprint(cell(b))
}

// pointText is a point as --from takes it.
func pointText(list []*state.AsOf) string {
	points := make([]string, len(list))
	for i, a := range list {
		points[i] = fmt.Sprintf("%d:%d", a.Partition, a.Offset)
	}
	return strings.Join(points, ",")
}

func (p *diffPrinter) keys() int { return p.added + p.removed + p.changed }

func (p *diffPrinter) summary() string {
	s := fmt.Sprintf("%d new, %d gone, %d changed", p.added, p.removed, p.changed)
	if p.more {
		s += "; there are more than --limit"
	}
	return s
}

func (p *diffPrinter) close() error {
	if p.text != nil {
		return p.text.to.Flush()
	}
	return p.out.close()
}

package main

import (
	"bufio"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

// rowColumns are the members of a row in JSON, in this order, wherever rows or records are printed.
func rowColumns() []string { return []string{"key", "value", "offset", "timestamp", "partition"} }

// recordPrinter prints records as they come: as tab-separated text, or in one of the JSON formats.
type recordPrinter struct {
	text *bufio.Writer
	out  *output
}

func newRecordPrinter(cmd *cobra.Command, c *config) (*recordPrinter, error) {
	if c.str("format") == "table" { // a stream has no column widths
		return &recordPrinter{text: bufio.NewWriter(cmd.OutOrStdout())}, nil
	}
	out, err := newOutput(cmd, c, append(rowColumns(), "headers")...)
	return &recordPrinter{out: out}, err
}

func (p *recordPrinter) record(r *kgo.Record) error {
	if p.text != nil {
		_, err := fmt.Fprintf(p.text, "%d\t%d\t%s\t%s\t%s\n", r.Partition, r.Offset, timeText(r.Timestamp.UnixMilli()), cell(r.Key), cell(r.Value))
		return err
	}
	headers := any(absent{})
	if len(r.Headers) > 0 {
		list := make([]headerRow, len(r.Headers))
		for i, h := range r.Headers {
			list[i] = headerRow{h.Key, h.Value}
		}
		headers = list
	}
	return p.out.row(r.Key, r.Value, r.Offset, r.Timestamp.UnixMilli(), r.Partition, headers)
}

func (p *recordPrinter) flush() error {
	if p.text != nil {
		return p.text.Flush()
	}
	return p.out.flush()
}

func (p *recordPrinter) close() error {
	if p.text != nil {
		return p.text.Flush()
	}
	return p.out.close()
}

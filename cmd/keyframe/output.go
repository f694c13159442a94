package main

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
)

// output prints rows of named columns as an aligned table, one JSON array, or one JSON object a line.
type output struct {
	format  string
	columns []string
	buf     *bufio.Writer
	table   table.Writer
	json    *jsontext.Encoder
}

// newOutput prepares the format that the settings name. close must be called at the end.
func newOutput(cmd *cobra.Command, c *config, columns ...string) (*output, error) {
	return newOutputIn(cmd, c, c.str("format"), columns...)
}

// newOutputIn is newOutput in a format of the command's choice.
func newOutputIn(cmd *cobra.Command, c *config, format string, columns ...string) (*output, error) {
	o := &output{format: format, columns: columns, buf: bufio.NewWriter(cmd.OutOrStdout())}
	switch o.format {
	case "table":
		o.table = table.NewWriter()
		o.table.SetOutputMirror(o.buf)
		o.table.SetStyle(plainTable())
		header := make(table.Row, len(columns))
		for i, c := range columns {
			header[i] = c
		}
		o.table.AppendHeader(header)
	case "json":
		o.json = jsontext.NewEncoder(o.buf, jsontext.Multiline(true))
		if err := o.json.WriteToken(jsontext.BeginArray); err != nil {
			return nil, err
		}
	case "jsonl":
		o.json = jsontext.NewEncoder(o.buf)
	default:
		return nil, checkFormat(c)
	}
	return o, nil
}

// checkFormat is for commands that work long before they print.
func checkFormat(c *config) error {
	switch c.str("format") {
	case "table", "json", "jsonl":
		return nil
	}
	return c.wrong("format", "use table, json or jsonl")
}

// plainTable is what a shell pipeline can still read: no borders, two spaces between columns.
func plainTable() table.Style {
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	return style
}

// row prints one row; its values stand in the order of the columns. A []byte that is not UTF-8 becomes COLUMN_base64 in JSON.
// A column whose value is absent{} is left out of JSON and empty in a table.
func (o *output) row(values ...any) error {
	if o.table != nil {
		cells := make(table.Row, len(values))
		for i, v := range values {
			cells[i] = cell(v)
		}
		o.table.AppendRow(cells)
		return nil
	}
	return writeObject(o.json, o.columns, values)
}

func writeObject(e *jsontext.Encoder, columns []string, values []any) error {
	if err := e.WriteToken(jsontext.BeginObject); err != nil {
		return err
	}
	for i, v := range values {
		if _, skip := v.(absent); skip {
			continue
		}
		if err := writeMember(e, columns[i], v); err != nil {
			return err
		}
	}
	return e.WriteToken(jsontext.EndObject)
}

// nested is a list of rows inside a row of JSON.
type nested struct {
	columns []string
	rows    [][]any
}

func (n nested) write(e *jsontext.Encoder) error {
	if err := e.WriteToken(jsontext.BeginArray); err != nil {
		return err
	}
	for _, row := range n.rows {
		if err := writeObject(e, n.columns, row); err != nil {
			return err
		}
	}
	return e.WriteToken(jsontext.EndArray)
}

// object is a row inside a row of JSON.
type object struct {
	columns []string
	values  []any
}

// writeMember writes one member of an object; bytes that are not UTF-8 become NAME_base64.
func writeMember(e *jsontext.Encoder, name string, v any) error {
	if b, isBytes := v.([]byte); isBytes && b != nil && !utf8.Valid(b) {
		name, v = name+"_base64", base64.StdEncoding.EncodeToString(b)
	}
	if err := e.WriteToken(jsontext.String(name)); err != nil {
		return err
	}
	return writeJSON(e, v)
}

// flush hands what was printed so far to the reader; a table waits for close, since its widths depend on every row.
func (o *output) flush() error { return o.buf.Flush() }

func (o *output) close() error {
	switch {
	case o.table != nil:
		o.table.Render()
	case o.format == "json":
		if err := o.json.WriteToken(jsontext.EndArray); err != nil {
			return err
		}
	}
	return o.buf.Flush()
}

// timestamp is Unix milliseconds: a number in JSON, a readable time in a table.
type timestamp int64

// timeText is Unix milliseconds as a readable time, always with three decimals.
func timeText(millis int64) string {
	return time.UnixMilli(millis).UTC().Format("2006-01-02T15:04:05.000Z07:00")
}

// absent is the value of a column that a row does not have.
type absent struct{}

func writeJSON(e *jsontext.Encoder, v any) error {
	switch v := v.(type) {
	case nil:
		return e.WriteToken(jsontext.Null)
	case []byte:
		if v == nil {
			return e.WriteToken(jsontext.Null)
		}
		return e.WriteToken(jsontext.String(string(v)))
	case []headerRow:
		return writeHeaders(e, v)
	case nested:
		return v.write(e)
	case object:
		return writeObject(e, v.columns, v.values)
	case string:
		return e.WriteToken(jsontext.String(v))
	case bool:
		return e.WriteToken(jsontext.Bool(v))
	case int:
		return e.WriteToken(jsontext.Int(int64(v)))
	case int32:
		return e.WriteToken(jsontext.Int(int64(v)))
	case int64:
		return e.WriteToken(jsontext.Int(v))
	case timestamp:
		return e.WriteToken(jsontext.Int(int64(v)))
	case uint64:
		return e.WriteToken(jsontext.Uint(v))
	case float64:
		return e.WriteToken(jsontext.Float(v))
	default:
		return e.WriteToken(jsontext.String(fmt.Sprint(v)))
	}
}

// cell is a value as a table shows it: bytes as text where they are text, a tombstone as <null>.
func cell(v any) any {
	switch v := v.(type) {
	case absent:
		return ""
	case []byte:
		if v == nil {
			return "<null>"
		}
		if !utf8.Valid(v) {
			return "base64:" + base64.StdEncoding.EncodeToString(v)
		}
		return printable(string(v))
	case string:
		return printable(v)
	case []headerRow:
		pairs := make([]string, len(v))
		for i, h := range v {
			pairs[i] = fmt.Sprintf("%s=%v", printable(h.key), cell(h.value))
		}
		return strings.Join(pairs, " ")
	case timestamp:
		return timeText(int64(v))
	default:
		return v
	}
}

// printable writes what is no graphic character as a Go string literal does (\n, \x1b, \u202e): a key or value must neither break the
// one line that it has nor reach the terminal as a command. The text is for eyes; JSON is exact.
func printable(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsGraphic(r) }) {
		return s
	}
	var out []byte
	for _, r := range s {
		if strconv.IsGraphic(r) {
			out = utf8.AppendRune(out, r)
			continue
		}
		quoted := strconv.AppendQuoteRuneToGraphic(nil, r)
		out = append(out, quoted[1:len(quoted)-1]...)
	}
	return string(out)
}

// headerRow is one header as JSON shows it: {"key", "value"}, the value as value_base64 where it is not UTF-8.
type headerRow struct {
	key   string
	value []byte
}

func writeHeaders(e *jsontext.Encoder, headers []headerRow) error {
	if err := e.WriteToken(jsontext.BeginArray); err != nil {
		return err
	}
	for _, h := range headers {
		err := errors.Join(e.WriteToken(jsontext.BeginObject), writeMember(e, "key", h.key), writeMember(e, "value", h.value), e.WriteToken(jsontext.EndObject))
		if err != nil {
			return err
		}
	}
	return e.WriteToken(jsontext.EndArray)
}

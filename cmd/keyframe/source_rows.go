package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/keyframelog/keyframe/client"
	"github.com/keyframelog/keyframe/proto/delta"
)

// sourceFlags say how lines are read as the rows of a state.
type sourceFlags struct {
	input     string
	separator string
}

const sourceLong = `A line is a row: key and value with a tab between them (--separator), or a JSON object {"key", "value"}, bytes that are not UTF-8 as
key_base64 and value_base64, as state scan --format jsonl prints them: other members of its rows are passed over. Which it is the first line shows, or
--input. Each key comes once, in any order. A line that is no row, or text that does not end with a newline, is an error that names the line. All bytes of
text are data: a carriage return before the newline belongs to the value, a byte order mark to the first key.`

func (f *sourceFlags) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.input, "input", "", "text or jsonl (default: what the first line is)")
	cmd.Flags().StringVar(&f.separator, "separator", "\t", "what stands between key and value in text input")
	completeFlag(cmd, "input", "text", "jsonl")
}

func (f *sourceFlags) check() error {
	switch {
	case f.input != "" && f.input != "text" && f.input != "jsonl":
		return fmt.Errorf("--input %q: use text or jsonl", f.input)
	case f.separator == "":
		return errors.New("--separator is empty: then no line tells where the key ends")
	}
	return nil
}

// sourceFile is the rows of a file or of a pipe, which is read once and spooled to a file without a name, so that nothing is left of it however the
// process ends.
type sourceFile struct {
	name  string
	flags sourceFlags
	from  io.Reader // before the first pass
	file  *os.File  // what later passes read
	spool bool
}

// openSource opens the rows of path; "-" or empty: standard input.
func openSource(cmd *cobra.Command, path string, flags sourceFlags) (*sourceFile, error) {
	if err := flags.check(); err != nil {
		return nil, err
	}
	s := &sourceFile{name: path, flags: flags}
	if in, isFile := cmd.InOrStdin().(*os.File); path == "" && isFile && term.IsTerminal(int(in.Fd())) {
		return nil, errors.New("there are no rows: name a FILE, or send them to standard input (- takes them from the terminal)")
	}
	if path == "" || path == "-" {
		s.name, s.from = "standard input", cmd.InOrStdin()
	} else {
		file, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		if info, err := file.Stat(); err == nil && info.IsDir() {
			return nil, errors.Join(fmt.Errorf("%s is a directory: name a file of rows; keyframe verify --dir is for that of a replica", path), file.Close())
		} else if err == nil && info.Mode().IsRegular() {
			s.file = file
			return s, nil
		}
		s.from = file
	}
	spool, err := os.CreateTemp("", "keyframe-rows-")
	if err != nil {
		return nil, err
	}
	s.file, s.spool = spool, true
	return s, errors.Join(os.Remove(spool.Name()))
}

func (s *sourceFile) close() error {
	err := s.file.Close()
	if from, ok := s.from.(*os.File); ok && from != os.Stdin {
		err = errors.Join(err, from.Close())
	}
	return err
}

// rows may be ranged over again and again; the first time it reads the pipe.
func (s *sourceFile) rows() iter.Seq2[client.Row, error] {
	return func(yield func(client.Row, error) bool) {
		if s.spool && s.from != nil {
			to := bufio.NewWriter(s.file)
			whole := s.read(io.TeeReader(s.from, to), yield)
			s.from = nil
			if err := to.Flush(); err != nil && whole {
				yield(client.Row{}, fmt.Errorf("the rows cannot be kept for a second look: %w", err))
			}
			return
		}
		if _, err := s.file.Seek(0, io.SeekStart); err != nil {
			yield(client.Row{}, err)
			return
		}
		s.read(s.file, yield)
	}
}

// read yields rows; it returns true if it came to the end.
func (s *sourceFile) read(from io.Reader, yield func(client.Row, error) bool) bool {
	parse := s.flags.parser()
	lines := bufio.NewScanner(from)
	lines.Buffer(make([]byte, 64<<10), maxLineBytes)
	var last lastByte
	lines.Split(last.split)
	n := 0
	for ; lines.Scan(); n++ {
		row, err := parse(lines.Bytes())
		if err == nil && last.torn && !isObject(lines.Bytes()) {
			err = errors.New("it does not end with a newline: what is left of it may be missing")
		}
		if err != nil {
			yield(client.Row{}, fmt.Errorf("line %d: %w", n+1, err))
			return false
		}
		if !yield(row, nil) {
			return false
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		yield(client.Row{}, fmt.Errorf("line %d is longer than %s", n+1, byteSize(maxLineBytes)))
		return false
	case err != nil:
		yield(client.Row{}, fmt.Errorf("line %d: %w", n+1, err))
		return false
	}
	return true
}

// lastByte splits at newlines and notes that the last line has none.
type lastByte struct{ torn bool }

func (l *lastByte) split(data []byte, atEOF bool) (advance int, line []byte, err error) {
	advance, line, err = wholeLines(data, atEOF)
	l.torn = advance > 0 && advance == len(line)
	return advance, line, err
}

func isObject(line []byte) bool {
	_, err := rowOfJSON(line)
	return err == nil
}

// parser reads a line as a row, whose memory is the line's or its own.
func (f sourceFlags) parser() func([]byte) (client.Row, error) {
	input := f.input
	return func(line []byte) (client.Row, error) {
		if input == "" {
			if input = "text"; isObject(line) {
				input = "jsonl"
			}
		}
		if input == "jsonl" {
			return rowOfJSON(line)
		}
		key, value, ok := bytes.Cut(line, []byte(f.separator))
		if !ok && f.input == "" && bytes.HasPrefix(bytes.TrimLeft(line, " \t"), []byte("{")) {
			_, err := rowOfJSON(line)
			return client.Row{}, fmt.Errorf("%.60q begins as a JSON object and is no row: %w (or is it text? it has no separator %q)", line, err, f.separator)
		}
		if !ok {
			return client.Row{}, fmt.Errorf("%.60q has no separator %q between a key and a value (--separator, --input jsonl)", line, f.separator)
		}
		return rowOf(key, value), nil
	}
}

func rowOf(key, value []byte) (row client.Row) {
	row.Key, row.Value = key, value
	return row
}

// rowOfJSON reads what state scan and consume print.
func rowOfJSON(line []byte) (client.Row, error) {
	in, err := parseJSONRecord(line)
	if err != nil {
		return client.Row{}, err
	}
	key, keyErr := eitherBytes("key", in.Key, in.KeyBase64)
	value, valueErr := eitherBytes("value", in.Value, in.ValueBase64)
	switch err := errors.Join(keyErr, valueErr); {
	case err != nil:
		return client.Row{}, err
	case key == nil:
		return client.Row{}, errors.New(`a row needs a "key"`)
	case value == nil:
		return client.Row{}, errors.New(`a row needs a "value": a key that is gone is left out`)
	case in.Op != "" && in.Op != delta.Put.String():
		return client.Row{}, fmt.Errorf("it is a delta (op %q), not a row", in.Op)
	}
	return rowOf(key, value), nil
}

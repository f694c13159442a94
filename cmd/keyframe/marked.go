package main

import (
	"bufio"
	"io"
	"os"

	"golang.org/x/term"
)

// markedText prints lines that begin with a mark, in its colour where a terminal shows them.
type markedText struct {
	to     *bufio.Writer
	colour bool
}

func newMarkedText(out io.Writer) *markedText {
	return &markedText{bufio.NewWriter(out), isTerminal(out) && os.Getenv("NO_COLOR") == ""}
}

func isTerminal(out io.Writer) bool {
	file, isFile := out.(*os.File)
	return isFile && term.IsTerminal(int(file.Fd()))
}

// line prints a line in the colour of a mark: + - ~, or none.
func (t *markedText) line(mark, text string) error {
	if colour, ok := map[string]string{"+": "\x1b[32m", "-": "\x1b[31m", "~": "\x1b[33m"}[mark]; ok && t.colour {
		text = colour + text + "\x1b[0m"
	}
	_, err := t.to.WriteString(text + "\n")
	return err
}

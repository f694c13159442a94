package damage

import (
	"errors"
	"io"
	"os"
	"syscall"

	"github.com/cockroachdb/pebble/v2"
)

// OfFile turns what opening or reading a file has failed with into an *Error, where it says that the file is not what was written: it is missing, cut short,
// or the disk does not give it. Every other error is returned as it is. It is for files that are read where something was written: there io.EOF is no end
// that a reader may come to. It is not wrapped, since whoever reads a stream of what the file has would take it for the end of that.
func OfFile(path string, err error) error {
	var known *Error
	var why string
	switch {
	case err == nil || errors.As(err, &known):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		why = "it is cut short"
	case errors.Is(err, os.ErrNotExist):
		why = "it is missing"
	case errors.Is(err, syscall.EIO):
		why = "the disk does not give it: " + syscall.EIO.Error()
	default:
		return err
	}
	return &Error{Path: path, Offset: -1, Why: why, Err: pebble.ErrCorruption}
}

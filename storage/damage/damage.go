// Package damage says in one sentence what is wrong with a file on disk: which file, where, and how it shows.
//
//	if err := it.Error(); err != nil {
//		return damage.Of(err)
//	}
package damage

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/cockroachdb/pebble/v2"
)

// Advice is what to do about it in a broker's directory, which is the only copy there is.
const Advice = "stop the broker and run keyframe check, which lists what is damaged; restore the data directory from a backup"

// Error is one damaged file.
type Error struct {
	Path   string // relative as the data directory is
	Offset int64  // in the file; -1: unknown, or Why has it
	Why    string
	Err    error // Pebble's, nil where we found it ourselves
}

func (e *Error) Error() string {
	if e.Offset < 0 {
		return fmt.Sprintf("%s is damaged: %s", e.Path, e.Why)
	}
	return fmt.Sprintf("%s is damaged at byte %d: %s", e.Path, e.Offset, e.Why)
}

func (e *Error) Unwrap() error { return e.Err }

// Of turns Pebble's error about a damaged file into an *Error; every other error is returned as it is. Pebble's own text
// repeats itself once for each place that has met the error, and carries notes to itself. Of a blob file it says the number only:
// Path is "file 000008" then.
func Of(err error) error {
	var known, inner *Error
	if err == nil {
		return nil
	}
	info := pebble.ExtractDataCorruptionInfo(err)
	if errors.As(err, &known) {
		if info != nil && errors.As(info.Details, &inner) && inner == known { // OfFile's, in Pebble's text
			return &Error{Path: known.Path, Offset: known.Offset, Why: known.Why, Err: err}
		}
		return err
	}
	if info != nil {
		return &Error{Path: info.Path, Offset: -1, Why: Why(info.Details), Err: err}
	}
	if m := fileNumber.FindStringSubmatch(err.Error()); m != nil && pebble.IsCorruptionError(err) {
		return &Error{Path: "file " + m[1], Offset: -1, Why: Why(err), Err: err}
	}
	if m := sizeMismatch.FindStringSubmatch(err.Error()); m != nil {
		return &Error{Path: m[1], Offset: -1, Why: fmt.Sprintf("it has %s bytes, and %s were written", m[2], m[3]), Err: err}
	}
	return err
}

// Join is errors.Join for an error and what the reader that met it, and closing it, said. Pebble says damage a second and a third time there.
func Join(err error, more ...error) error {
	var all []error
	for _, e := range append([]error{err}, more...) {
		if e == nil {
			continue
		}
		all = append(all, Of(e))
		if pebble.IsCorruptionError(e) {
			break
		}
	}
	if len(all) == 1 {
		return all[0]
	}
	return errors.Join(all...)
}

var (
	fileNumber = regexp.MustCompile(`^pebble: file (\d+): `)
	// What Pebble says of an sstable when it opens a database.
	sizeMismatch = regexp.MustCompile(`object size mismatch \((.+?)\): (\d+) \(disk\) != (\d+) \(MANIFEST\)`)
	prefix       = regexp.MustCompile(`^pebble(/\w+)?: (file \d+: )?`)
)

// Why is the first line of Pebble's text, without what the path says already; of an *Error, its Why.
func Why(err error) string {
	var known *Error
	if errors.As(err, &known) {
		return known.Why
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return prefix.ReplaceAllString(line, "")
}

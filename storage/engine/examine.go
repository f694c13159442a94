package engine

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keyframelog/keyframe/storage/damage"
)

// examine looks for damage that Pebble would take for the end of a file, and changes nothing. It has to come before Pebble
// opens the database to write: Pebble deletes the files that what is left of the MANIFEST does not name. It reads the MANIFEST
// and the last WAL, at most about a memtable; torn is what checkWAL says of it.
func examine(fs vfs.FS, dir string) (torn string, err error) {
	desc, err := pebble.Peek(dir, fs)
	if err != nil || !desc.Exists { // Pebble says it when it opens the database
		return "", nil
	}
	if err := checkManifest(fs, desc.ManifestFilename); err != nil {
		return "", err
	}
	names, err := fs.List(dir)
	if err != nil {
		return "", err
	}
	last, number := "", uint64(0)
	for _, name := range names {
		text, isWAL := strings.CutSuffix(name, ".log")
		if n, err := strconv.ParseUint(text, 10, 64); isWAL && err == nil && n >= number {
			last, number = name, n
		}
	}
	if last == "" {
		return "", nil
	}
	return checkWAL(fs, fs.PathJoin(dir, last), number)
}

// refused is the error of a database that Pebble or we do not open. Neither deletes anything before all that is needed was read.
func refused(name, dir string, err error) error {
	var known *damage.Error
	if err = damage.Of(err); !errors.As(err, &known) && pebble.IsCorruptionError(err) {
		err = located(dir, err)
	}
	if m := unknown.FindStringSubmatch(err.Error()); m != nil && !errors.As(err, &known) {
		err = &damage.Error{Path: dir + "/" + m[1] + ".sst", Offset: -1, Why: "it is missing", Err: err}
	}
	var path *os.PathError
	switch {
	case errors.As(err, &known):
	case errors.Is(err, pebble.ErrDBDoesNotExist), errors.Is(err, pebble.ErrDBNotPristine), noDatabase.MatchString(err.Error()):
		err = &damage.Error{Path: dir, Offset: -1, Why: "a marker file is missing, or all of it", Err: err}
	case errors.Is(err, os.ErrNotExist) && errors.As(err, &path):
		err = &damage.Error{Path: path.Path, Offset: -1, Why: "it is missing", Err: err}
	}
	if errors.As(err, &known) {
		return fmt.Errorf("open %s database: %w: no data was changed", name, err)
	}
	return fmt.Errorf("open %s database in %s: %w", name, dir, err)
}

var (
	replayed   = regexp.MustCompile(`replaying wal (\d+), offset`)
	noDatabase = regexp.MustCompile(`pebble: database ".*" does not exist`) // what it says of one that is opened for reading only
	unknown    = regexp.MustCompile(`file (\d+) \(type sstable\) unknown`)
)

// located names the WAL that Pebble failed to read, which is in the details of its error only; otherwise the directory.
func located(dir string, err error) *damage.Error {
	if m := replayed.FindStringSubmatch(fmt.Sprintf("%+v", err)); m != nil {
		number, _ := strconv.ParseUint(m[1], 10, 64) // digits only
		return &damage.Error{Path: fmt.Sprintf("%s/%06d.log", dir, number), Offset: -1, Why: "a record is not as it was written", Err: err}
	}
	return &damage.Error{Path: dir, Offset: -1, Why: damage.Why(err), Err: err}
}

package table

import (
	"errors"
	"fmt"
)

var (
	// ErrNoFrame is returned for a cut at which no key frame is retained.
	ErrNoFrame = errors.New("table: no key frame at this cut")
	// ErrOldestFrame is returned when the oldest frame is to be thinned: trim to the next one instead.
	ErrOldestFrame = errors.New("table: the oldest key frame cannot be thinned")
	// ErrExists is returned by Load for an ordinal that has a table already.
	ErrExists = errors.New("table: the ordinal has a table already")
	// ErrIdentity is returned when an ordinal's table belongs to another topic, partition, incarnation or fold.
	ErrIdentity = errors.New("table: stored under another identity")
	// ErrDigest is returned when rows do not hash to the digest they were promised to have.
	ErrDigest = errors.New("table: digest differs")
	// ErrFold is returned by Commit for a fold that breaks its rules: keys out of order, offsets outside the fold, a table twice.
	ErrFold = errors.New("table: not a valid fold")
	// ErrPatch is returned by Patch for one that breaks its rules: tombstones, offsets outside the table's, a key or an offset twice.
	ErrPatch = errors.New("table: not a valid patch")
	// ErrFrames is returned by Patch where the frame at the position is not the only one that is kept: cut one, and trim to it.
	ErrFrames = errors.New("table: the frame at the position is not the only one")
	// ErrTrimmed is matched by an error of Trim where the trim is done, and durable, and what it left in the way could not be cleaned away.
	ErrTrimmed = errors.New("table: trimmed, but what was superseded is still in the way")
	// ErrClosed is returned after Close, and for a table that was dropped.
	ErrClosed = errors.New("table: closed")
	// ErrCorrupt is matched by every *CorruptError, and by whatever says of a read that a block is damaged.
	ErrCorrupt = errors.New("table: corrupt")
	// ErrVersion is matched by every *VersionError.
	ErrVersion = errors.New("table: unknown version")
)

// CorruptError says which stored entry cannot be what was written.
type CorruptError struct {
	Ordinal uint32
	What    string // "row", "index entry", "meta", ...
	Offset  int64  // of the row concerned, -1 where there is none
	Why     string
}

func (e *CorruptError) Error() string {
	if e.Offset < 0 {
		return fmt.Sprintf("table: corrupt %s of ordinal %d: %s", e.What, e.Ordinal, e.Why)
	}
	return fmt.Sprintf("table: corrupt %s of ordinal %d at offset %d: %s", e.What, e.Ordinal, e.Offset, e.Why)
}

// Is matches ErrCorrupt.
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// VersionError says that an entry was written by a newer release; it is not damage.
type VersionError struct {
	What    string
	Version byte
}

func (e *VersionError) Error() string {
	return fmt.Sprintf("table: %s has version %d, which this release does not know: use the release that wrote it, or a later one",
		e.What, e.Version)
}

// Is matches ErrVersion.
func (e *VersionError) Is(target error) bool { return target == ErrVersion }

// OffsetError is returned by Patch for a row at an offset where a row of another key is.
type OffsetError struct {
	Offset int64
	Key    []byte // of the row that is there
}

func (e *OffsetError) Error() string {
	return fmt.Sprintf("table: a row at offset %d, where one of another key is stored", e.Offset)
}

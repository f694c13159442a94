package keys

import (
	"encoding/binary"
	"math"
)

// TableSpace is the first byte of a key of the table database: one key space per kind of entry. Those that are as large as the
// state itself come first and the small ones lie together, so that a fold writes one sstable per large space and one for the rest.
// Persisted: a value is never reused.
type TableSpace byte

const (
	TableIndex      TableSpace = 0x10 // ordinal, key                    -> where the key's row is, and its digest entry
	TableRows       TableSpace = 0x20 // ordinal, offset                 -> the row
	TablePast       TableSpace = 0x21 // ordinal, era, offset, cut       -> a row that frames up to the one at the cut show, and none behind
	TableSegments   TableSpace = 0x30 // ordinal, first offset           -> a range of rows and those of them that are dead
	TableMeta       TableSpace = 0x31 // ordinal                         -> identity, position, digest, frames
	TableTombstones TableSpace = 0x32 // ordinal, offset                 -> key
	TableVectors    TableSpace = 0x33 // ordinal, batch end, offset      -> offsets that a fold superseded
	TableUndo       TableSpace = 0x34 // ordinal, cut, key               -> the index entry as the frame at the cut saw it
)

// TableSpaceCount is the number of spaces.
const TableSpaceCount = 8

// TableSpaces lists every space in key order.
func TableSpaces() [TableSpaceCount]TableSpace {
	return [TableSpaceCount]TableSpace{TableIndex, TableRows, TablePast, TableSegments, TableMeta, TableTombstones, TableVectors, TableUndo}
}

// TablePrefixLen is the length in bytes of what every key of the table database starts with: space and ordinal.
const TablePrefixLen = 1 + 4

// AppendTablePrefix appends the prefix of one partition's entries in one space: the space, the ordinal big-endian.
func AppendTablePrefix(dst []byte, space TableSpace, ordinal uint32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, byte(space)), ordinal)
}

// TableSpan returns the half-open range of one partition's keys in one space.
func TableSpan(space TableSpace, ordinal uint32) (start, end []byte) {
	start = AppendTablePrefix(make([]byte, 0, TablePrefixLen), space, ordinal)
	if ordinal == math.MaxUint32 {
		return start, []byte{byte(space) + 1}
	}
	return start, AppendTablePrefix(make([]byte, 0, TablePrefixLen), space, ordinal+1)
}

// AppendTableIndex appends the index key of a record key.
func AppendTableIndex(dst []byte, ordinal uint32, key []byte) []byte {
	return append(AppendTablePrefix(dst, TableIndex, ordinal), key...)
}

// AppendTableOffset appends a key of TableRows, TableSegments or TableTombstones: the prefix, the offset big-endian.
func AppendTableOffset(dst []byte, space TableSpace, ordinal uint32, offset int64) []byte {
	return binary.BigEndian.AppendUint64(AppendTablePrefix(dst, space, ordinal), uint64(offset))
}

// AppendTableVector appends the key of one piece of the deletion vector of the fold that ended at end; first is the lowest offset
// in the piece.
func AppendTableVector(dst []byte, ordinal uint32, end, first int64) []byte {
	return binary.BigEndian.AppendUint64(AppendTableOffset(dst, TableVectors, ordinal, end), uint64(first))
}

// AppendTablePast appends the key of a row that was superseded, up to the offset: the cut follows.
func AppendTablePast(dst []byte, ordinal uint32, era, offset int64) []byte {
	return binary.BigEndian.AppendUint64(AppendTableOffset(dst, TablePast, ordinal, era), uint64(offset))
}

// TablePastLen is the length in bytes of what AppendTablePast appends.
const TablePastLen = TablePrefixLen + 8 + 8

// AppendTableUndo appends the key under which the interval that follows the frame at cut keeps that frame's index entry of key.
func AppendTableUndo(dst []byte, ordinal uint32, cut int64, key []byte) []byte {
	return append(AppendTableOffset(dst, TableUndo, ordinal, cut), key...)
}

// ParseTableKey splits a key of the table database; ok is false for a key that is too short to be one.
func ParseTableKey(k []byte) (space TableSpace, ordinal uint32, rest []byte, ok bool) {
	if len(k) < TablePrefixLen {
		return 0, 0, nil, false
	}
	return TableSpace(k[0]), binary.BigEndian.Uint32(k[1:]), k[TablePrefixLen:], true
}

// ParseTableOffset reads the offset at the start of what follows the prefix.
func ParseTableOffset(rest []byte) (offset int64, ok bool) {
	if len(rest) < 8 || rest[0]&0x80 != 0 {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(rest)), true
}

// Package stored is the form in which a group's metadata is stored, of whichever kind the group is:
//
//	version   1 byte, which tells the kind too
//	fields    of that version, see the packages of the two kinds
//	checksum  4 bytes, big-endian: CRC-32C of everything before it
//
// Numbers are unsigned varints; a string is its length and its bytes. What is written:
//
//	b = append(b, version)
//	b = stored.AppendString(b, name)
//	b = stored.AppendSum(b, start)
//
// is read in the same order, and judged once, at its end:
//
//	r, err := stored.Open(b, version)
//	...
//	name = r.Text()
//	err = r.Close()
package stored

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

var (
	// ErrCorrupt is metadata that is not what was written.
	ErrCorrupt = errors.New("corrupt group metadata")
	// ErrVersion is metadata of a version that this program does not know.
	ErrVersion = errors.New("unknown version of group metadata")
)

const sumBytes = 4

// AppendInt appends a number that is not negative.
func AppendInt(dst []byte, n int64) []byte { return binary.AppendUvarint(dst, uint64(n)) }

// AppendString appends a string, or bytes.
func AppendString[T string | []byte](dst []byte, s T) []byte {
	return append(AppendInt(dst, int64(len(s))), s...)
}

// AppendSum ends what began at start with its checksum.
func AppendSum(dst []byte, start int) []byte {
	return binary.BigEndian.AppendUint32(dst, sum(dst[start:]))
}

func sum(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }

// Reader takes fields off; after the first that does not fit it is bad and yields zeroes.
type Reader struct {
	b   []byte
	bad bool
}

// Open checks version and checksum, in this order: what a later program wrote is not corrupt.
func Open(b []byte, version byte) (*Reader, error) {
	if len(b) < 1+sumBytes {
		return nil, fmt.Errorf("%w: %d bytes", ErrCorrupt, len(b))
	}
	if b[0] != version {
		return nil, fmt.Errorf("%w: %d", ErrVersion, b[0])
	}
	body := b[:len(b)-sumBytes]
	if sum(body) != binary.BigEndian.Uint32(b[len(body):]) {
		return nil, fmt.Errorf("%w: checksum", ErrCorrupt)
	}
	return &Reader{b: body[1:]}, nil
}

// Int is a number in [0, most].
func (r *Reader) Int(most int64) int64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > uint64(most) {
		r.Fail()
		return 0
	}
	r.b = r.b[n:]
	return int64(v)
}

// Count is a number of things of at least a byte each, so that nobody makes room for more than there can be.
func (r *Reader) Count() int64 { return r.Int(int64(len(r.b))) }

// Take is n bytes, of what was opened; nil where there are fewer.
func (r *Reader) Take(n int) []byte {
	if n > len(r.b) {
		r.Fail()
		return nil
	}
	s := r.b[:n]
	r.b = r.b[n:]
	return s
}

// Text is a string; it does not alias what was opened. (It is not named String: who prints a reader takes nothing off.)
func (r *Reader) Text() string { return string(r.Take(int(r.Count()))) }

// Fail says that a field does not mean anything.
func (r *Reader) Fail() { r.bad, r.b = true, nil }

// Bad tells whether a field did not fit.
func (r *Reader) Bad() bool { return r.bad }

// Close is ErrCorrupt unless all fields fitted and nothing is left.
func (r *Reader) Close() error {
	if r.bad || len(r.b) != 0 {
		return fmt.Errorf("%w: structure", ErrCorrupt)
	}
	return nil
}

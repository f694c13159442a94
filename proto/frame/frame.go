package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
)

var (
	// ErrVersion: the stream is a frame of a version that this program does not know.
	ErrVersion = errors.New("unknown frame version")
	// ErrCorrupt: a checksum or the structure is wrong. Nothing of the part concerned was returned.
	ErrCorrupt = errors.New("frame is corrupt")
	// ErrTruncated: the stream ends before the footer. errors.Is(err, io.ErrUnexpectedEOF) is true as well.
	ErrTruncated = fmt.Errorf("frame is truncated: %w", io.ErrUnexpectedEOF)
	// ErrTooLarge: a block is larger than the reader admits, or a row than any block.
	ErrTooLarge = errors.New("frame block is larger than the limit")
	// ErrBeyond: there is more in the frame than was said of it, see Reader.Expect.
	ErrBeyond = errors.New("there is more in the frame than was said of it")
)

// Row is the folded state of one key: the row type of the whole project.
type Row struct {
	Key       []byte
	Value     []byte // not nil in a live row that was decoded; nil in a tombstone
	Tombstone bool
	Offset    int64 // of the last delta that touched the key
	Timestamp int64 // of that delta, Unix milliseconds
	Headers   batch.Headers
}

// Header says what a frame is of.
type Header struct {
	TopicID     [16]byte
	Partition   int32
	Incarnation [16]byte
	Cut         int64 // N: every delta below it is folded, none at or above
	Start       int64 // S: log start offset; rows below it are excluded
	Since       int64 // c: only rows with offset >= c, tombstones included; -1: a whole frame, live rows only
	Fold        fold.Kind
	CutTimeMs   int64 // Unix milliseconds
}

// Footer says what must have been in the frame. For a frame since an offset Digest and Pub are those of the whole table at the cut.
// Writer and Reader hold it against the number of rows; digest and pub are the loader's to compare, who hashes the rows.
type Footer struct {
	Digest   digest.Digest
	Pub      [32]byte
	Rejected uint64 // deltas that the fold skipped, below the cut
	Rows     uint64 // in this frame, tombstones included
}

const (
	magic       = "KFRM"
	version     = 1
	versionSize = 8 // magic, version, fold, 0: what is read before anything else is believed
	headerSize  = 80
	footerSize  = 4 + 8 + 32 + 32 + 8 + 8 + 4
	blockHead   = 8  // length and checksum
	payloadHead = 20 // base offset, base timestamp, rows

	// BlockBytes is the payload size at which a block is closed.
	BlockBytes = 256 << 10

	// payloadOfManyMax is above the payload of any block that has more than one row: closed as soon as it can be, of rows that need none of their own.
	payloadOfManyMax = payloadHead + 2*(BlockBytes+rowHeadMax)

	// payloadMax keeps every position in a block within 31 bits.
	payloadMax = 1<<31 - 1

	flagTombstone = 1
	flagHeaders   = 2
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func (h Header) append(b []byte) []byte {
	start := len(b)
	b = append(b, magic...)
	b = append(b, version, byte(h.Fold), 0, 0)
	b = append(b, h.TopicID[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(h.Partition))
	b = append(b, h.Incarnation[:]...)
	for _, v := range []int64{h.Cut, h.Start, h.Since, h.CutTimeMs} {
		b = binary.BigEndian.AppendUint64(b, uint64(v))
	}
	return binary.BigEndian.AppendUint32(b, checksum(b[start:]))
}

// checkVersion looks at the first versionSize bytes. The header of another version may have another length.
func checkVersion(b []byte) error {
	if string(b[:4]) != magic {
		return fmt.Errorf("%w: it does not begin with %s", ErrCorrupt, magic)
	}
	if b[4] != version {
		return fmt.Errorf("%w %d: this program knows %d", ErrVersion, b[4], version)
	}
	return nil
}

func parseHeader(b []byte) (h Header, err error) {
	if checksum(b[:headerSize-4]) != binary.BigEndian.Uint32(b[headerSize-4:]) {
		return h, fmt.Errorf("%w: header checksum", ErrCorrupt)
	}
	h.Fold = fold.Kind(b[5])
	h.TopicID = [16]byte(b[8:])
	h.Partition = int32(binary.BigEndian.Uint32(b[24:]))
	h.Incarnation = [16]byte(b[28:])
	h.Cut = int64(binary.BigEndian.Uint64(b[44:]))
	h.Start = int64(binary.BigEndian.Uint64(b[52:]))
	h.Since = int64(binary.BigEndian.Uint64(b[60:]))
	h.CutTimeMs = int64(binary.BigEndian.Uint64(b[68:]))
	if h.Cut < 0 || h.Start < 0 || h.Start > h.Cut || h.Since < -1 || h.Since > h.Cut {
		return h, fmt.Errorf("%w: header has cut %d, start %d, since %d", ErrCorrupt, h.Cut, h.Start, h.Since)
	}
	return h, nil
}

func (f Footer) append(b []byte) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(f.Digest.Count))
	sum := f.Digest.Sum.Bytes()
	b = append(b, sum[:]...)
	b = append(b, f.Pub[:]...)
	b = binary.BigEndian.AppendUint64(b, f.Rejected)
	b = binary.BigEndian.AppendUint64(b, f.Rows)
	return binary.BigEndian.AppendUint32(b, checksum(b[start:]))
}

func parseFooter(b []byte) (f Footer, err error) {
	if checksum(b[:footerSize-4]) != binary.BigEndian.Uint32(b[footerSize-4:]) {
		return f, fmt.Errorf("%w: footer checksum", ErrCorrupt)
	}
	f.Digest.Count = int64(binary.BigEndian.Uint64(b[4:]))
	f.Digest.Sum = digest.SumFromBytes([32]byte(b[12:]))
	f.Pub = [32]byte(b[44:])
	f.Rejected = binary.BigEndian.Uint64(b[76:])
	f.Rows = binary.BigEndian.Uint64(b[84:])
	return f, nil
}

package engine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keyframelog/keyframe/storage/damage"
)

// A MANIFEST and a WAL are files of records, each record one chunk or several, none across a block of 32 KiB (Pebble's
// package record):
//
//	checksum 4, length 2, type 1, payload                            MANIFEST
//	checksum 4, length 2, type 1, log number 4, synced 8, payload    WAL; synced: this much of the file had been synced
//
// little-endian; the checksum is a masked CRC-32C of what follows the length. Pebble takes the first chunk that is not valid
// for the end of the file: that is where a crash has cut off what was not synced. But it may be damage, and then everything
// behind it would be given up without a word. What follows tells the two apart where that can be told, and never takes
// for damage what a crash may leave.
const (
	blockBytes   = 32 << 10
	sectorBytes  = 512 // what a disk writes whole or not at all
	editHeader   = 4 + 2 + 1
	walHeader    = editHeader + 4 + 8
	typeFull     = 1
	typeFirst    = 2
	typeLast     = 4
	typeWALFull  = 9
	typeWALLast  = 12
	typeEOF      = 5 // of a chunk without payload and checksum, of the next log number, which closes a WAL
	eofBytes     = editHeader + 4
	syncedValues = 3 // that differ, behind a chunk, are from before and after two syncs
)

// format is what differs between the two.
type format struct {
	header           int
	typeMin, typeMax byte
	logNumber        uint32 // of a WAL
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type chunk struct {
	bytes   int
	isFirst bool   // of a record
	isLast  bool   // of a record
	synced  uint64 // of a WAL's
}

// chunkAt reads the chunk that b starts with; b ends with its block.
func (f format) chunkAt(b []byte) (c chunk, valid bool) {
	if len(b) < f.header || b[6] < f.typeMin || b[6] > f.typeMax {
		return c, false
	}
	c.bytes = f.header + int(binary.LittleEndian.Uint16(b[4:]))
	c.isFirst = (b[6]-f.typeMin)&^1 == 0 // full or first
	c.isLast = b[6] == f.typeMin || b[6] == f.typeMax
	if c.bytes > len(b) {
		return c, false
	}
	if f.header == walHeader {
		if binary.LittleEndian.Uint32(b[7:]) != f.logNumber {
			return c, false
		}
		c.synced = binary.LittleEndian.Uint64(b[11:])
	}
	return c, binary.LittleEndian.Uint32(b) == checksum(b[6:c.bytes])
}

func checksum(b []byte) uint32 {
	sum := crc32.Checksum(b, castagnoli)
	return (sum>>15 | sum<<17) + 0xa282ead8
}

// isPadding tells whether the rest of a block is too short for another chunk.
func (f format) isPadding(b []byte, blockFull bool) bool {
	return blockFull && len(b) < f.header && len(bytes.Trim(b, "\x00")) == 0
}

// next is where in b, at from or behind, a chunk may begin; -1: nowhere. In a WAL the log number shows it.
func (f format) next(b []byte, from int) int {
	if f.header != walHeader {
		if from+f.header > len(b) {
			return -1
		}
		return from
	}
	if from+editHeader >= len(b) {
		return -1
	}
	i := bytes.Index(b[from+editHeader:], binary.LittleEndian.AppendUint32(nil, f.logNumber))
	if i < 0 {
		return -1
	}
	return from + i
}

// reading is the state of a pass over a file.
type reading struct {
	format
	evidence func(at int64, c chunk) bool // of a valid chunk behind the first invalid one: does it prove damage?
	bad      int64                        // where the first invalid chunk is; -1: there is none
	end      int64                        // of the record at bad, by what its header says, which is whole: it lies in one sector; 0: not known
	proved   bool
	behind   bool   // behind bad there is another valid chunk
	earlier  bool   // behind bad, in a WAL, is a chunk of one that had the file before
	begun    []byte // the block from bad on
	gap      bool   // behind bad, a part of a sector is zero: it was never written
	cut      bool   // the chunk at bad reaches beyond the end of its block or of the file
}

// read passes over the file; it stops at proof.
func (r *reading) read(fs vfs.FS, path string) (size int64, err error) {
	f, err := fs.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	r.bad = -1
	b := make([]byte, blockBytes)
	for !r.proved {
		n, err := io.ReadFull(f, b)
		r.block(size, b[:n])
		size += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return size, nil
		}
		if err != nil {
			return size, err
		}
	}
	return size, nil
}

func (r *reading) block(base int64, b []byte) {
	at := 0
	for r.bad < 0 && at < len(b) && !r.isPadding(b[at:], len(b) == blockBytes) {
		c, valid := r.chunkAt(b[at:])
		if !valid {
			r.bad = base + int64(at)
			if c.isLast && r.bad/sectorBytes == (r.bad+editHeader-1)/sectorBytes {
				r.end = r.bad + int64(c.bytes)
			}
			r.cut = len(b)-at < r.header || c.bytes > len(b)-at
			r.begun = bytes.Clone(b[at:])
			break
		}
		at += c.bytes
	}
	if r.bad < 0 {
		return
	}
	r.gap = r.gap || hasGap(b, at)
	if r.header == walHeader && !r.earlier {
		r.earlier = r.earlierIn(b[at:])
	}
	for at = r.next(b, at); at >= 0 && !r.proved; at = r.next(b, at) {
		c, valid := r.chunkAt(b[at:])
		if !valid {
			at++
			continue
		}
		r.behind = true
		r.proved = r.evidence(base+int64(at), c)
		at += c.bytes
	}
}

// hasGap tells whether one of the sectors that b[from:] lies in has nothing but zeros in it.
func hasGap(b []byte, from int) bool {
	for from < len(b) {
		end := min((from/sectorBytes+1)*sectorBytes, len(b))
		if len(bytes.Trim(b[from:end], "\x00")) == 0 {
			return true
		}
		from = end
	}
	return false
}

// checkManifest finds damage in a MANIFEST. Each record is synced before the next is written, and the first before the file is the MANIFEST, so a crash harms
// the last one only, of a file that ends with it: a MANIFEST is not preallocated (Pebble 2.1.7: only a WAL is), nor written to by a later process. What the crash
// has not written of that one are whole sectors, zero or beyond the end of the file.
//
// So where zeros begin within a record, they are damage if the file goes on behind it. Where they begin between two, and go on to the end, they may be all
// of one record of which no sector was written, as a file system leaves it that knows the new size before it has the data: that is not told from damage.
func checkManifest(fs vfs.FS, path string) error {
	r := reading{format: format{header: editHeader, typeMin: typeFull, typeMax: typeLast}}
	r.evidence = func(_ int64, c chunk) bool { return c.isFirst }
	size, err := r.read(fs, path)
	switch {
	case err != nil:
		return err
	case size == 0:
		return &damage.Error{Path: path, Offset: 0, Why: "it is empty"}
	case r.proved, r.bad == 0, r.bad > 0 && r.end > 0 && size > r.end, r.bad > 0 && !r.gap && !(r.cut && size%sectorBytes == 0):
		return &damage.Error{Path: path, Offset: r.bad, Why: "a record is not as it was written"}
	}
	return nil
}

// checkWAL finds damage in the WAL that was written last; Pebble takes no invalid chunk in an earlier one. The damaged part
// was synced if a later chunk says so, or if there are chunks behind it from before and after two more syncs: the second of
// them began when the first had ended, so it covered the earliest of these chunks and all before it. (The first alone may
// have begun before that chunk was written. What the chunks say is often too little: Pebble counts partial blocks only.)
//
// Where neither shows it, what is no record may be the end of a write that a crash cut short: torn says so, "" where the file ends
// as it should.
func checkWAL(fs vfs.FS, path string, logNumber uint64) (torn string, err error) {
	r := reading{format: format{header: walHeader, typeMin: typeWALFull, typeMax: typeWALLast, logNumber: uint32(logNumber)}}
	seen, last := 0, uint64(0)
	r.evidence = func(_ int64, c chunk) bool {
		if seen == 0 || c.synced > last {
			seen, last = seen+1, c.synced
		}
		return c.synced > uint64(r.bad) || seen >= syncedValues
	}
	if _, err := r.read(fs, path); err != nil {
		return "", err
	}
	if r.proved {
		return "", &damage.Error{Path: path, Offset: r.bad, Why: "a record is not as it was written, and synced records follow it"}
	}
	if n := r.unfinished(); n > 0 {
		return fmt.Sprintf("%s: %d bytes from byte %d on are no whole record: the end of a write that a crash cut short, or damage to the last one",
			path, n, r.bad), nil
	}
	return "", nil
}

// unfinished is how many bytes at bad were meant to be a chunk of this WAL; 0 where nothing was written. A file that was in use
// for an earlier WAL holds what is left of that behind its end, where no chunk begins but by chance.
func (r *reading) unfinished() int {
	written := len(bytes.TrimRight(r.begun, "\x00"))
	if r.bad < 0 || written == 0 && !r.behind {
		return 0
	}
	if len(r.begun) < eofBytes {
		return written
	}
	number := binary.LittleEndian.Uint32(r.begun[editHeader:])
	isType := r.begun[6] >= r.typeMin && r.begun[6] <= r.typeMax
	switch {
	case number == r.logNumber && isType:
		return min(len(r.begun), r.header+int(binary.LittleEndian.Uint16(r.begun[4:])))
	case number == r.logNumber+1 && isEOF(r.begun), r.earlier:
		return 0
	}
	return max(written, 1)
}

// earlierIn tells whether a chunk of an earlier WAL, or the mark that closed it, is in b, which ends with its block. One of them
// follows wherever the end of the later WAL cut a chunk of the earlier one.
func (f format) earlierIn(b []byte) bool {
	for at := 0; at+eofBytes <= len(b); at++ {
		was := f
		was.logNumber = binary.LittleEndian.Uint32(b[at+editHeader:])
		if was.logNumber > 0 && was.logNumber <= f.logNumber && isEOF(b[at:]) {
			return true
		}
		if _, valid := was.chunkAt(b[at:]); valid && was.logNumber < f.logNumber {
			return true
		}
	}
	return false
}

// isEOF tells whether b begins with the empty chunk that closes a WAL, of whatever number.
func isEOF(b []byte) bool {
	return binary.LittleEndian.Uint32(b) == 0 && binary.LittleEndian.Uint16(b[4:]) == 0 && b[6] == typeEOF
}

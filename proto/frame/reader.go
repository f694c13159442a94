package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/keyframelog/keyframe/proto/batch"
)

// DefaultMaxBlockBytes is what a reader admits where no limit is given: a row of 64 MiB and its block.
const DefaultMaxBlockBytes = 65 << 20

// Reader decodes one frame, block by block, each checked before it is returned.
type Reader struct {
	r      io.Reader
	max    int
	head   Header
	footer *Footer
	err    error
}

// NewReader reads the header. maxBlockBytes bounds what one block may make it allocate; 0: DefaultMaxBlockBytes.
// Errors: ErrVersion, ErrCorrupt, ErrTruncated, the stream's own.
func NewReader(r io.Reader, maxBlockBytes int) (*Reader, error) {
	if maxBlockBytes <= 0 {
		maxBlockBytes = DefaultMaxBlockBytes
	}
	var b [headerSize]byte
	if err := readFull(r, b[:]); err != nil {
		return nil, err
	}
	h, err := parseHeader(b[:])
	if err != nil {
		return nil, err
	}
	return &Reader{r: r, max: maxBlockBytes, head: h}, nil
}

// readFull turns an early end into ErrTruncated.
func readFull(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrTruncated
	}
	return err
}

// Header returns what the frame is of.
func (r *Reader) Header() Header { return r.head }

// Footer returns the footer; false until Next has returned io.EOF.
func (r *Reader) Footer() (Footer, bool) {
	if r.footer == nil {
		return Footer{}, false
	}
	return *r.footer, true
}

// Next reads and checks one block into dst's memory if it is large enough, else into new memory; the block keeps it. io.EOF
// comes after the footer, which has been checked. Errors are final: ErrCorrupt, ErrTruncated, ErrTooLarge, the stream's own.
func (r *Reader) Next(dst []byte) (Block, error) {
	if r.err != nil {
		return Block{}, r.err
	}
	block, err := r.next(dst)
	r.err = err
	return block, err
}

func (r *Reader) next(dst []byte) (Block, error) {
	var head [footerSize]byte
	if err := readFull(r.r, head[:4]); err != nil {
		return Block{}, err
	}
	size := int64(binary.BigEndian.Uint32(head[:]))
	if size == 0 {
		return Block{}, r.readFooter(head[:])
	}
	if err := readFull(r.r, head[4:blockHead]); err != nil {
		return Block{}, err
	}
	if size < payloadHead {
		return Block{}, fmt.Errorf("%w: block of %d bytes", ErrCorrupt, size)
	}
	if size > int64(r.max) {
		return Block{}, fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, size, r.max)
	}
	payload, err := r.readPayload(dst[:0], int(size))
	if err != nil {
		return Block{}, err
	}
	if checksum(payload) != binary.BigEndian.Uint32(head[4:]) {
		return Block{}, fmt.Errorf("%w: block checksum", ErrCorrupt)
	}
	return makeBlock(payload)
}

// readPayload grows with what really comes, so that a wrong length costs no memory.
func (r *Reader) readPayload(dst []byte, size int) ([]byte, error) {
	const step = 1 << 20
	for len(dst) < size {
		n := min(step, size-len(dst))
		dst = slices.Grow(dst, n)
		if err := readFull(r.r, dst[len(dst):len(dst)+n]); err != nil {
			return nil, err
		}
		dst = dst[:len(dst)+n]
	}
	return dst, nil
}

func (r *Reader) readFooter(b []byte) error {
	if err := readFull(r.r, b[4:]); err != nil {
		return err
	}
	f, err := parseFooter(b)
	if err != nil {
		return err
	}
	r.footer = &f
	return io.EOF
}

// Block holds the rows of one block, checked and immutable; rows alias it.
type Block struct {
	payload    []byte
	baseOffset int64
	baseTime   int64
	count      int
}

func makeBlock(payload []byte) (Block, error) {
	b := Block{
		payload:    payload,
		baseOffset: int64(binary.BigEndian.Uint64(payload)),
		baseTime:   int64(binary.BigEndian.Uint64(payload[8:])),
		count:      int(binary.BigEndian.Uint32(payload[16:])),
	}
	if b.baseOffset < 0 || b.count == 0 {
		return Block{}, fmt.Errorf("%w: block of %d rows at offset %d", ErrCorrupt, b.count, b.baseOffset)
	}
	return b, nil
}

// Len is the number of rows, as the block says: Rows yields that many or an error.
func (b Block) Len() int { return b.count }

// Begin and End bound the positions of rows: [Begin, End). A row's position is where the one before it ends.
func (b Block) Begin() int { return min(payloadHead, len(b.payload)) }
func (b Block) End() int   { return len(b.payload) }

// Bytes is the memory that the block keeps; it must not be modified.
func (b Block) Bytes() []byte { return b.payload }

// Row decodes the row at a position and says where the next one is. Error: ErrCorrupt.
func (b Block) Row(pos int) (row Row, next int, err error) {
	d := decoder{b: b.payload, at: pos}
	flags := d.byte()
	row.Offset = b.baseOffset + int64(d.uvarint())
	row.Timestamp = b.baseTime + d.varint()
	row.Key = d.bytes()
	if flags&flagHeaders != 0 {
		row.Headers = batch.Headers(d.bytes())
	}
	if flags&flagTombstone != 0 {
		row.Tombstone = true
	} else {
		row.Value = d.bytes()
	}
	if d.failed || flags > flagTombstone|flagHeaders || row.Offset < b.baseOffset {
		return Row{}, 0, fmt.Errorf("%w: row at position %d of the block at offset %d", ErrCorrupt, pos, b.baseOffset)
	}
	return row, d.at, nil
}

// Rows yields all rows; it ends after the first error.
func (b Block) Rows() iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		rows := 0
		for pos := b.Begin(); pos < b.End(); rows++ {
			row, next, err := b.Row(pos)
			if err != nil {
				yield(Row{}, err)
				return
			}
			if !yield(row, nil) {
				return
			}
			pos = next
		}
		if rows != b.count {
			yield(Row{}, fmt.Errorf("%w: block at offset %d has %d rows, says %d", ErrCorrupt, b.baseOffset, rows, b.count))
		}
	}
}

// decoder reads one row. After a failure everything reads as zero.
type decoder struct {
	b      []byte
	at     int
	failed bool
}

func (d *decoder) byte() byte {
	if d.at < payloadHead || d.at >= len(d.b) {
		d.failed = true
		return 0
	}
	d.at++
	return d.b[d.at-1]
}

func (d *decoder) uvarint() uint64 {
	if d.failed {
		return 0
	}
	v, n := binary.Uvarint(d.b[d.at:])
	if n <= 0 {
		d.failed = true
		return 0
	}
	d.at += n
	return v
}

func (d *decoder) varint() int64 {
	u := d.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if d.failed || n > uint64(len(d.b)-d.at) {
		d.failed = true
		return nil
	}
	b := d.b[d.at : d.at+int(n) : d.at+int(n)]
	d.at += int(n)
	return b
}

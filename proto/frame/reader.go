package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/keyframelog/keyframe/proto/fold"
)

// DefaultMaxBlockBytes is what a reader admits where no limit is given: the largest row there is, alone in its block. No other block
// comes near that.
const DefaultMaxBlockBytes = fold.RowBytesMax + payloadHead + rowHeadMax

// Reader decodes one frame, block by block, each checked before it is returned.
type Reader struct {
	r      io.Reader
	max    int
	head   Header
	base   int64  // offset of the last block
	rows   uint64 // in all blocks, as they say
	footer *Footer
	err    error

	expected *size // nil: anything is taken
	live     size  // in all blocks; counted where something is expected
}

// size is that of live rows.
type size struct {
	rows, bytes int64 // bytes of keys and values
}

// NewReader reads the header. maxBlockBytes bounds what one block may make it allocate; 0: DefaultMaxBlockBytes.
// Errors: ErrVersion, ErrCorrupt, ErrTruncated, the stream's own.
func NewReader(r io.Reader, maxBlockBytes int) (*Reader, error) {
	if maxBlockBytes <= 0 {
		maxBlockBytes = DefaultMaxBlockBytes
	}
	var b [headerSize]byte
	if err := readFull(r, b[:versionSize]); err != nil {
		return nil, err
	}
	if err := checkVersion(b[:]); err != nil {
		return nil, err
	}
	if err := readFull(r, b[versionSize:]); err != nil {
		return nil, err
	}
	h, err := parseHeader(b[:])
	if err != nil {
		return nil, err
	}
	return &Reader{r: r, max: min(maxBlockBytes, payloadMax), head: h, base: -1}, nil
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

// Expect bounds what Next returns by what was said of the frame before it came: more live rows, or more bytes of their keys and values, are ErrBeyond,
// final and found in the block in which they are, so that a stream without an end costs no more than the frame that was expected. It is called before the
// first Next. Tombstones, of a frame since an offset, are as many as there are offsets at most.
func (r *Reader) Expect(rows, bytes int64) { r.expected = &size{rows, bytes} }

// Expected is how many live rows were expected; false: that was not said.
func (r *Reader) Expected() (rows int64, ok bool) {
	if r.expected == nil {
		return 0, false
	}
	return r.expected.rows, true
}

// Next reads and checks one block into dst's memory if it is large enough, else into new memory; the block keeps it. io.EOF
// comes after the footer, which has been checked; nothing behind it is read. Errors are final: ErrCorrupt, ErrTruncated, ErrTooLarge,
// ErrBeyond, the stream's own.
func (r *Reader) Next(dst []byte) (Block, error) {
	if r.err != nil {
		return Block{}, r.err
	}
	block, err := r.next(dst)
	if r.err = err; err != nil {
		return Block{}, err
	}
	return block, nil
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
	block, err := makeBlock(payload)
	if err != nil {
		return Block{}, err
	}
	if block.baseOffset <= r.base || block.baseOffset >= r.head.Cut {
		return Block{}, fmt.Errorf("%w: block at offset %d behind %d, cut %d", ErrCorrupt, block.baseOffset, r.base, r.head.Cut)
	}
	if block.count > 1 && size > payloadOfManyMax {
		return Block{}, fmt.Errorf("%w: block of %d rows and %d bytes", ErrCorrupt, block.count, size)
	}
	r.base = block.baseOffset
	r.rows += uint64(block.count)
	return block, r.within(block)
}

// within holds the blocks so far to what was expected of all.
func (r *Reader) within(b Block) error {
	if r.expected == nil {
		return nil
	}
	live, ok := b.live()
	if !ok {
		return fmt.Errorf("%w: block at offset %d: malformed row", ErrCorrupt, b.baseOffset)
	}
	r.live.rows += live.rows
	r.live.bytes += live.bytes
	if r.live.rows > r.expected.rows || r.live.bytes > r.expected.bytes {
		return fmt.Errorf("%w: %d rows of %d bytes up to the block at offset %d, expected %d of %d",
			ErrBeyond, r.live.rows, r.live.bytes, b.baseOffset, r.expected.rows, r.expected.bytes)
	}
	return nil
}

// readPayload grows with what really comes, so that a wrong length costs no memory. Blocks of the usual size get exactly theirs: they
// may be kept.
func (r *Reader) readPayload(dst []byte, size int) ([]byte, error) {
	if cap(dst) < size {
		dst = make([]byte, 0, min(size, 2*BlockBytes))
	}
	for len(dst) < size {
		n := min(max(len(dst), 2*BlockBytes), size-len(dst))
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
	if f.Rows != r.rows {
		return fmt.Errorf("%w: %d rows, the footer says %d", ErrCorrupt, r.rows, f.Rows)
	}
	r.footer = &f
	return io.EOF
}

package frame

import (
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/keyframelog/keyframe/proto/batch"
)

// Block holds the rows of one block, checked and immutable; rows alias it.
type Block struct {
	payload    []byte
	baseOffset int64
	baseTime   int64
	count      int
}

// rowBytesMin is the smallest row: a tombstone of the empty key.
const rowBytesMin = 4

func makeBlock(payload []byte) (Block, error) {
	b := Block{
		payload:    payload,
		baseOffset: int64(binary.BigEndian.Uint64(payload)),
		baseTime:   int64(binary.BigEndian.Uint64(payload[8:])),
		count:      int(binary.BigEndian.Uint32(payload[16:])),
	}
	if b.baseOffset < 0 || b.count == 0 || b.count > (len(payload)-payloadHead)/rowBytesMin {
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

// Row decodes the row at a position, which must be one, and says where the next one is; no position makes it panic. Error: ErrCorrupt.
func (b Block) Row(pos int) (row Row, next int, err error) {
	if pos < payloadHead || pos >= len(b.payload) {
		return Row{}, 0, fmt.Errorf("%w: no row at position %d of the block at offset %d", ErrCorrupt, pos, b.baseOffset)
	}
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

// live is how many rows of the block are no tombstones, and how large their keys and values are. It looks at nothing else of them.
func (b Block) live() (s size, ok bool) {
	d := decoder{b: b.payload, at: b.Begin()}
	for d.at < b.End() && !d.failed {
		flags := d.byte()
		d.uvarint()
		d.uvarint()
		bytes := len(d.bytes())
		if flags&flagHeaders != 0 {
			d.bytes()
		}
		if flags&flagTombstone == 0 {
			s.rows++
			s.bytes += int64(bytes + len(d.bytes()))
		}
	}
	return s, !d.failed
}

// decoder reads rows. What it reads after a failure means nothing, and is within its bytes.
type decoder struct {
	b      []byte
	at     int
	failed bool
}

func (d *decoder) byte() byte {
	if d.at >= len(d.b) {
		d.failed = true
		return 0
	}
	d.at++
	return d.b[d.at-1]
}

func (d *decoder) uvarint() uint64 {
	if i := d.at; i < len(d.b) && d.b[i] < 0x80 {
		d.at = i + 1
		return uint64(d.b[i])
	}
	return d.long()
}

func (d *decoder) long() uint64 {
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

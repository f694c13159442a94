package memory

import (
	"encoding/binary"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/frame"
)

// arenaChunkBytes is the size of an arena chunk; a row larger than it gets a chunk to itself.
const arenaChunkBytes = 256 << 10

// ref is where a row lies: chunk number << 32 | position in the chunk. Chunk numbers start at 1; 0 is no row.
type ref uint64

func makeRef(chunk uint32, pos int) ref { return ref(chunk)<<32 | ref(uint32(pos)) }
func (r ref) chunk() uint32             { return uint32(r >> 32) }
func (r ref) pos() int                  { return int(uint32(r)) }

// chunk holds rows: a block of a frame as it came, or rows that the tail wrote.
type chunk struct {
	arena []byte      // rows in the arena's layout; nil for a block
	block frame.Block // rows as the frame has them
	isSet bool
	live  int // bytes of rows that are current
	rows  int // how many these are: unlike their bytes, no damage makes it wrong
	size  int // bytes of all rows
}

// chunks is the row store of a table: numbered chunks and the arena's open one.
type chunks struct {
	list  []chunk // [0] is never used
	free  []uint32
	open  uint32 // the arena chunk that is appended to; 0: none yet
	drops uint64 // how many were dropped: while it stays, a number stands for the same chunk
}

func newChunks() chunks { return chunks{list: make([]chunk, 1)} }

func (c *chunks) add(ch chunk) uint32 {
	ch.isSet = true
	if n := len(c.free); n > 0 {
		no := c.free[n-1]
		c.free = c.free[:n-1]
		c.list[no] = ch
		return no
	}
	c.list = append(c.list, ch)
	return uint32(len(c.list) - 1)
}

func (c *chunks) drop(no uint32) {
	c.list[no] = chunk{}
	c.free = append(c.free, no)
	c.drops++
}

// put appends a row to the arena and returns where it lies.
func (c *chunks) put(row *frame.Row) ref {
	need := arenaRowBytes(row)
	if c.open == 0 || cap(c.list[c.open].arena)-len(c.list[c.open].arena) < need {
		c.open = c.add(chunk{arena: make([]byte, 0, max(need, arenaChunkBytes))})
	}
	ch := &c.list[c.open]
	at := makeRef(c.open, len(ch.arena))
	before := len(ch.arena)
	ch.arena = appendArenaRow(ch.arena, row)
	ch.size += len(ch.arena) - before
	ch.live += len(ch.arena) - before
	ch.rows++
	return at
}

// get decodes the row at r and tells how many bytes of its chunk it takes. Rows were verified when they came in: where
// ok is false, memory is damaged.
func (c *chunks) get(r ref) (row frame.Row, size int, ok bool) {
	ch := &c.list[r.chunk()]
	if ch.arena != nil {
		row, next, ok := readArenaRow(ch.arena, r.pos())
		return row, next - r.pos(), ok
	}
	row, next, err := ch.block.Row(r.pos())
	return row, next - r.pos(), err == nil
}

// bytes counts the rows that are current, and what is held for them.
func (c *chunks) bytes() (live, held int64) {
	for i := range c.list {
		ch := &c.list[i]
		live += int64(ch.live)
		held += int64(cap(ch.arena) + ch.block.End())
	}
	return live, held
}

// arenaRowBytes is an upper bound of what appendArenaRow writes.
func arenaRowBytes(row *frame.Row) int {
	return len(row.Key) + len(row.Value) + len(row.Headers) + 5*binary.MaxVarintLen64
}

func appendArenaRow(b []byte, row *frame.Row) []byte {
	b = binary.AppendUvarint(b, uint64(len(row.Key)))
	b = append(b, row.Key...)
	b = binary.AppendUvarint(b, uint64(len(row.Value)))
	b = append(b, row.Value...)
	b = binary.AppendVarint(b, row.Offset)
	b = binary.AppendVarint(b, row.Timestamp)
	b = binary.AppendUvarint(b, uint64(len(row.Headers)))
	return append(b, row.Headers...)
}

// readArenaRow reads what appendArenaRow wrote in this process. Damaged memory does not make it panic.
func readArenaRow(b []byte, pos int) (row frame.Row, next int, ok bool) {
	if pos > len(b) {
		return frame.Row{}, 0, false
	}
	if row.Key, pos = arenaBytes(b, pos); pos < 0 {
		return frame.Row{}, 0, false
	}
	if row.Value, pos = arenaBytes(b, pos); pos < 0 {
		return frame.Row{}, 0, false
	}
	offset, n := binary.Varint(b[pos:])
	timestamp, m := binary.Varint(b[pos+max(n, 0):])
	if n <= 0 || m <= 0 {
		return frame.Row{}, 0, false
	}
	row.Offset, row.Timestamp = offset, timestamp
	h, pos := arenaBytes(b, pos+n+m)
	if pos < 0 {
		return frame.Row{}, 0, false
	}
	if len(h) > 0 {
		row.Headers = batch.Headers(h)
	}
	return row, pos, true
}

// arenaBytes returns what has its length before it, and where that ends; -1: nowhere in b.
func arenaBytes(b []byte, pos int) ([]byte, int) {
	l, n := binary.Uvarint(b[pos:])
	if n <= 0 || l > uint64(len(b)-pos-n) {
		return nil, -1
	}
	pos += n
	end := pos + int(l)
	return b[pos:end:end], end
}

// begin and end bound the positions of a chunk's rows: [begin, end).
func (c *chunk) begin() int {
	if c.arena != nil {
		return 0
	}
	return c.block.Begin()
}

func (c *chunk) end() int {
	if c.arena != nil {
		return len(c.arena)
	}
	return c.block.End()
}

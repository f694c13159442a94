package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

var errClosed = errors.New("frame is closed")

// Writer encodes one frame. It belongs to one goroutine. After an error every call returns it.
type Writer struct {
	w          io.Writer
	head       Header
	wroteHead  bool
	block      []byte // block head, payload head, rows
	rows       uint32 // in the block
	total      uint64
	base       int64 // offset
	baseTime   int64
	lastOffset int64
	err        error
}

// NewWriter starts a frame; the header is written with the first block. A block is one Write.
func NewWriter(w io.Writer, h Header) *Writer {
	return &Writer{w: w, head: h, lastOffset: -1, block: make([]byte, blockHead+payloadHead, BlockBytes+BlockBytes/4)}
}

// Append adds a row. Offsets must ascend below the cut, and a whole frame takes no tombstone.
func (w *Writer) Append(r *Row) error {
	if w.err != nil {
		return w.err
	}
	switch {
	case r.Offset <= w.lastOffset || r.Offset >= w.head.Cut || r.Offset < w.head.Since:
		return w.fail(fmt.Errorf("frame at cut %d since %d cannot take the row at offset %d behind %d", w.head.Cut, w.head.Since, r.Offset, w.lastOffset))
	case r.Tombstone && w.head.Since < 0:
		return w.fail(fmt.Errorf("a whole frame takes no tombstone (offset %d)", r.Offset))
	}
	if size := len(r.Key) + len(r.Value) + len(r.Headers); size >= BlockBytes {
		if size > payloadMax-payloadHead-rowHeadMax {
			return w.fail(fmt.Errorf("%w: row of %d bytes at offset %d", ErrTooLarge, size, r.Offset))
		}
		if err := w.flush(); err != nil { // it gets a block of its own
			return err
		}
	}
	if w.rows == 0 {
		w.base, w.baseTime = r.Offset, r.Timestamp
	}
	w.lastOffset = r.Offset
	w.block = appendRow(w.block, r, w.base, w.baseTime)
	w.rows++
	w.total++
	if len(w.block) >= blockHead+BlockBytes {
		return w.flush()
	}
	return nil
}

// rowHeadMax bounds what a row takes beside key, value and headers: flags and five varints.
const rowHeadMax = 1 + 5*binary.MaxVarintLen64

func appendRow(b []byte, r *Row, base, baseTime int64) []byte {
	var flags byte
	if r.Tombstone {
		flags |= flagTombstone
	}
	if len(r.Headers) > 0 {
		flags |= flagHeaders
	}
	b = append(b, flags)
	b = binary.AppendUvarint(b, uint64(r.Offset-base))
	b = binary.AppendVarint(b, r.Timestamp-baseTime)
	b = append(binary.AppendUvarint(b, uint64(len(r.Key))), r.Key...)
	if flags&flagHeaders != 0 {
		b = append(binary.AppendUvarint(b, uint64(len(r.Headers))), r.Headers...)
	}
	if flags&flagTombstone == 0 {
		b = append(binary.AppendUvarint(b, uint64(len(r.Value))), r.Value...)
	}
	return b
}

// flush writes the open block, and the header before the first.
func (w *Writer) flush() error {
	if !w.wroteHead {
		w.wroteHead = true
		if _, err := w.w.Write(w.head.append(nil)); err != nil {
			return w.fail(err)
		}
	}
	if w.rows == 0 {
		return nil
	}
	payload := w.block[blockHead:]
	binary.BigEndian.PutUint64(payload, uint64(w.base))
	binary.BigEndian.PutUint64(payload[8:], uint64(w.baseTime))
	binary.BigEndian.PutUint32(payload[16:], w.rows)
	binary.BigEndian.PutUint32(w.block, uint32(len(payload)))
	binary.BigEndian.PutUint32(w.block[4:], checksum(payload))
	if _, err := w.w.Write(w.block); err != nil {
		return w.fail(err)
	}
	w.block, w.rows = w.block[:blockHead+payloadHead], 0
	if cap(w.block) > 4*BlockBytes { // one huge row must not keep its memory for the whole frame
		w.block = make([]byte, blockHead+payloadHead, BlockBytes+BlockBytes/4)
	}
	return nil
}

// Close writes what is left and the footer. Footer.Rows must be the number of rows that were appended.
func (w *Writer) Close(f Footer) error {
	if w.err != nil {
		return w.err
	}
	if f.Rows != w.total {
		return w.fail(fmt.Errorf("frame has %d rows, its footer %d", w.total, f.Rows))
	}
	if err := w.flush(); err != nil {
		return err
	}
	if _, err := w.w.Write(f.append(nil)); err != nil {
		return w.fail(err)
	}
	w.err = errClosed
	return nil
}

func (w *Writer) fail(err error) error {
	w.err = err
	return err
}

package blobfile

import (
	"encoding/binary"

	"github.com/cockroachdb/pebble/v2/sstable/block"
)

// Find tells where in a block, as Read gives it, a value lies, half-open; false: it is no block, or has no such value. Values that follow each other
// lie side by side. A block is, little-endian (Pebble's package colblk):
//
//	version 1 (01), columns 2 (1), rows 4, type 1 (3: bytes), where the column begins 4
//	column: width of its offsets 1 (0, 1, 2 or 4), zeros up to a multiple of it, an offset for each row and one for the end, the values
//	padding 1
//	trailer: compression 1 (0: none), checksum 4
func Find(b []byte, index uint32) (from, to int, ok bool) {
	const header, bytesType = 7 + 5, 3
	if len(b) < header+block.TrailerLen || b[len(b)-block.TrailerLen] != 0 {
		return 0, 0, false
	}
	b = b[:len(b)-block.TrailerLen]
	rows, column := binary.LittleEndian.Uint32(b[3:]), binary.LittleEndian.Uint32(b[8:])
	if b[0] != 1 || binary.LittleEndian.Uint16(b[1:]) != 1 || b[7] != bytesType || index >= rows || uint64(column) >= uint64(len(b)) {
		return 0, 0, false
	}
	width := uint64(b[column])
	if width != 0 && width != 1 && width != 2 && width != 4 {
		return 0, 0, false
	}
	offsets := uint64(column) + 1
	if width > 0 {
		offsets = (offsets + width - 1) / width * width
	}
	data := offsets + (uint64(rows)+1)*width
	if data > uint64(len(b)) {
		return 0, 0, false
	}
	at := func(i uint64) uint64 {
		switch o := b[offsets+i*width:]; width {
		case 1:
			return data + uint64(o[0])
		case 2:
			return data + uint64(binary.LittleEndian.Uint16(o))
		case 4:
			return data + uint64(binary.LittleEndian.Uint32(o))
		}
		return data
	}
	begin, end := at(uint64(index)), at(uint64(index)+1)
	if begin > end || end > uint64(len(b)) {
		return 0, 0, false
	}
	return int(begin), int(end), true
}

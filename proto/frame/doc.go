// Package frame is the one format for rows in bulk: whole key frames, the rows changed since an offset, exports and backups, on the
// wire and at rest.
//
//	w := frame.NewWriter(out, frame.Header{TopicID: id, Cut: 1000, Since: -1, Fold: fold.LastValue})
//	err := w.Append(&row)   // in offset order
//	err = w.Close(frame.Footer{Digest: d, Pub: pub, Rows: n})
//
//	r, err := frame.NewReader(in, 0)
//	for { block, err := r.Next(nil); ... for row, err := range block.Rows() { ... } }
//	footer, ok := r.Footer()
//
// # Bytes
//
// Integers are big-endian unless they are varints (LEB128; signed ones in zigzag order). Checksums are CRC-32C.
//
//	frame   = header, block*, footer
//	header  = "KFRM", version u8 = 1, fold u8, 0 u16, topic id 16, partition u32, incarnation 16,
//	          cut u64, start u64, since u64 (2^64-1: a whole frame), cut time u64 (Unix ms), checksum u32 of all before
//	block   = length u32 of the payload (never 0), checksum u32 of the payload, payload
//	payload = base offset u64, base timestamp u64 (of its first row), rows u32, row*
//	row     = flags u8 (1 tombstone, 2 headers), uvarint offset - base offset, varint timestamp - base timestamp,
//	          uvarint length, key, [uvarint length, header section as in a record], [uvarint length, value]
//	footer  = 0 u32, count u64, sum 32, pub 32, rejected u64, rows u64, checksum u32 of all before, the 0 included
//
// A tombstone has no value. Everything in a row is relative to its block, so that a row can be decoded at its position without those
// before it: a copy in memory keeps the blocks as they came. A block is closed when its payload has reached 256 KiB; a larger
// row makes a larger block. Equal rows make equal bytes.
//
// A frame without a footer is truncated, never complete. An unknown version (ErrVersion) is not a corruption (ErrCorrupt).
package frame

// Package frame is the one format for rows in bulk: whole key frames, the rows changed since an offset, exports and backups, on the
// wire and at rest.
//
//	w := frame.NewWriter(out, frame.Header{TopicID: id, Cut: 1000, Since: -1, Fold: fold.LastValue})
//	err := w.Append(&row)   // in offset order
//	err = w.Close(frame.Footer{Digest: d, Pub: pub, Rows: n})
//
//	r, err := frame.NewReader(in, 0)
//	block, err := r.Next(nil)                // until io.EOF
//	for row, err := range block.Rows() { ... }
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
// A tombstone has no value. Offsets ascend through the whole frame, from since (or 0) to below the cut. Everything in a row is relative
// to its block, so that a row can be decoded at its position without those before it: a copy in memory keeps the blocks as they came
// and 31-bit positions into them. A block is closed when its payload has reached 256 KiB; a row whose key, value and headers
// have that size is alone in a block. So equal rows make equal bytes, and no block of more than one row comes near twice that size.
//
// The version covers everything behind it; the first 8 bytes of a frame are the same in all versions. An unknown version
// (ErrVersion) is not a corruption (ErrCorrupt), and a frame without a footer is truncated (ErrTruncated), never complete. Nothing
// behind the footer is read. Who was told beforehand how many rows and bytes a frame has holds it to that as it comes (Reader.Expect). What the checksums do not prove, that these are the rows of the topic at the cut, the footer's digest does:
// who loads a frame hashes its rows (proto/digest).
package frame

package batch

import (
	"encoding/binary"
)

// Recompress returns the batch with its records, which Reader.Records has, in another codec at a level of that codec: gzip 1 to 9, LZ4 1
// to 17, zstd as the reference implementation counts them; 0 is the codec's default, and snappy has no other. All else in the header
// stays: offsets, times, the producer and its sequence. The result is memory of its own.
// Errors: ErrCodec, or the compressor's.
func (b Batch) Recompress(codec Codec, level int, records []byte) (Batch, error) {
	size := len(records)
	if codec != None {
		size /= 2
	}
	out := append(make([]byte, 0, HeaderSize+size), b[:HeaderSize]...)
	if codec == None {
		out = append(out, records...)
	} else {
		var err error
		if out, err = compress(codec, level, out, records); err != nil {
			return nil, err
		}
	}
	next := Batch(out)
	binary.BigEndian.PutUint32(next[posLength:], uint32(len(next)-lengthOverhead))
	binary.BigEndian.PutUint16(next[posAttributes:], uint16(b.Attributes()&^attrCodec|int16(codec)))
	next.seal()
	return next, nil
}

package batch

import (
	"encoding/binary"
	"iter"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/snappy"
)

const (
	// xerialMagic tells the framing of Java's snappy library from a raw block.
	xerialMagic = "\x82SNAPPY\x00"
	// xerialHeader is the magic, version 1, compatible version 1.
	xerialHeader = xerialMagic + "\x00\x00\x00\x01\x00\x00\x00\x01"
	// xerialBlock is how much of the input we put into a block, in bytes; snappy looks no further back anyway.
	xerialBlock = 64 << 10
	// snappyRatioMax is above what a block can expand to: three bytes copy 64.
	snappyRatioMax = 22
)

// snappyBlocks yields the raw blocks: the only one, or those of the framing; nil for one that is cut off.
func snappyBlocks(src []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if len(src) < len(xerialHeader) || string(src[:len(xerialMagic)]) != xerialMagic {
			yield(src)
			return
		}
		for src = src[len(xerialHeader):]; len(src) > 0; {
			if len(src) < 4 {
				yield(nil)
				return
			}
			n := int64(binary.BigEndian.Uint32(src))
			if src = src[4:]; n > int64(len(src)) {
				yield(nil)
				return
			}
			if !yield(src[:n]) {
				return
			}
			src = src[n:]
		}
	}
}

// snappyClaim adds up the sizes that stand in front of each block.
func snappyClaim(src []byte, limit int) (claim, error) {
	var c claim
	for block := range snappyBlocks(src) {
		if len(block) == 0 {
			return c, errCutOff
		}
		n, err := s2.DecodedLen(block)
		if err != nil {
			return c, err
		}
		if c.declared += n; c.declared > limit {
			return c, errLimit
		}
		if n > snappyRatioMax*len(block) {
			return c, errForm // not worth an allocation
		}
	}
	c.bound = c.declared
	return c, nil
}

// unsnappy decodes strictly: klauspost's own decoder also takes extensions that no other client can read.
func unsnappy(dst, src []byte) ([]byte, error) {
	for block := range snappyBlocks(src) {
		n, err := snappy.DecodedLen(block)
		if err != nil {
			return nil, err
		}
		if n > cap(dst)-len(dst) {
			return nil, errFull
		}
		out, err := snappy.DecodeStrict(dst[len(dst):len(dst)+n:len(dst)+n], block)
		if err != nil {
			return nil, err
		}
		dst = dst[:len(dst)+len(out)]
	}
	return dst, nil
}

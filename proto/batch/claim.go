package batch

import (
	"encoding/binary"
	"errors"
	"math/bits"

	"github.com/klauspost/compress/zstd"
)

var (
	errCutOff = errors.New("cut off")
	errForm   = errors.New("not of the format")
)

// gzipClaim reads the size that stands at the end of a gzip member, modulo 2^32. With several members it is that of the last one.
func gzipClaim(src []byte) (claim, error) {
	const (
		memberMin = 18 // header and trailer
		ratioMax  = 1032
	)
	if len(src) < memberMin {
		return claim{}, errCutOff
	}
	c := claim{declared: int(binary.LittleEndian.Uint32(src[len(src)-4:])), bound: ratioMax * len(src)}
	if c.declared > c.bound {
		return c, errForm
	}
	return c, nil
}

const (
	lz4Magic        = 0x184D2204
	lz4Version      = 1 << 6 // flag bits 7 and 6
	lz4VersionMask  = 3 << 6
	lz4BlockSum     = 1 << 4
	lz4ContentSize  = 1 << 3
	lz4Dictionary   = 1 << 0
	lz4Stored       = 1 << 31 // of a block's length
	lz4BlockSizeMin = 4       // of the code of a block's maximum size: 4 is 64 KiB, 5 is 256 KiB, ..., 7 is 4 MiB
	lz4RatioMax     = 255
)

// lz4Claim walks a frame's blocks. Each holds at most the frame's block size, and what is stored has its size in front.
func lz4Claim(src []byte, limit int) (claim, error) {
	if len(src) < 7 {
		return claim{}, errCutOff
	}
	le := binary.LittleEndian
	flags, sizes := src[4], src[5]>>4&7
	if le.Uint32(src) != lz4Magic || flags&lz4VersionMask != lz4Version || flags&lz4Dictionary != 0 || sizes < lz4BlockSizeMin {
		return claim{}, errForm
	}
	var c claim
	at := 6
	if flags&lz4ContentSize != 0 {
		if len(src) < at+8 {
			return c, errCutOff
		}
		declared := le.Uint64(src[at:])
		if declared > uint64(limit) {
			return c, errLimit
		}
		c.declared, at = int(declared), at+8
	}
	at++ // header checksum
	blockMax, stored := 64<<10<<(2*(sizes-lz4BlockSizeMin)), 0
	for {
		if len(src)-at < 4 {
			return c, errCutOff
		}
		word := le.Uint32(src[at:])
		if at += 4; word == 0 {
			return c, nil
		}
		n := int(word &^ lz4Stored)
		if n > len(src)-at {
			return c, errCutOff
		}
		if word&lz4Stored != 0 {
			c.bound, stored = c.bound+n, stored+n
		} else {
			c.bound += min(blockMax, lz4RatioMax*n)
		}
		if stored > limit {
			return c, errLimit
		}
		if at += n; flags&lz4BlockSum != 0 {
			at += 4
		}
	}
}

const (
	zstdBlockMax  = 128 << 10 // the most that a block decompresses to
	zstdWindowMin = 1 << 10
	zstdWindowAt  = 5 // in a frame: behind magic and flags
)

// zstdClaim walks the blocks of all frames. A raw or repeated-byte block has its size in front, a compressed one holds at most
// zstdBlockMax.
func zstdClaim(src []byte, limit int) (claim, error) {
	var c claim
	everyFrame := true // declares its size
	sure, total := 0, len(src)
	for len(src) > 0 {
		var h zstd.Header
		if err := h.Decode(src); err != nil {
			return c, err
		}
		if h.Skippable {
			skip := h.HeaderSize + int(h.SkippableSize)
			if skip > len(src) {
				return c, errCutOff
			}
			src = src[skip:]
			continue
		}
		if h.HasFCS && h.FrameContentSize > uint64(limit) {
			return c, errLimit
		}
		if h.WindowSize > uint64(max(limit, zstdWindowMin)) {
			c.wide = append(c.wide, total-len(src)+zstdWindowAt)
		}
		bound, known, rest, err := zstdBlocks(src[h.HeaderSize:])
		if err != nil {
			return c, err
		}
		if h.HasFCS {
			if h.FrameContentSize > uint64(bound) {
				return c, errForm
			}
			bound, known = int(h.FrameContentSize), int(h.FrameContentSize)
		}
		everyFrame = everyFrame && h.HasFCS
		c.bound += bound
		if sure += known; sure > limit {
			return c, errLimit
		}
		if src = rest; h.HasCheckSum {
			src = src[min(4, len(src)):]
		}
	}
	if everyFrame {
		c.declared = c.bound
	}
	return c, nil
}

// zstdBlocks walks the blocks of one frame: the most that they can hold, what they hold for sure, and the bytes behind the last.
func zstdBlocks(src []byte) (bound, sure int, rest []byte, err error) {
	const raw, repeated, compressed = 0, 1, 2
	for {
		if len(src) < 3 {
			return 0, 0, nil, errCutOff
		}
		head := int(src[0]) | int(src[1])<<8 | int(src[2])<<16
		src = src[3:]
		isLast, kind, size := head&1 != 0, head>>1&3, head>>3
		content := size
		switch kind {
		case raw:
			bound, sure = bound+size, sure+size
		case repeated:
			bound, sure, content = bound+size, sure+size, 1
		case compressed:
			bound += zstdBlockMax
		default:
			return 0, 0, nil, errForm
		}
		if content > len(src) {
			return 0, 0, nil, errCutOff
		}
		if src = src[content:]; isLast {
			return bound, sure, src, nil
		}
	}
}

// zstdWindow is the window descriptor for the largest window within a limit: an exponent of two above zstdWindowMin, and eighths of it.
func zstdWindow(limit int) byte {
	limit = max(limit, zstdWindowMin)
	exponent := bits.Len(uint(limit)) - bits.Len(zstdWindowMin)
	base := zstdWindowMin << exponent
	return byte(exponent<<3 | (limit-base)/(base/8))
}

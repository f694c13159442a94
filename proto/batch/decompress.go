package batch

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// eagerBuffer is how large a buffer is made at once, in bytes, when the blocks can hold that much and nobody knows whether they do.
const eagerBuffer = 1 << 20

var (
	errFull  = errors.New("more bytes than the buffer takes")
	errLimit = errors.New("declares more bytes than the limit")
)

// claim is what the compressed bytes say about their size, before anything is decoded.
type claim struct {
	declared int   // 0: nothing was declared
	bound    int   // no valid input decompresses to more
	wide     []int // positions of zstd's window descriptors that declare more than the limit
}

// decompressors are shared by all Readers, because there is one of those for every partition, and decoders are large.
// Nothing but memory passes through the pool.
var decompressors = sync.Pool{New: func() any { return new(decompressor) }}

// decompress overwrites dst with the decompressed bytes, at most limit of them, and returns it, reallocated if need be.
// Errors: ErrTooLarge, ErrCompressed, ErrCodec.
func decompress(c Codec, dst, src []byte, limit int) ([]byte, error) {
	d := decompressors.Get().(*decompressor)
	defer decompressors.Put(d)
	out, err := d.decompress(c, dst, src, limit)
	switch {
	case err == nil, errors.Is(err, ErrCodec):
		return out, err
	case errors.Is(err, errFull), errors.Is(err, errLimit):
		return nil, fmt.Errorf("%w of %d bytes (%s)", ErrTooLarge, limit, c)
	}
	return nil, fmt.Errorf("%w (%s): %w", ErrCompressed, c, err)
}

// decompressor holds decoders, made at first use and reset from then on.
type decompressor struct {
	src  bytes.Reader
	gzip *gzip.Reader
	lz4  *lz4.Reader
	zstd *zstd.Decoder
	// zstdLimit is what zstd was made for: the limit cannot be changed, and is one and the same in a process as a rule.
	zstdLimit int
	over      [1]byte
}

func (d *decompressor) decompress(c Codec, dst, src []byte, limit int) ([]byte, error) {
	size, err := claimed(c, src, limit)
	if err != nil {
		return nil, err
	}
	if size.declared > limit {
		return nil, errLimit
	}
	bound, slack := min(size.bound, limit), 0
	if c == Zstd {
		// zstd checks the limit after each block. With room for one more it never has to grow the buffer.
		slack = zstdBlockMax
	}
	if len(size.wide) > 0 {
		// zstd's highest levels declare 128 MiB whatever they hold, and the decoder takes no window above its limit. Its output is its
		// window, so that a smaller one costs nothing that would be let through.
		src = bytes.Clone(src)
		for _, at := range size.wide {
			src[at] = zstdWindow(limit)
		}
	}
	want := size.declared
	if want == 0 {
		want = max(4*len(src), eagerBuffer)
	}
	if want = min(want, bound) + slack; cap(dst) < want {
		dst = make([]byte, 0, want)
	}
	// The capacity is what stops a decoder. Where the first buffer does not suffice, the next holds whatever may come: no doubling,
	// and never more than the limit.
	dst = dst[:0:min(cap(dst), limit+slack)]
	out, err := d.decode(c, dst, src, limit)
	if err != nil && cap(dst) < bound+slack {
		out, err = d.decode(c, make([]byte, 0, bound+slack), src, limit)
	}
	return out, err
}

// claimed looks at declared sizes and block headers. Errors: ErrCodec, errLimit, or what is wrong with the bytes.
func claimed(c Codec, src []byte, limit int) (claim, error) {
	switch c {
	case Gzip:
		return gzipClaim(src)
	case Snappy:
		return snappyClaim(src, limit)
	case LZ4:
		return lz4Claim(src, limit)
	case Zstd:
		return zstdClaim(src, limit)
	}
	return claim{}, fmt.Errorf("%w: %d", ErrCodec, c)
}

// decode fills dst[:0] up to its capacity. Error: errFull, or what is wrong with the bytes.
func (d *decompressor) decode(c Codec, dst, src []byte, limit int) ([]byte, error) {
	d.src.Reset(src)
	defer d.src.Reset(nil)
	switch c {
	case Gzip:
		if d.gzip == nil {
			d.gzip = new(gzip.Reader)
		}
		if err := d.gzip.Reset(&d.src); err != nil {
			return nil, err
		}
		return d.drain(d.gzip, dst)
	case Snappy:
		return unsnappy(dst, src)
	case LZ4:
		if d.lz4 == nil {
			d.lz4 = lz4.NewReader(nil)
		}
		d.lz4.Reset(&d.src)
		return d.drain(d.lz4, dst)
	default:
		return d.unzstd(dst, src, limit)
	}
}

// drain reads r to its end.
func (d *decompressor) drain(r io.Reader, dst []byte) ([]byte, error) {
	for {
		full := len(dst) == cap(dst)
		into := dst[len(dst):cap(dst)]
		if full {
			into = d.over[:]
		}
		n, err := r.Read(into)
		if full && n > 0 {
			return nil, errFull
		}
		dst = dst[:len(dst)+n]
		if errors.Is(err, io.EOF) {
			return dst, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// unzstd needs room for zstdBlockMax beyond the limit: the decoder stops behind the block that crosses it.
func (d *decompressor) unzstd(dst, src []byte, limit int) ([]byte, error) {
	if d.zstd == nil || d.zstdLimit != limit {
		made, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecodeAllCapLimit(true),
			zstd.WithDecoderMaxMemory(uint64(max(limit, zstdWindowMin))))
		if err != nil {
			return nil, err
		}
		d.zstd, d.zstdLimit = made, limit
	}
	out, err := d.zstd.DecodeAll(src, dst)
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) || len(out) > limit {
		return nil, errFull
	}
	return out, err
}

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

const (
	// zstdWindowMax is the window of zstd's highest level, which every client's decoder takes. It costs no memory here: frames are
	// decoded into the output as a whole, and that is their window.
	zstdWindowMax = 128 << 20
	// eagerBuffer is how large a buffer is made at once, in bytes, when the blocks can hold that much and nobody knows whether they do.
	eagerBuffer = 1 << 20
)

var (
	errFull  = errors.New("more bytes than the buffer takes")
	errLimit = errors.New("declares more bytes than the limit")
)

// claim is what the compressed bytes say about their size, before anything is decoded.
type claim struct {
	declared int // 0: nothing was declared
	bound    int // no valid input decompresses to more
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
	over [1]byte
}

func (d *decompressor) decompress(c Codec, dst, src []byte, limit int) ([]byte, error) {
	size, err := claimed(c, src, limit)
	if err != nil {
		return nil, err
	}
	if size.declared > limit {
		return nil, errLimit
	}
	bound := min(size.bound, limit)
	want := size.declared
	if want == 0 {
		want = max(4*len(src), eagerBuffer)
	}
	if want = min(want, bound); cap(dst) < want {
		dst = make([]byte, 0, want)
	}
	// The capacity is what stops a decoder. Where the first buffer does not suffice, the next holds whatever may come: no doubling,
	// and never more than the limit.
	out, err := d.decode(c, dst[:0:min(cap(dst), limit)], src)
	if errors.Is(err, errFull) && cap(dst) < bound {
		out, err = d.decode(c, make([]byte, 0, bound), src)
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
func (d *decompressor) decode(c Codec, dst, src []byte) ([]byte, error) {
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
		return d.unzstd(dst, src)
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

func (d *decompressor) unzstd(dst, src []byte) ([]byte, error) {
	if d.zstd == nil {
		made, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(zstdWindowMax), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			return nil, err
		}
		d.zstd = made
	}
	out, err := d.zstd.DecodeAll(src, dst)
	if errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return nil, errFull
	}
	return out, err
}

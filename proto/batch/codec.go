package batch

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Codec is how a batch's records are compressed; the numbers are Kafka's.
type Codec int8

// The codecs.
const (
	None Codec = iota
	Gzip
	Snappy
	LZ4
	Zstd
)

func (c Codec) known() bool { return c >= None && c <= Zstd }

func (c Codec) String() string {
	switch c {
	case None:
		return "none"
	case Gzip:
		return "gzip"
	case Snappy:
		return "snappy"
	case LZ4:
		return "lz4"
	case Zstd:
		return "zstd"
	}
	return fmt.Sprintf("codec %d", int8(c))
}

// decompress appends the decompressed bytes to dst, at most limit of them.
func (d *decoders) decompress(c Codec, dst, src []byte, limit int) ([]byte, error) {
	switch c {
	case Snappy:
		return unsnappy(dst, src, limit)
	case Gzip, LZ4, Zstd:
		return d.stream(c, dst, src, limit)
	}
	return nil, fmt.Errorf("%w: %d", ErrCodec, c)
}

// decoders are the streaming decompressors of one Reader, made at first use and reset from then on.
type decoders [Zstd + 1]decoder

// decoder is one streaming decompressor.
type decoder interface {
	io.Reader
	reset(io.Reader) error
}

type (
	gzipDecoder struct{ *gzip.Reader }
	lz4Decoder  struct{ *lz4.Reader }
	zstdDecoder struct{ *zstd.Decoder }
)

func (d gzipDecoder) reset(r io.Reader) error { return d.Reset(r) }
func (d lz4Decoder) reset(r io.Reader) error  { d.Reset(r); return nil }
func (d zstdDecoder) reset(r io.Reader) error { return d.Reset(r) }

// zstdWindowMax bounds the memory of a decoder: Kafka's clients use levels whose windows are at most 8 MiB.
const zstdWindowMax = 32 << 20

func (c Codec) newDecoder() (decoder, error) {
	switch c {
	case Gzip:
		return gzipDecoder{new(gzip.Reader)}, nil
	case LZ4:
		return lz4Decoder{lz4.NewReader(nil)}, nil
	default:
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindowMax))
		return zstdDecoder{d}, err
	}
}

// stream reads in growing steps, so that a bomb costs no more than the limit and a small batch no more than itself.
func (ds *decoders) stream(c Codec, dst, src []byte, limit int) ([]byte, error) {
	if ds[c] == nil {
		made, err := c.newDecoder()
		if err != nil {
			return nil, err
		}
		ds[c] = made
	}
	d := ds[c]
	if err := d.reset(bytes.NewReader(src)); err != nil {
		return nil, fmt.Errorf("%w (%s): %w", ErrCompressed, c, err)
	}
	dst = slices.Grow(dst, min(limit, max(4*len(src), 512)))
	for {
		if len(dst) == cap(dst) {
			dst = slices.Grow(dst, min(len(dst), limit-len(dst))+1)
		}
		n, err := d.Read(dst[len(dst):cap(dst)])
		if dst = dst[:len(dst)+n]; len(dst) > limit {
			return nil, fmt.Errorf("%w of %d bytes", ErrTooLarge, limit)
		}
		if errors.Is(err, io.EOF) {
			return dst, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w (%s): %w", ErrCompressed, c, err)
		}
	}
}

// xerialHeader starts the framing that Java's snappy library writes: magic, version 1, compatible version 1; then blocks, each
// behind its length, big-endian 32 bits.
const xerialHeader = "\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01"

// xerialMagic is the part of it that tells the framing from a raw block.
const xerialMagic = "\x82SNAPPY\x00"

// unsnappy takes a raw block, as librdkafka and Go clients send, and Java's framing.
func unsnappy(dst, src []byte, limit int) ([]byte, error) {
	if len(src) < len(xerialHeader) || string(src[:len(xerialMagic)]) != xerialMagic {
		return unsnappyBlock(dst, src, limit)
	}
	src = src[len(xerialHeader):]
	for len(src) > 0 {
		if len(src) < 4 {
			return nil, fmt.Errorf("%w (snappy): block length is cut off", ErrCompressed)
		}
		n := int64(binary.BigEndian.Uint32(src))
		if n > int64(len(src)-4) {
			return nil, fmt.Errorf("%w (snappy): block of %d bytes is cut off", ErrCompressed, n)
		}
		var err error
		if dst, err = unsnappyBlock(dst, src[4:4+n], limit); err != nil {
			return nil, err
		}
		src = src[4+n:]
	}
	return dst, nil
}

func unsnappyBlock(dst, src []byte, limit int) ([]byte, error) {
	n, err := s2.DecodedLen(src)
	if err != nil {
		return nil, fmt.Errorf("%w (snappy): %w", ErrCompressed, err)
	}
	// A block cannot expand more than some 64 times: a larger claim is a lie, and not worth an allocation.
	if n > limit-len(dst) || n > 64*len(src)+64 {
		return nil, fmt.Errorf("%w of %d bytes", ErrTooLarge, limit)
	}
	dst = slices.Grow(dst, n)
	out, err := s2.Decode(dst[len(dst):len(dst)+n], src)
	if err != nil {
		return nil, fmt.Errorf("%w (snappy): %w", ErrCompressed, err)
	}
	return dst[:len(dst)+len(out)], nil
}

// compress appends the compressed bytes to dst.
func (c Codec) compress(dst, src []byte) ([]byte, error) {
	out := bytes.NewBuffer(dst)
	var w io.WriteCloser
	switch c {
	case Snappy:
		block := s2.EncodeSnappy(nil, src)
		dst = append(dst, xerialHeader...)
		return append(binary.BigEndian.AppendUint32(dst, uint32(len(block))), block...), nil
	case Gzip:
		w = gzip.NewWriter(out)
	case LZ4:
		w = lz4.NewWriter(out)
	case Zstd:
		z, err := zstd.NewWriter(out, zstd.WithEncoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		w = z
	default:
		return nil, fmt.Errorf("%w: %d", ErrCodec, c)
	}
	if _, err := w.Write(src); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

package batch

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// encoderWindow bounds what a zstd encoder, and whoever reads its batches as a stream, has to keep, in bytes.
const encoderWindow = 1 << 20

// compressors are shared by all Builders; an encoder is up to a megabyte. Nothing but memory passes through the pool.
var compressors = sync.Pool{New: func() any { return new(compressor) }}

// compress appends the compressed bytes to dst.
func compress(c Codec, dst, src []byte) ([]byte, error) {
	e := compressors.Get().(*compressor)
	defer compressors.Put(e)
	return e.compress(c, dst, src)
}

// compressor holds encoders, made at first use and reset from then on.
type compressor struct {
	gzip *gzip.Writer
	lz4  *lz4.Writer
	zstd *zstd.Encoder
}

func (e *compressor) compress(c Codec, dst, src []byte) ([]byte, error) {
	switch c {
	case Gzip:
		if e.gzip == nil {
			e.gzip = gzip.NewWriter(nil)
		}
		return pipe(e.gzip, dst, src)
	case Snappy:
		return appendXerial(dst, src), nil
	case LZ4:
		if e.lz4 == nil {
			e.lz4 = lz4.NewWriter(nil)
			// As Java does. The batch has a checksum already, and larger blocks would make every reader allocate for them.
			if err := e.lz4.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false)); err != nil {
				return nil, err
			}
		}
		return pipe(e.lz4, dst, src)
	case Zstd:
		if e.zstd == nil {
			made, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(encoderWindow), zstd.WithEncoderCRC(false),
				zstd.WithZeroFrames(true))
			if err != nil {
				return nil, err
			}
			e.zstd = made
		}
		return e.zstd.EncodeAll(src, dst), nil
	}
	return nil, fmt.Errorf("%w: %d", ErrCodec, c)
}

// encoder is a streaming compressor.
type encoder interface {
	io.WriteCloser
	Reset(io.Writer)
}

// pipe appends what the encoder makes of src to dst.
func pipe(e encoder, dst, src []byte) ([]byte, error) {
	out := bytes.NewBuffer(dst)
	e.Reset(out)
	defer e.Reset(nil) // the pool must not hold on to the batch
	if _, err := e.Write(src); err != nil {
		return nil, err
	}
	if err := e.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// appendXerial encodes in the framing of Java's snappy library.
func appendXerial(dst, src []byte) []byte {
	dst = append(dst, xerialHeader...)
	for block := range slices.Chunk(src, xerialBlock) {
		at := len(dst)
		dst = slices.Grow(dst, 4+s2.MaxEncodedLen(len(block)))[:at+4]
		out := s2.EncodeSnappy(dst[at+4:cap(dst)], block)
		binary.BigEndian.PutUint32(dst[at:], uint32(len(out)))
		dst = dst[:at+4+len(out)]
	}
	return dst
}

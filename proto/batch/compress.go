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

// compress appends the compressed bytes to dst. Level 0 is the codec's own default.
func compress(c Codec, level int, dst, src []byte) ([]byte, error) {
	e := compressors.Get().(*compressor)
	defer compressors.Put(e)
	return e.compress(c, level, dst, src)
}

// compressor holds encoders, made at first use and reset from then on. A level that changes makes another one: in one process there
// are few, as a rule one.
type compressor struct {
	gzip      *gzip.Writer
	gzipLevel int
	lz4       *lz4.Writer
	zstd      *zstd.Encoder
	zstdLevel int
}

func (e *compressor) compress(c Codec, level int, dst, src []byte) ([]byte, error) {
	switch c {
	case Gzip:
		if level == 0 {
			level = gzip.DefaultCompression
		}
		if e.gzip == nil || e.gzipLevel != level {
			made, err := gzip.NewWriterLevel(nil, level)
			if err != nil {
				return nil, err
			}
			e.gzip, e.gzipLevel = made, level
		}
		return pipe(e.gzip, dst, src)
	case Snappy:
		return appendXerial(dst, src), nil
	case LZ4:
		if e.lz4 == nil {
			e.lz4 = lz4.NewWriter(nil)
		}
		// As Java does. The batch has a checksum already, and larger blocks would make every reader allocate for them.
		e.lz4.Reset(nil)
		if err := e.lz4.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false), lz4.CompressionLevelOption(lz4Level(level))); err != nil {
			return nil, err
		}
		return pipe(e.lz4, dst, src)
	case Zstd:
		if level == 0 {
			level = zstdLevelDefault
		}
		if e.zstd == nil || e.zstdLevel != level {
			made, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(encoderWindow), zstd.WithEncoderCRC(false),
				zstd.WithZeroFrames(true), zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)))
			if err != nil {
				return nil, err
			}
			e.zstd, e.zstdLevel = made, level
		}
		return e.zstd.EncodeAll(src, dst), nil
	}
	return nil, fmt.Errorf("%w: %d", ErrCodec, c)
}

const (
	zstdLevelDefault = 3
	lz4LevelDefault  = 9 // of Kafka, where it stands for the fast encoder
)

// lz4Level maps Kafka's levels, 1 to 17 but 9 of the slow encoder, to the nine that there are here.
func lz4Level(level int) lz4.CompressionLevel {
	if level <= 0 || level == lz4LevelDefault {
		return lz4.Fast
	}
	return lz4.CompressionLevel(1 << (8 + min(level, 9)))
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

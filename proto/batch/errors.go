package batch

import (
	"errors"
	"fmt"
)

var (
	// ErrTruncated: the bytes end before the batch does.
	ErrTruncated = errors.New("record batch is truncated")
	// ErrLength: the length field cannot be that of a batch.
	ErrLength = errors.New("record batch length is invalid")
	// ErrMagic: the batch is not of format version 2. The error is a *MagicError.
	ErrMagic = errors.New("record batch has an unsupported magic")
	// ErrCRC: the checksum does not match the bytes.
	ErrCRC = errors.New("record batch checksum does not match")
	// ErrCodec: the compression codec is none that Kafka has.
	ErrCodec = errors.New("record batch has an unknown compression codec")
	// ErrCount: number of records and last offset delta do not fit each other.
	ErrCount = errors.New("record count does not match the last offset delta")
	// ErrHeader: a header field has a value that no batch can have.
	ErrHeader = errors.New("record batch header is invalid")
	// ErrTooLarge: the records decompress to more than the reader's limit.
	ErrTooLarge = errors.New("record batch decompresses to more than the limit")
	// ErrCompressed: the compressed records cannot be decompressed.
	ErrCompressed = errors.New("compressed records are damaged")
	// ErrControl: the batch is not a control batch that ends a transaction.
	ErrControl = errors.New("not the end of a transaction")
	// ErrRecord: a record cannot be decoded. The error is a *RecordError.
	ErrRecord = errors.New("record is malformed")
)

// MagicError says which format version was found. errors.Is(err, ErrMagic) is true.
type MagicError struct{ Magic int8 }

func (e *MagicError) Error() string {
	if e.Magic == 0 || e.Magic == 1 {
		return fmt.Sprintf("record batch has magic %d: message formats before 2 are not supported (KIP-724)", e.Magic)
	}
	return fmt.Sprintf("record batch has magic %d, want 2", e.Magic)
}

// Is makes errors.Is(err, ErrMagic) true.
func (e *MagicError) Is(target error) bool { return target == ErrMagic }

// RecordError says which record cannot be decoded, and why. errors.Is(err, ErrRecord) is true.
type RecordError struct {
	Index int // in the batch, from 0
	Why   string
}

func (e *RecordError) Error() string {
	return fmt.Sprintf("record %d is malformed: %s", e.Index, e.Why)
}

// Is makes errors.Is(err, ErrRecord) true.
func (e *RecordError) Is(target error) bool { return target == ErrRecord }

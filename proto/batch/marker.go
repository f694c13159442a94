package batch

import (
	"encoding/binary"
	"fmt"
)

// EndTxn is what a control batch says: the transaction of its producer ends here, in this partition.
type EndTxn struct {
	ProducerID       int64
	ProducerEpoch    int16 // the producer's epoch from here on
	CoordinatorEpoch int32
	Commit           bool // false: abort
}

// Versions and lengths of a control record's key and value, which are Kafka's EndTxnMarker.
const (
	controlVersion    = 0
	controlAbort      = 0
	controlCommit     = 1
	controlKeyLen     = 4
	controlValueLen   = 6
	endTxnRecordBytes = 1 + 1 + 1 + 1 + 1 + controlKeyLen + 1 + controlValueLen + 1
)

// EndTxnSize is the size of a control batch that ends a transaction, in bytes.
const EndTxnSize = HeaderSize + endTxnRecordBytes

// Batch builds the control batch, at offset 0, with the timestamp, Unix milliseconds.
func (e EndTxn) Batch(timestamp int64) Batch {
	opts := NewOptions()
	opts.ProducerID, opts.ProducerEpoch, opts.Transactional, opts.Control = e.ProducerID, e.ProducerEpoch, true, true
	kind := uint16(controlAbort)
	if e.Commit {
		kind = controlCommit
	}
	key := binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, controlVersion), kind)
	value := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(nil, controlVersion), uint32(e.CoordinatorEpoch))
	b := Builder{opts: opts, records: make([]byte, 0, endTxnRecordBytes)}
	err := b.Append(Record{Timestamp: timestamp, Key: key, Value: value})
	out, err2 := b.AppendTo(make([]byte, 0, EndTxnSize))
	if err != nil || err2 != nil { // the first record of an uncompressed batch
		panic(fmt.Sprintf("batch: a control record does not fit into an empty batch: %v %v", err, err2))
	}
	return out
}

// ParseEndTxn reads the control batch that ends a transaction. Other fields than version 0's may follow in a later version: they are
// not looked at, as in Kafka. Error: ErrControl.
func ParseEndTxn(b Batch) (e EndTxn, err error) {
	if !b.IsControl() || !b.IsTransactional() || b.NumRecords() != 1 || b.ProducerID() < 0 || b.Codec() != None {
		return e, fmt.Errorf("%w: the batch's header", ErrControl)
	}
	var reader Reader // nothing to decompress
	if err := reader.Reset(b); err != nil {
		return e, fmt.Errorf("%w: %w", ErrControl, err)
	}
	r, _, err := reader.Next()
	if err != nil {
		return e, fmt.Errorf("%w: %w", ErrControl, err)
	}
	if len(r.Key) < controlKeyLen || len(r.Value) < controlValueLen || r.Key[0] > 0x7f || r.Value[0] > 0x7f {
		return e, fmt.Errorf("%w: key of %d bytes, value of %d", ErrControl, len(r.Key), len(r.Value))
	}
	kind := binary.BigEndian.Uint16(r.Key[2:])
	if kind != controlAbort && kind != controlCommit {
		return e, fmt.Errorf("%w: type %d", ErrControl, kind)
	}
	return EndTxn{ProducerID: b.ProducerID(), ProducerEpoch: b.ProducerEpoch(), Commit: kind == controlCommit,
		CoordinatorEpoch: int32(binary.BigEndian.Uint32(r.Value[2:]))}, nil
}

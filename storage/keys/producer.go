package keys

import (
	"encoding/binary"
	"fmt"
)

// ProducerKey is the key of an idempotent producer's state.
func ProducerKey(dst []byte, ordinal uint32, producerID int64) []byte {
	return binary.BigEndian.AppendUint64(Partition(dst, SpaceProducer, ordinal), uint64(producerID))
}

// ProducerIDOf reads the producer id out of a key of P.
func ProducerIDOf(key []byte) (int64, error) { return OffsetOf(key) }

// ProducerBatches is how many batches of a producer are remembered (Kafka's window).
const ProducerBatches = 5

// Producer is the value of P. One that has never taken part in a transaction is stored as version 1.
type Producer struct {
	Epoch   int16
	Count   int // 0..5; 0 only with a CoordinatorEpoch: nothing is known of its epoch but that a marker began it
	Batches [ProducerBatches]ProducerBatch
	LastMs  int64 // append time of the last batch or marker

	TxnFirstOffset   int64 // of the open transaction; -1: none
	TxnSinceMs       int64 // its first batch's append time; 0 without one
	CoordinatorEpoch int32 // of the last marker; -1: none
}

// ProducerBatch is one remembered batch.
type ProducerBatch struct {
	FirstSequence   int32
	LastOffsetDelta int32
	BaseOffset      int64
	AppendMs        int64
}

const (
	producerBatchLen = 4 + 4 + 8 + 8
	producerTxnLen   = 4 + 8 + 8 + 8
	// ProducerLenMax is the length of the longest encoded Producer.
	ProducerLenMax = 1 + 3 + producerTxnLen + ProducerBatches*producerBatchLen
)

// transactional says that the producer needs version 2.
func (p *Producer) transactional() bool { return p.TxnFirstOffset >= 0 || p.CoordinatorEpoch >= 0 }

// Append encodes p.
func (p *Producer) Append(dst []byte) []byte {
	version := byte(version1)
	if p.transactional() {
		version = version2
	}
	dst = binary.BigEndian.AppendUint16(append(dst, version), uint16(p.Epoch))
	if version == version2 {
		dst = binary.BigEndian.AppendUint32(dst, uint32(p.CoordinatorEpoch))
		dst = binary.BigEndian.AppendUint64(dst, uint64(p.TxnFirstOffset))
		dst = binary.BigEndian.AppendUint64(dst, uint64(p.TxnSinceMs))
		dst = binary.BigEndian.AppendUint64(dst, uint64(p.LastMs))
	}
	dst = append(dst, byte(p.Count))
	for _, b := range p.Batches[:p.Count] {
		dst = binary.BigEndian.AppendUint32(dst, uint32(b.FirstSequence))
		dst = binary.BigEndian.AppendUint32(dst, uint32(b.LastOffsetDelta))
		dst = binary.BigEndian.AppendUint64(dst, uint64(b.BaseOffset))
		dst = binary.BigEndian.AppendUint64(dst, uint64(b.AppendMs))
	}
	return dst
}

// DecodeProducer decodes the value of P.
func DecodeProducer(b []byte) (p Producer, err error) {
	if len(b) > 0 && b[0] == version2 {
		return decodeProducer2(b[1:])
	}
	b, err = body(b, 3+producerBatchLen, 3+ProducerBatches*producerBatchLen)
	if err != nil {
		return p, fmt.Errorf("producer state: %w", err)
	}
	p.TxnFirstOffset, p.CoordinatorEpoch = -1, -1
	p.Epoch = int16(binary.BigEndian.Uint16(b))
	if err := p.decodeBatches(b[2:], 1); err != nil {
		return p, err
	}
	p.LastMs = p.Batches[p.Count-1].AppendMs
	return p, nil
}

func decodeProducer2(b []byte) (p Producer, err error) {
	if len(b) < 3+producerTxnLen {
		return p, fmt.Errorf("producer state: %w: %d bytes", ErrCorrupt, len(b))
	}
	p.Epoch, p.CoordinatorEpoch = int16(binary.BigEndian.Uint16(b)), int32(binary.BigEndian.Uint32(b[2:]))
	p.TxnFirstOffset, p.TxnSinceMs, p.LastMs = int64At(b, 6), int64At(b, 14), int64At(b, 22)
	countMin := 0
	if p.CoordinatorEpoch < 0 {
		countMin = 1 // only a marker makes a producer known that has no batch
	}
	if !p.transactional() || p.CoordinatorEpoch < -1 || p.TxnFirstOffset < -1 || p.TxnFirstOffset < 0 && p.TxnSinceMs != 0 {
		return p, fmt.Errorf("producer state: %w: transaction at offset %d, coordinator epoch %d", ErrCorrupt, p.TxnFirstOffset, p.CoordinatorEpoch)
	}
	return p, p.decodeBatches(b[2+producerTxnLen:], countMin)
}

func (p *Producer) decodeBatches(b []byte, countMin int) error {
	p.Count = int(b[0])
	b = b[1:]
	if p.Count < countMin || p.Count > ProducerBatches || len(b) != p.Count*producerBatchLen {
		return fmt.Errorf("producer state: %w: %d batches in %d bytes", ErrCorrupt, p.Count, len(b))
	}
	for i := range p.Count {
		e := b[i*producerBatchLen:]
		p.Batches[i] = ProducerBatch{
			FirstSequence:   int32(binary.BigEndian.Uint32(e)),
			LastOffsetDelta: int32(binary.BigEndian.Uint32(e[4:])),
			BaseOffset:      int64At(e, 8),
			AppendMs:        int64At(e, 16),
		}
		if x := p.Batches[i]; x.FirstSequence < 0 || x.LastOffsetDelta < 0 || x.BaseOffset < 0 {
			return fmt.Errorf("producer state: %w: batch %d", ErrCorrupt, i)
		}
	}
	return nil
}

// Aborted is the key of an aborted transaction: the offset is its marker's.
func Aborted(dst []byte, ordinal uint32, marker int64) []byte {
	return binary.BigEndian.AppendUint64(Partition(dst, SpaceAborted, ordinal), uint64(marker))
}

// AbortedTxn is the value of A.
type AbortedTxn struct {
	ProducerID  int64
	FirstOffset int64
	LastStable  int64 // last stable offset behind the marker: no transaction that ends later begins below it
}

// AbortedTxnLen is the length of an encoded AbortedTxn.
const AbortedTxnLen = 25

// Append encodes a.
func (a AbortedTxn) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, version1), uint64(a.ProducerID))
	dst = binary.BigEndian.AppendUint64(dst, uint64(a.FirstOffset))
	return binary.BigEndian.AppendUint64(dst, uint64(a.LastStable))
}

// DecodeAborted decodes the value of A.
func DecodeAborted(b []byte) (a AbortedTxn, err error) {
	b, err = body(b, 24, 24)
	if err != nil {
		return a, fmt.Errorf("aborted transaction: %w", err)
	}
	a = AbortedTxn{ProducerID: int64At(b, 0), FirstOffset: int64At(b, 8), LastStable: int64At(b, 16)}
	if a.ProducerID < 0 || a.FirstOffset < 0 || a.LastStable < 0 {
		return a, fmt.Errorf("aborted transaction: %w: producer %d, first offset %d, last stable offset %d", ErrCorrupt, a.ProducerID, a.FirstOffset, a.LastStable)
	}
	return a, nil
}

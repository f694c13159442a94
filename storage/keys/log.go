package keys

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrVersion: the value was written by a version that this program does not know.
	ErrVersion = errors.New("unknown version of a stored value")
	// ErrCorrupt: a key or value does not have the form that its version says.
	ErrCorrupt = errors.New("stored value is damaged")
)

// Key spaces of the log database.
const (
	SpaceBatch    = 'L'
	SpacePart     = 'M'
	SpaceProducer = 'P'
	SpaceEpoch    = 'E'
	SpaceTime     = 'T'
	SpaceAborted  = 'A'
	SpaceBroker   = 'C'
	SpaceTopic    = 'N'
	SpaceGroup    = 'G'
	SpaceOffset   = 'O'
	SpacePending  = 'U'
	SpaceTxn      = 'X'
	SpaceTxnAdded = 'Y'
	SpaceQuota    = 'Q'
	SpaceLease    = 'H'
	SpaceDispute  = 'D'
	SpaceSettled  = 'S'
)

// PartitionSpaces are the spaces that start with an ordinal.
const PartitionSpaces = "LMPETADS"

const (
	version1 = 1
	version2 = 2
)

// Partition returns the start of a partition's part of a space; its end is Partition(space, ordinal+1), or Space(space+1)
// for the highest ordinal: use PartitionEnd.
func Partition(dst []byte, space byte, ordinal uint32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, space), ordinal)
}

// PartitionEnd returns the exclusive end of a partition's part of a space.
func PartitionEnd(dst []byte, space byte, ordinal uint32) []byte {
	if ordinal == ^uint32(0) {
		return append(dst, space+1)
	}
	return Partition(dst, space, ordinal+1)
}

// Space returns the bounds of a whole space, half-open.
func Space(space byte) (start, end []byte) { return []byte{space}, []byte{space + 1} }

// OffsetKeyLen is the length of the keys of L, T and A.
const OffsetKeyLen = 1 + 4 + 8

// Batch is the key of a record batch.
func Batch(dst []byte, ordinal uint32, baseOffset int64) []byte {
	return binary.BigEndian.AppendUint64(Partition(dst, SpaceBatch, ordinal), uint64(baseOffset))
}

// Time is the key of an entry of the append time index.
func Time(dst []byte, ordinal uint32, baseOffset int64) []byte {
	return binary.BigEndian.AppendUint64(Partition(dst, SpaceTime, ordinal), uint64(baseOffset))
}

// OffsetOf reads the offset out of a key of L, T or A.
func OffsetOf(key []byte) (int64, error) {
	if len(key) != OffsetKeyLen || key[5] > 0x7f {
		return 0, fmt.Errorf("%w: offset key of %d bytes", ErrCorrupt, len(key))
	}
	return int64(binary.BigEndian.Uint64(key[5:])), nil
}

// Part is the value of M: the bounds of one life of a partition's log.
type Part struct {
	Incarnation [16]byte
	LogStart    int64 // above DeltaStart: the deltas between them are nobody's but the keyframer's
	DeltaStart  int64
	BytesBefore int64 // bytes of all batches that were ever below DeltaStart
}

// partHidden is the version of a Part with its log start above its delta start, which older releases took for damage.
const partHidden = 2

// Append encodes p.
func (p Part) Append(dst []byte) []byte {
	version := byte(version1)
	if p.LogStart > p.DeltaStart {
		version = partHidden
	}
	dst = append(append(dst, version), p.Incarnation[:]...)
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.LogStart))
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.DeltaStart))
	return binary.BigEndian.AppendUint64(dst, uint64(p.BytesBefore))
}

// DecodePart decodes the value of M.
func DecodePart(b []byte) (p Part, err error) {
	hidden := len(b) > 0 && b[0] == partHidden
	if hidden {
		b = append([]byte{version1}, b[1:]...)
	}
	b, err = body(b, 40, 40)
	if err != nil {
		return p, fmt.Errorf("partition bounds: %w", err)
	}
	copy(p.Incarnation[:], b)
	p.LogStart, p.DeltaStart, p.BytesBefore = int64At(b, 16), int64At(b, 24), int64At(b, 32)
	if p.LogStart < 0 || p.DeltaStart < 0 || hidden != (p.LogStart > p.DeltaStart) || p.BytesBefore < 0 {
		return p, fmt.Errorf("partition bounds: %w: log start %d, delta start %d", ErrCorrupt, p.LogStart, p.DeltaStart)
	}
	return p, nil
}

// Epoch is the key of a leader epoch's start.
func Epoch(dst []byte, ordinal uint32, epoch int32) []byte {
	return binary.BigEndian.AppendUint32(Partition(dst, SpaceEpoch, ordinal), uint32(epoch))
}

// EpochOf reads the epoch out of a key of E.
func EpochOf(key []byte) (int32, error) {
	if len(key) != 9 || key[5] > 0x7f {
		return 0, fmt.Errorf("%w: epoch key of %d bytes", ErrCorrupt, len(key))
	}
	return int32(binary.BigEndian.Uint32(key[5:])), nil
}

// AppendInt64 encodes the value of E and of broker-wide numbers.
func AppendInt64(dst []byte, v int64) []byte {
	return binary.BigEndian.AppendUint64(append(dst, version1), uint64(v))
}

// DecodeInt64 decodes it.
func DecodeInt64(b []byte) (int64, error) {
	b, err := body(b, 8, 8)
	if err != nil {
		return 0, err
	}
	return int64At(b, 0), nil
}

// TimeEntry is the value of T.
type TimeEntry struct {
	AppendMs     int64
	MaxTimestamp int64 // highest record timestamp of all batches before this one; math.MinInt64: none
	BytesBefore  int64 // bytes of all batches before this one
}

// TimeEntryLen is the length of an encoded TimeEntry.
const TimeEntryLen = 25

// Append encodes t.
func (t TimeEntry) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint64(append(dst, version1), uint64(t.AppendMs))
	dst = binary.BigEndian.AppendUint64(dst, uint64(t.MaxTimestamp))
	return binary.BigEndian.AppendUint64(dst, uint64(t.BytesBefore))
}

// DecodeTimeEntry decodes the value of T.
func DecodeTimeEntry(b []byte) (t TimeEntry, err error) {
	b, err = body(b, 24, 24)
	if err != nil {
		return t, fmt.Errorf("time index: %w", err)
	}
	t = TimeEntry{AppendMs: int64At(b, 0), MaxTimestamp: int64At(b, 8), BytesBefore: int64At(b, 16)}
	if t.BytesBefore < 0 {
		return t, fmt.Errorf("time index: %w: %d bytes", ErrCorrupt, t.BytesBefore)
	}
	return t, nil
}

// Broker is the key of a broker-wide value.
func Broker(name string) []byte { return append([]byte{SpaceBroker}, name...) }

// Topic is the key of a topic.
func Topic(name string) []byte { return append([]byte{SpaceTopic}, name...) }

// Group is the key of a group's metadata.
func Group(group string) []byte { return append([]byte{SpaceGroup}, group...) }

// GroupOffsets returns the bounds of a group's committed offsets, half-open. A group must not contain a zero byte: see
// ValidGroup.
func GroupOffsets(group string) (start, end []byte) {
	start = append(append([]byte{SpaceOffset}, group...), 0)
	end = append(append([]byte{SpaceOffset}, group...), 1)
	return start, end
}

// ValidGroup says whether a group or topic name can be part of a key of O.
func ValidGroup(name string) bool { return strings.IndexByte(name, 0) < 0 }

// Offset is the key of a committed offset.
func Offset(group, topic string, partition int32) []byte {
	k := append(append([]byte{SpaceOffset}, group...), 0)
	k = append(append(k, topic...), 0)
	return binary.BigEndian.AppendUint32(k, uint32(partition))
}

// ParseOffset splits a key of O.
func ParseOffset(key []byte) (group, topic string, partition int32, err error) {
	if len(key) < 1+1+1+4 || key[0] != SpaceOffset {
		return "", "", 0, fmt.Errorf("%w: offset key of %d bytes", ErrCorrupt, len(key))
	}
	names, number := key[1:len(key)-4], key[len(key)-4:]
	group, rest, ok := strings.Cut(string(names), "\x00")
	topic, ok2 := strings.CutSuffix(rest, "\x00")
	if !ok || !ok2 || !ValidGroup(topic) {
		return "", "", 0, fmt.Errorf("%w: offset key %q", ErrCorrupt, key)
	}
	return group, topic, int32(binary.BigEndian.Uint32(number)), nil
}

// Lease is the key of a lease: what a replica holds.
func Lease(id [16]byte) []byte { return append([]byte{SpaceLease}, id[:]...) }

// ParsePartition reads the ordinal out of a key of a space that has one a partition: D, S.
func ParsePartition(space byte, key []byte) (ordinal uint32, err error) {
	if len(key) != 5 || key[0] != space {
		return 0, fmt.Errorf("%w: key of %d bytes in space %c", ErrCorrupt, len(key), space)
	}
	return binary.BigEndian.Uint32(key[1:]), nil
}

// ParseLease splits a key of H.
func ParseLease(key []byte) (id [16]byte, err error) {
	if len(key) != 1+16 || key[0] != SpaceLease {
		return id, fmt.Errorf("%w: lease key %x", ErrCorrupt, key)
	}
	return [16]byte(key[1:]), nil
}

// Txn is the key of a transactional id.
func Txn(id string) []byte { return append([]byte{SpaceTxn}, id...) }

// TxnAdded is the key of what came into a producer's open transaction after it had begun; number counts such additions from 0.
func TxnAdded(producerID int64, number uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64([]byte{SpaceTxnAdded}, uint64(producerID)), number)
}

// ParseTxnAdded splits a key of Y.
func ParseTxnAdded(key []byte) (producerID int64, number uint32, err error) {
	if len(key) != 1+8+4 || key[0] != SpaceTxnAdded || key[1] > 0x7f {
		return 0, 0, fmt.Errorf("%w: key %x of an addition to a transaction", ErrCorrupt, key)
	}
	return int64At(key, 1), binary.BigEndian.Uint32(key[9:]), nil
}

// GroupPending returns the bounds of a group's pending offsets, half-open.
func GroupPending(group string) (start, end []byte) {
	start = append(append([]byte{SpacePending}, group...), 0)
	end = append(append([]byte{SpacePending}, group...), 1)
	return start, end
}

// Pending is the key of an offset that a producer has committed to a group in a transaction that is open.
func Pending(group string, producerID int64, topic string, partition int32) []byte {
	k := append(append([]byte{SpacePending}, group...), 0)
	k = binary.BigEndian.AppendUint64(k, uint64(producerID))
	k = append(append(k, topic...), 0)
	return binary.BigEndian.AppendUint32(k, uint32(partition))
}

// ParsePending splits a key of U.
func ParsePending(key []byte) (group string, producerID int64, topic string, partition int32, err error) {
	bad := func() (string, int64, string, int32, error) {
		return "", 0, "", 0, fmt.Errorf("%w: pending offset key %q", ErrCorrupt, key)
	}
	if len(key) == 0 || key[0] != SpacePending {
		return bad()
	}
	group, rest, ok := strings.Cut(string(key[1:]), "\x00")
	if !ok || len(rest) < 8+1+4 || rest[0] > 0x7f {
		return bad()
	}
	topic, ok = strings.CutSuffix(rest[8:len(rest)-4], "\x00")
	if !ok || !ValidGroup(topic) {
		return bad()
	}
	return group, int64(binary.BigEndian.Uint64([]byte(rest))), topic, int32(binary.BigEndian.Uint32([]byte(rest[len(rest)-4:]))), nil
}

// Versioned puts the version before a value that another package encodes.
func Versioned(value []byte) []byte { return append([]byte{version1}, value...) }

// Unversioned takes it off. The result aliases b.
func Unversioned(b []byte) ([]byte, error) { return body(b, 0, len(b)) }

// VersionedAs is Versioned for a value of another version than the first.
func VersionedAs(version byte, value []byte) []byte { return append([]byte{version}, value...) }

// UnversionedUpTo takes the version off a value that has several, up to newest. The result aliases b.
func UnversionedUpTo(newest byte, b []byte) (version byte, value []byte, err error) {
	if len(b) > 0 && b[0] > version1 && b[0] <= newest {
		return b[0], b[1:], nil
	}
	value, err = Unversioned(b)
	return version1, value, err
}

// body checks version and length, and returns what follows the version.
func body(b []byte, lenMin, lenMax int) ([]byte, error) {
	if len(b) == 0 {
		return nil, fmt.Errorf("%w: empty", ErrCorrupt)
	}
	if b[0] != version1 {
		return nil, fmt.Errorf("%w: %d", ErrVersion, b[0])
	}
	if b = b[1:]; len(b) < lenMin || len(b) > lenMax {
		return nil, fmt.Errorf("%w: %d bytes", ErrCorrupt, len(b))
	}
	return b, nil
}

func int64At(b []byte, i int) int64 { return int64(binary.BigEndian.Uint64(b[i:])) }

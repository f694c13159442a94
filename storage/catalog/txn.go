package catalog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

// TxnState is what of a transaction's state is durable.
type TxnState uint8

// The states that a transaction can be found in.
const (
	TxnEmpty TxnState = iota
	TxnOngoing
	TxnCommitted
	TxnAborted
)

// Transaction is what is known of a transactional id.
type Transaction struct {
	ID                 string
	ProducerID         int64
	PreviousProducerID int64 // before its epochs were used up; -1: none
	Epoch              int16
	LastEpoch          int16 // that the producer may still name when it repeats itself; -1: none
	State              TxnState
	EpochPerTxn        bool // the last end raised the epoch (KIP-890)
	TimeoutMs          int32
	StartMs            int64 // Unix milliseconds; -1: none
	UpdateMs           int64
	Partitions         []TxnPartition
	Groups             []string // that offsets were committed to
	// Additions is how many additions an open transaction has got; Transactions has put them into Partitions and Groups. -1: it was stored in
	// the format of before and is to be put again before it gets one.
	Additions int
}

// TxnPartition is a partition that a transaction writes to. The ordinal tells it from one of a later topic of that name.
type TxnPartition struct {
	Topic     string
	Partition int32
	Ordinal   uint32
}

// Write is a change that was applied: its place among all writes is fixed, and it becomes durable with the first that is synced after
// it.
type Write struct {
	once  sync.Once
	batch *pebble.Batch
	err   error
}

// Wait returns when the change is durable, or was found not to be. Any number of goroutines may wait.
func (w *Write) Wait() error {
	w.once.Do(func() {
		if w.err = w.batch.SyncWait(); w.err == nil {
			w.err = w.batch.Close()
		}
	})
	return w.err
}

// PutTransaction applies the state of a transactional id and does not wait for the disk: what is appended to a partition later is
// not durable without it. The reserve is not asked: a transaction must be able to end. Error: ErrInvalid.
func (c *Catalog) PutTransaction(t *Transaction) (*Write, error) {
	if err := checkTxn(t.ID); err != nil {
		return nil, err
	}
	return c.applyTransaction(t.ID, func(pb *pebble.Batch) { must(pb.Set(keys.Txn(t.ID), encodeTransaction(t), nil)) })
}

// DeleteTransaction applies the removal of a transactional id.
func (c *Catalog) DeleteTransaction(id string) (*Write, error) {
	if err := checkTxn(id); err != nil {
		return nil, err
	}
	return c.applyTransaction(id, func(pb *pebble.Batch) { must(pb.Delete(keys.Txn(id), nil)) })
}

func (c *Catalog) applyTransaction(id string, change func(*pebble.Batch)) (*Write, error) {
	pb := c.db.NewBatch()
	change(pb)
	if err := c.db.ApplyNoSyncWait(pb, pebble.Sync); err != nil {
		return nil, fmt.Errorf("transactional id %q: %w", id, err)
	}
	return &Write{batch: pb}, nil
}

// EndTransaction writes the state of a transactional id after a transaction of the producer's into a batch of the log's, and removes the
// additions that the transaction has got.
func (c *Catalog) EndTransaction(pb *pebble.Batch, after *Transaction, producerID int64, additions int) error {
	if err := checkTxn(after.ID); err != nil {
		return err
	}
	must(pb.Set(keys.Txn(after.ID), encodeTransaction(after), nil))
	for n := range additions {
		must(pb.Delete(keys.TxnAdded(producerID, uint32(n)), nil))
	}
	return nil
}

// Transactions returns all transactional ids, sorted, each with what was added to its open transaction.
func (c *Catalog) Transactions() ([]Transaction, error) {
	start, end := keys.Space(keys.SpaceTxn)
	it, err := c.db.NewIter(&pebble.IterOptions{LowerBound: start, UpperBound: end})
	if err != nil {
		return nil, fmt.Errorf("transactions: %w", err)
	}
	var list []Transaction
	for ok := it.First(); ok; ok = it.Next() {
		t, err := decodeTransaction(string(it.Key()[1:]), it.Value())
		if err != nil {
			return nil, errors.Join(fmt.Errorf("transactional id %q: %w", it.Key()[1:], err), it.Close())
		}
		list = append(list, *t)
	}
	if err := damage.Of(errors.Join(it.Error(), it.Close())); err != nil {
		return nil, err
	}
	return list, c.readTxnAdditions(list)
}

// TxnIDMax is the length of the longest transactional id that can be stored, in bytes.
const TxnIDMax = 1 << 15

func checkTxn(id string) error {
	if id == "" || len(id) > TxnIDMax {
		return fmt.Errorf("transactional id of %d bytes: %w", len(id), ErrInvalid)
	}
	return nil
}

// PutPending stores offsets that a producer commits to a group in its open transaction, as PutOffsets does; readers of committed
// offsets do not see them before EndOffsets. Delete removes the entry.
func (c *Catalog) PutPending(group string, producerID int64, commits []OffsetCommit) error {
	return c.putOffsets(group, commits, func(topic string, partition int32) []byte {
		return keys.Pending(group, producerID, topic, partition)
	})
}

// Pending returns the offsets of open transactions of a group, by producer.
func (c *Catalog) Pending(group string) (map[int64][]OffsetCommit, error) {
	if !keys.ValidGroup(group) {
		return nil, nil
	}
	start, end := keys.GroupPending(group)
	it, err := c.db.NewIter(&pebble.IterOptions{LowerBound: start, UpperBound: end})
	if err != nil {
		return nil, fmt.Errorf("group %q: %w", group, err)
	}
	pending := map[int64][]OffsetCommit{}
	for ok := it.First(); ok; ok = it.Next() {
		_, id, topic, partition, err := keys.ParsePending(it.Key())
		if err != nil {
			return nil, errors.Join(fmt.Errorf("group %q: %w", group, err), it.Close())
		}
		o, err := decodeOffset(it.Value())
		if err != nil {
			return nil, errors.Join(fmt.Errorf("group %q: pending offset of %s-%d: %w", group, topic, partition, err), it.Close())
		}
		o.Topic, o.Partition = topic, partition
		pending[id] = append(pending[id], o)
	}
	return pending, damage.Of(errors.Join(it.Error(), it.Close()))
}

// EndOffsets writes the end of a transaction's offsets into a batch of the log's: those of ended are pending no more, those of commits
// are committed.
func (c *Catalog) EndOffsets(pb *pebble.Batch, group string, producerID int64, ended, commits []OffsetCommit) error {
	if err := checkName(group); err != nil {
		return fmt.Errorf("group %q: %w", group, err)
	}
	for _, o := range ended {
		must(pb.Delete(keys.Pending(group, producerID, o.Topic, o.Partition), nil))
	}
	for _, o := range commits {
		must(pb.Set(keys.Offset(group, o.Topic, o.Partition), encodeOffset(o), nil))
	}
	return nil
}

// groupsWithPending seeks from group to group.
func (c *Catalog) groupsWithPending() (names []string, err error) {
	start, end := keys.Space(keys.SpacePending)
	it, err := c.db.NewIter(&pebble.IterOptions{LowerBound: start, UpperBound: end})
	if err != nil {
		return nil, err
	}
	for ok := it.First(); ok; {
		group, _, _, _, err := keys.ParsePending(it.Key())
		if err != nil {
			return nil, errors.Join(err, it.Close())
		}
		names = append(names, group)
		_, next := keys.GroupPending(group)
		ok = it.SeekGE(next)
	}
	return names, damage.Of(errors.Join(it.Error(), it.Close()))
}

const flagEpochPerTxn = 1

// txnGoesOn is the version of a transaction that is open and may have additions, without which it must not be ended.
const txnGoesOn = 2

func encodeTransaction(t *Transaction) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(t.ProducerID))
	b = binary.BigEndian.AppendUint64(b, uint64(t.PreviousProducerID))
	b = binary.BigEndian.AppendUint16(b, uint16(t.Epoch))
	b = binary.BigEndian.AppendUint16(b, uint16(t.LastEpoch))
	flags := byte(0)
	if t.EpochPerTxn {
		flags |= flagEpochPerTxn
	}
	b = append(b, byte(t.State), flags)
	b = binary.BigEndian.AppendUint32(b, uint32(t.TimeoutMs))
	b = binary.BigEndian.AppendUint64(b, uint64(t.StartMs))
	b = binary.BigEndian.AppendUint64(b, uint64(t.UpdateMs))
	b = appendTxnMembers(b, t.Partitions, t.Groups)
	if t.State == TxnOngoing && t.Additions >= 0 {
		return keys.VersionedAs(txnGoesOn, b)
	}
	return keys.Versioned(b)
}

func decodeTransaction(id string, value []byte) (*Transaction, error) {
	version, b, err := keys.UnversionedUpTo(txnGoesOn, value)
	if err != nil {
		return nil, err
	}
	d := decoder{b: b}
	t := &Transaction{ID: id, ProducerID: int64(d.uint64()), PreviousProducerID: int64(d.uint64()), Epoch: int16(d.uint16()), LastEpoch: int16(d.uint16()),
		State: TxnState(d.take(1)[0])}
	flags := d.take(1)[0]
	t.EpochPerTxn = flags&flagEpochPerTxn != 0
	t.TimeoutMs, t.StartMs, t.UpdateMs = int32(d.uint32()), int64(d.uint64()), int64(d.uint64())
	t.Partitions, t.Groups = d.txnMembers()
	if d.bad || len(d.b) > 0 || t.ProducerID < 0 || t.Epoch < 0 || t.State > TxnAborted || flags > flagEpochPerTxn || t.TimeoutMs <= 0 {
		return nil, keys.ErrCorrupt
	}
	switch {
	case version == txnGoesOn && t.State != TxnOngoing:
		return nil, keys.ErrCorrupt
	case version != txnGoesOn && t.State == TxnOngoing:
		t.Additions = -1
	}
	return t, nil
}

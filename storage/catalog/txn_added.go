package catalog

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

// TxnAddition is what comes into an open transaction after it has begun.
type TxnAddition struct {
	ID         string // the transactional id
	ProducerID int64
	Number     int // 0, 1, and so on, of the transaction's
	Partitions []TxnPartition
	Groups     []string
}

// PutTxnAddition applies an addition, as PutTransaction does the whole.
func (c *Catalog) PutTxnAddition(a *TxnAddition) (*Write, error) {
	if err := checkTxn(a.ID); err != nil {
		return nil, err
	}
	return c.applyTransaction(a.ID, func(pb *pebble.Batch) {
		must(pb.Set(keys.TxnAdded(a.ProducerID, uint32(a.Number)), encodeTxnAddition(a), nil))
	})
}

// readTxnAdditions completes open transactions with what was added to them. An addition to none is damage: it goes with the batch that ends
// its transaction.
func (c *Catalog) readTxnAdditions(list []Transaction) error {
	open := map[int64]*Transaction{}
	for i := range list {
		if t := &list[i]; t.State == TxnOngoing && t.Additions >= 0 {
			open[t.ProducerID] = t
		}
	}
	start, end := keys.Space(keys.SpaceTxnAdded)
	it, err := c.db.NewIter(&pebble.IterOptions{LowerBound: start, UpperBound: end})
	if err != nil {
		return fmt.Errorf("transactions: %w", err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		if err := addToTxn(open, it.Key(), it.Value()); err != nil {
			return errors.Join(fmt.Errorf("addition to a transaction: %w", err), it.Close())
		}
	}
	return damage.Of(errors.Join(it.Error(), it.Close()))
}

func addToTxn(open map[int64]*Transaction, key, value []byte) error {
	producerID, number, err := keys.ParseTxnAdded(key)
	if err != nil {
		return err
	}
	t := open[producerID]
	if t == nil {
		return fmt.Errorf("%w: producer %d has none open", keys.ErrCorrupt, producerID)
	}
	a, err := decodeTxnAddition(value)
	if err != nil {
		return fmt.Errorf("transactional id %q: %w", t.ID, err)
	}
	t.Partitions = append(t.Partitions, a.Partitions...)
	t.Groups = append(t.Groups, a.Groups...)
	t.Additions = int(number) + 1
	return nil
}

func encodeTxnAddition(a *TxnAddition) []byte {
	return keys.Versioned(appendTxnMembers(nil, a.Partitions, a.Groups))
}

// decodeTxnAddition decodes the value; the rest is in the key.
func decodeTxnAddition(value []byte) (*TxnAddition, error) {
	b, err := keys.Unversioned(value)
	if err != nil {
		return nil, err
	}
	d := decoder{b: b}
	a := &TxnAddition{}
	a.Partitions, a.Groups = d.txnMembers()
	if d.bad || len(d.b) > 0 {
		return nil, keys.ErrCorrupt
	}
	return a, nil
}

func appendTxnMembers(b []byte, partitions []TxnPartition, groups []string) []byte {
	b = binary.AppendUvarint(b, uint64(len(partitions)))
	for _, p := range partitions {
		b = binary.BigEndian.AppendUint32(appendText(b, p.Topic), uint32(p.Partition))
		b = binary.BigEndian.AppendUint32(b, p.Ordinal)
	}
	b = binary.AppendUvarint(b, uint64(len(groups)))
	for _, g := range groups {
		b = appendText(b, g)
	}
	return b
}

func (d *decoder) txnMembers() (partitions []TxnPartition, groups []string) {
	if n := d.count(9); n > 0 {
		partitions = make([]TxnPartition, n)
	}
	for i := range partitions {
		partitions[i] = TxnPartition{Topic: string(d.take(d.count(1))), Partition: int32(d.uint32()), Ordinal: d.uint32()}
	}
	if n := d.count(1); n > 0 {
		groups = make([]string, n)
	}
	for i := range groups {
		groups[i] = string(d.take(d.count(1)))
	}
	return partitions, groups
}

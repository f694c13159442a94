package catalog

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

// Lease is what a replica holds of a partition: see package lease.
type Lease struct {
	ID          [16]byte
	TopicID     [16]byte
	Partition   int32
	Incarnation [16]byte
	Cut         int64 // of the frame
	Since       int64 // tombstones from here on; -1: none
	From        int64 // raw deltas from here on
	ExpiryMs    int64 // Unix milliseconds
	Topic       string
	Replica     string
}

// PutLease writes a lease, and removes those that it takes the place of, in one atomic write, durable when it returns. Calls at the same time
// share a sync. The reserve is not asked: whoever grants leases bounds their number. Error: ErrInvalid, and the database's.
func (c *Catalog) PutLease(l *Lease, replaced ...[16]byte) error {
	if len(l.Topic) > maxNameLen || len(l.Replica) > maxNameLen || l.Cut < 0 || l.Since < -1 || l.From < 0 || l.Partition < 0 {
		return fmt.Errorf("lease: %w: %+v", ErrInvalid, *l)
	}
	pb := c.db.NewBatch()
	defer pb.Close()
	for _, id := range replaced {
		must(pb.Delete(keys.Lease(id), nil))
	}
	must(pb.Set(keys.Lease(l.ID), encodeLease(l), nil))
	if err := c.db.Apply(pb, pebble.Sync); err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	return nil
}

// DropLeases removes leases. That is durable with the next durable write: a lease that comes back with a crash is one that its replica may
// renew or not.
func (c *Catalog) DropLeases(ids ...[16]byte) error {
	pb := c.db.NewBatch()
	defer pb.Close()
	for _, id := range ids {
		must(pb.Delete(keys.Lease(id), nil))
	}
	if err := c.db.Apply(pb, pebble.NoSync); err != nil {
		return fmt.Errorf("leases: %w", err)
	}
	return nil
}

// Leases returns all leases, by id.
func (c *Catalog) Leases() ([]Lease, error) {
	start, end := keys.Space(keys.SpaceLease)
	it, err := c.db.NewIter(&pebble.IterOptions{LowerBound: start, UpperBound: end})
	if err != nil {
		return nil, fmt.Errorf("leases: %w", err)
	}
	var all []Lease
	for ok := it.First(); ok; ok = it.Next() {
		id, err := keys.ParseLease(it.Key())
		if err != nil {
			return nil, errors.Join(fmt.Errorf("leases: %w", err), it.Close())
		}
		l, err := decodeLease(it.Value())
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lease %x: %w", id, err), it.Close())
		}
		l.ID = id
		all = append(all, l)
	}
	return all, damage.Of(errors.Join(it.Error(), it.Close()))
}

func encodeLease(l *Lease) []byte {
	b := append([]byte(nil), l.TopicID[:]...)
	b = binary.BigEndian.AppendUint32(b, uint32(l.Partition))
	b = append(b, l.Incarnation[:]...)
	for _, v := range []int64{l.Cut, l.Since, l.From, l.ExpiryMs} {
		b = binary.BigEndian.AppendUint64(b, uint64(v))
	}
	return keys.Versioned(appendText(appendText(b, l.Topic), l.Replica))
}

func decodeLease(value []byte) (l Lease, err error) {
	b, err := keys.Unversioned(value)
	if err != nil {
		return l, err
	}
	d := decoder{b: b}
	l.TopicID = [16]byte(d.take(16))
	l.Partition = int32(d.uint32())
	l.Incarnation = [16]byte(d.take(16))
	for _, v := range []*int64{&l.Cut, &l.Since, &l.From, &l.ExpiryMs} {
		*v = int64(d.uint64())
	}
	l.Topic = string(d.take(d.count(1)))
	l.Replica = string(d.take(d.count(1)))
	if d.bad || len(d.b) > 0 || l.Partition < 0 || l.Cut < 0 || l.Since < -1 || l.From < 0 {
		return l, keys.ErrCorrupt
	}
	return l, nil
}

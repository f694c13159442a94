package catalog

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

// DisputedPartition is where a dispute is: there is one a partition at most.
type DisputedPartition struct {
	TopicID   [16]byte
	Partition int32
}

// Dispute says that replicas agree with one another about the state at a cut, and not with the broker: see package replicas.
type Dispute struct {
	DisputedPartition
	Topic       string // its name now; not stored
	Incarnation [16]byte
	Cut         int64
	Start       int64    // of the log, at the cut
	Count       int64    // live rows that the replicas have there
	Sum         [32]byte // of their entries
	SinceMs     int64    // Unix milliseconds
	Parties     []DisputeParty
}

// DisputeParty is one of the replicas, as it was when it said so.
type DisputeParty struct {
	Replica, Host       string
	Cut                 int64 // where it differed last
	Repairs, Bootstraps int64
}

// ChangeDisputes stores disputes and settlements, in place of those that their partitions had, and removes disputes, in one atomic write, durable when it
// returns. Those of partitions that there are not any more, or whose log has another incarnation, are passed over. The reserve is not asked: there is one of
// each a partition. Error: ErrInvalid, and the database's.
func (c *Catalog) ChangeDisputes(put []Dispute, settled []Settlement, ended []DisputedPartition) error {
	pb := c.db.NewBatch()
	defer pb.Close()
	c.writing <- struct{}{}
	defer func() { <-c.writing }()
	for _, at := range ended {
		if p, ok := c.partition(at); ok {
			must(pb.Delete(keys.Partition(nil, keys.SpaceDispute, p.Ordinal), nil))
		}
	}
	for i := range put {
		d := &put[i]
		if !d.valid() {
			return fmt.Errorf("dispute: %w: %+v", ErrInvalid, *d)
		}
		if p, ok := c.partition(d.DisputedPartition); ok && p.Incarnation == d.Incarnation {
			must(pb.Set(keys.Partition(nil, keys.SpaceDispute, p.Ordinal), encodeDispute(d), nil))
		}
	}
	for i := range settled {
		s := &settled[i]
		if !s.valid() {
			return fmt.Errorf("settlement: %w: %+v", ErrInvalid, *s)
		}
		if p, ok := c.partition(s.DisputedPartition); ok && p.Incarnation == s.Incarnation {
			must(pb.Set(keys.Partition(nil, keys.SpaceSettled, p.Ordinal), encodeSettlement(s), nil))
		}
	}
	if pb.Empty() {
		return nil
	}
	if err := c.db.Apply(pb, pebble.Sync); err != nil {
		return fmt.Errorf("disputes: %w", err)
	}
	return nil
}

func (c *Catalog) partition(at DisputedPartition) (p Partition, ok bool) {
	t, ok := c.ByID(at.TopicID)
	if !ok || at.Partition < 0 || int(at.Partition) >= len(t.Partitions) {
		return p, false
	}
	return t.Partitions[at.Partition], true
}

func (d *Dispute) valid() bool {
	for _, p := range d.Parties {
		if len(p.Replica) > maxNameLen || len(p.Host) > maxNameLen || p.Cut < 0 || p.Repairs < 0 || p.Bootstraps < 0 {
			return false
		}
	}
	return d.Cut >= 0 && d.Start >= 0 && d.Count >= 0
}

// Disputes returns all disputes of partitions that there are.
func (c *Catalog) Disputes() (all []Dispute, err error) {
	err = c.eachPartition(keys.SpaceDispute, func(at DisputedPartition, topic string, incarnation [16]byte, value []byte) error {
		d, err := decodeDispute(value)
		if err != nil {
			return fmt.Errorf("dispute of %s/%d: %w", topic, at.Partition, err)
		}
		if d.Incarnation == incarnation {
			d.DisputedPartition, d.Topic = at, topic
			all = append(all, d)
		}
		return nil
	})
	return all, err
}

// eachPartition visits what a space with one key a partition has of those that there are.
func (c *Catalog) eachPartition(space byte, visit func(at DisputedPartition, topic string, incarnation [16]byte, value []byte) error) error {
	type partition struct {
		at    DisputedPartition
		topic string
		Partition
	}
	byOrdinal := map[uint32]partition{}
	for _, t := range c.List() {
		for no, p := range t.Partitions {
			byOrdinal[p.Ordinal] = partition{DisputedPartition{t.ID, int32(no)}, t.Name, p}
		}
	}
	start, end := keys.Space(space)
	it, err := c.db.NewIter(&pebble.IterOptions{LowerBound: start, UpperBound: end})
	if err != nil {
		return fmt.Errorf("disputes: %w", err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		ordinal, err := keys.ParsePartition(space, it.Key())
		if err != nil {
			return errors.Join(fmt.Errorf("disputes: %w", err), it.Close())
		}
		p, ok := byOrdinal[ordinal]
		if !ok {
			continue // of a topic that a release deleted which knew nothing of the space
		}
		if err := visit(p.at, p.topic, p.Incarnation, it.Value()); err != nil {
			return errors.Join(err, it.Close())
		}
	}
	return damage.Of(errors.Join(it.Error(), it.Close()))
}

func encodeDispute(d *Dispute) []byte {
	b := append([]byte(nil), d.Incarnation[:]...)
	for _, v := range []int64{d.Cut, d.Start, d.Count} {
		b = binary.BigEndian.AppendUint64(b, uint64(v))
	}
	b = append(b, d.Sum[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(d.SinceMs))
	b = binary.AppendUvarint(b, uint64(len(d.Parties)))
	for _, p := range d.Parties {
		b = appendText(appendText(b, p.Replica), p.Host)
		for _, v := range []int64{p.Cut, p.Repairs, p.Bootstraps} {
			b = binary.BigEndian.AppendUint64(b, uint64(v))
		}
	}
	return keys.Versioned(b)
}

// partyBytesMin is what a party takes at least.
const partyBytesMin = 2 + 3*8

func decodeDispute(value []byte) (d Dispute, err error) {
	b, err := keys.Unversioned(value)
	if err != nil {
		return d, err
	}
	r := decoder{b: b}
	copy(d.Incarnation[:], r.take(16))
	for _, v := range []*int64{&d.Cut, &d.Start, &d.Count} {
		*v = int64(r.uint64())
	}
	copy(d.Sum[:], r.take(32))
	d.SinceMs = int64(r.uint64())
	if n := r.count(partyBytesMin); n > 0 {
		d.Parties = make([]DisputeParty, n)
	}
	for i := range d.Parties {
		p := &d.Parties[i]
		p.Replica = string(r.take(r.count(1)))
		p.Host = string(r.take(r.count(1)))
		for _, v := range []*int64{&p.Cut, &p.Repairs, &p.Bootstraps} {
			*v = int64(r.uint64())
		}
	}
	if r.bad || len(r.b) > 0 || !d.valid() {
		return Dispute{}, keys.ErrCorrupt
	}
	return d, nil
}

package lease

import (
	"context"
	"errors"
	"slices"
)

// size is what the largest leases of a partition hold.
type size struct {
	partitionKey
	leases []Lease // with the lowest From, none if there are none left
	bytes  int64
}

// HeldBack is told that something of a partition is due to go and held. It revokes what is beyond the bounds, and, where the disk is full, the
// largest lease of all. Errors: those of Config.Bytes and of the store.
func (d *Desk) HeldBack(ctx context.Context, topicID [16]byte, partition int32) error {
	err := d.boundLease(ctx, partitionKey{topicID, partition})
	err = errors.Join(err, d.boundTopic(ctx, topicID))
	if d.cfg.Full() {
		_, revokeErr := d.RevokeLargest(ctx)
		err = errors.Join(err, revokeErr)
	}
	return err
}

// boundLease revokes leases of a partition that hold more than one may.
func (d *Desk) boundLease(ctx context.Context, key partitionKey) error {
	for {
		s, err := d.size(ctx, key)
		if err != nil || s.bytes <= d.cfg.LeaseBytesMax {
			return err
		}
		if err := d.revoke(&s, "one lease may not hold so much"); err != nil {
			return err
		}
	}
}

// boundTopic revokes leases of a topic until they hold no more than they may together. Deltas that several hold count once.
func (d *Desk) boundTopic(ctx context.Context, topicID [16]byte) error {
	sizes, unknown := d.sizes(ctx, func(key partitionKey) bool { return key.topic == topicID })
	for {
		total := int64(0)
		for i := range sizes {
			total += sizes[i].bytes
		}
		if total <= d.cfg.TopicBytesMax {
			return unknown
		}
		s := largest(sizes)
		err := d.revoke(s, "the leases of the topic may not hold so much together")
		if err == nil {
			*s, err = d.size(ctx, s.partitionKey)
		}
		if err != nil {
			return errors.Join(err, unknown)
		}
	}
}

// RevokeLargest revokes what holds the most: the lease with the lowest From of some partition, and those that hold as much of it. It returns how
// many bytes that was; 0 where nothing is held. Errors: those of Config.Bytes and of the store.
func (d *Desk) RevokeLargest(ctx context.Context) (bytes int64, err error) {
	sizes, err := d.sizes(ctx, func(partitionKey) bool { return true })
	s := largest(sizes)
	if s == nil || s.bytes == 0 {
		return 0, err
	}
	return s.bytes, errors.Join(err, d.revoke(s, "the disk has no room left"))
}

func largest(sizes []size) (s *size) {
	for i := range sizes {
		if s == nil || sizes[i].bytes > s.bytes {
			s = &sizes[i]
		}
	}
	return s
}

// sizes measures the partitions that are wanted, in no order: those that can be, where one cannot.
func (d *Desk) sizes(ctx context.Context, want func(partitionKey) bool) (list []size, unknown error) {
	leave := d.enter()
	var of []partitionKey
	for key := range d.m.partitions {
		if want(key) {
			of = append(of, key)
		}
	}
	leave()
	for _, key := range of {
		s, err := d.size(ctx, key)
		if err != nil {
			unknown = errors.Join(unknown, err)
			continue
		}
		list = append(list, s)
	}
	return list, unknown
}

func (d *Desk) size(ctx context.Context, key partitionKey) (s size, err error) {
	leave := d.enter()
	s = size{partitionKey: key, leases: d.m.lowest(key)}
	leave()
	if len(s.leases) > 0 {
		s.bytes, err = d.cfg.Bytes(ctx, key.topic, key.partition, s.leases[0].From)
	}
	return s, err
}

// revoke ends the leases that were measured, but for those that let go meanwhile.
func (d *Desk) revoke(s *size, why string) error {
	return d.change(func() error {
		now := d.m.lowest(s.partitionKey)
		for _, l := range s.leases {
			if !slices.ContainsFunc(now, func(n Lease) bool { return n.ID == l.ID && n.From == l.From }) {
				continue
			}
			d.cfg.Logger.Warn("a lease is revoked: "+why, "topic", l.Topic, "partition", l.Partition, "replica", l.Replica, "cut", l.Cut,
				"from", l.From, "bytes", s.bytes)
			d.m.end(d.m.leases[l.ID], revoked)
		}
		return nil
	})
}

package catalog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

// OffsetCommit is one committed offset of a consumer group.
type OffsetCommit struct {
	Topic       string
	Partition   int32
	Offset      int64
	LeaderEpoch int32 // -1: unknown
	Metadata    string
	CommitMs    int64 // Unix milliseconds
	Delete      bool  // PutOffsets removes the entry instead
}

// PutOffsets stores the commits of a group in one atomic write, durable when it returns. Calls of several goroutines
// share a sync. Errors: ErrInvalid for a name that cannot be stored, and the reserve's unless all entries are removed.
func (c *Catalog) PutOffsets(group string, commits []OffsetCommit) error {
	return c.putOffsets(group, commits, func(topic string, partition int32) []byte { return keys.Offset(group, topic, partition) })
}

// putOffsets stores commits under the keys that keyOf makes.
func (c *Catalog) putOffsets(group string, commits []OffsetCommit, keyOf func(topic string, partition int32) []byte) error {
	if err := checkName(group); err != nil {
		return fmt.Errorf("group %q: %w", group, err)
	}
	pb := c.db.NewBatch()
	defer pb.Close()
	grows := false
	for _, o := range commits {
		if err := checkName(o.Topic); err != nil || o.Partition < 0 {
			return fmt.Errorf("group %q: offset of %q-%d: %w", group, o.Topic, o.Partition, ErrInvalid)
		}
		key := keyOf(o.Topic, o.Partition)
		if o.Delete {
			must(pb.Delete(key, nil))
		} else {
			must(pb.Set(key, encodeOffset(o), nil))
			grows = true
		}
	}
	if pb.Empty() {
		return nil
	}
	if grows {
		if err := c.admit(pb); err != nil {
			return fmt.Errorf("group %q: commit offsets: %w", group, err)
		}
	}
	if err := c.db.Apply(pb, pebble.Sync); err != nil {
		return fmt.Errorf("group %q: commit offsets: %w", group, err)
	}
	return nil
}

// Offsets returns the committed offsets of a group, by topic and partition; none for a group that is not known.
func (c *Catalog) Offsets(group string) ([]OffsetCommit, error) {
	if !keys.ValidGroup(group) {
		return nil, nil
	}
	start, end := keys.GroupOffsets(group)
	it, err := c.db.NewIter(&pebble.IterOptions{LowerBound: start, UpperBound: end})
	if err != nil {
		return nil, fmt.Errorf("group %q: %w", group, err)
	}
	var list []OffsetCommit
	for ok := it.First(); ok; ok = it.Next() {
		_, topic, partition, err := keys.ParseOffset(it.Key())
		if err != nil {
			return nil, errors.Join(fmt.Errorf("group %q: %w", group, err), it.Close())
		}
		o, err := decodeOffset(it.Value())
		if err != nil {
			return nil, errors.Join(fmt.Errorf("group %q: offset of %s-%d: %w", group, topic, partition, err), it.Close())
		}
		o.Topic, o.Partition = topic, partition
		list = append(list, o)
	}
	return list, damage.Of(errors.Join(it.Error(), it.Close()))
}

// PutGroup stores a group's metadata, which is the coordinator's. Durable when it returns. Error: ErrInvalid.
func (c *Catalog) PutGroup(group string, value []byte) error {
	if err := checkName(group); err != nil {
		return fmt.Errorf("group %q: %w", group, err)
	}
	if err := c.db.Set(keys.Group(group), keys.Versioned(value), pebble.Sync); err != nil {
		return fmt.Errorf("group %q: %w", group, err)
	}
	return nil
}

// GetGroup returns a group's metadata; ok is false when there is none.
func (c *Catalog) GetGroup(group string) (value []byte, ok bool, err error) {
	value, ok, err = c.get(keys.Group(group))
	if ok && err == nil {
		value, err = keys.Unversioned(value)
	}
	if err != nil {
		return nil, false, fmt.Errorf("group %q: %w", group, err)
	}
	return value, ok, nil
}

// DeleteGroup removes a group's metadata and offsets, also those of open transactions, in one atomic, durable write. Removing what is not there is not an
// error.
func (c *Catalog) DeleteGroup(group string) error {
	if err := checkName(group); err != nil {
		return fmt.Errorf("group %q: %w", group, err)
	}
	pb := c.db.NewBatch()
	defer pb.Close()
	start, end := keys.GroupOffsets(group)
	must(pb.Delete(keys.Group(group), nil))
	must(pb.DeleteRange(start, end, nil))
	start, end = keys.GroupPending(group)
	must(pb.DeleteRange(start, end, nil))
	if err := c.db.Apply(pb, pebble.Sync); err != nil {
		return fmt.Errorf("delete group %q: %w", group, err)
	}
	return nil
}

// Groups returns the names of all groups that have metadata or offsets, sorted.
func (c *Catalog) Groups() ([]string, error) {
	names, err := c.groupsWithMetadata()
	if err != nil {
		return nil, fmt.Errorf("groups: %w", err)
	}
	more, err := c.groupsWithOffsets()
	if err != nil {
		return nil, fmt.Errorf("groups: %w", err)
	}
	names = append(names, more...)
	if more, err = c.groupsWithPending(); err != nil {
		return nil, fmt.Errorf("groups: %w", err)
	}
	names = append(names, more...)
	slices.Sort(names)
	return slices.Compact(names), nil
}

func (c *Catalog) groupsWithMetadata() (names []string, err error) {
	start, end := keys.Space(keys.SpaceGroup)
	it, err := c.db.NewIter(&pebble.IterOptions{LowerBound: start, UpperBound: end})
	if err != nil {
		return nil, err
	}
	for ok := it.First(); ok; ok = it.Next() {
		names = append(names, string(it.Key()[1:]))
	}
	return names, damage.Of(errors.Join(it.Error(), it.Close()))
}

// groupsWithOffsets seeks from group to group.
func (c *Catalog) groupsWithOffsets() (names []string, err error) {
	start, end := keys.Space(keys.SpaceOffset)
	it, err := c.db.NewIter(&pebble.IterOptions{LowerBound: start, UpperBound: end})
	if err != nil {
		return nil, err
	}
	for ok := it.First(); ok; {
		group, _, _, err := keys.ParseOffset(it.Key())
		if err != nil {
			return nil, errors.Join(err, it.Close())
		}
		names = append(names, group)
		_, next := keys.GroupOffsets(group)
		ok = it.SeekGE(next)
	}
	return names, damage.Of(errors.Join(it.Error(), it.Close()))
}

func checkName(name string) error {
	if name == "" || len(name) > 1<<15 || !keys.ValidGroup(name) {
		return fmt.Errorf("%w: name", ErrInvalid)
	}
	return nil
}

func encodeOffset(o OffsetCommit) []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(o.Offset))
	b = binary.BigEndian.AppendUint32(b, uint32(o.LeaderEpoch))
	b = binary.BigEndian.AppendUint64(b, uint64(o.CommitMs))
	return keys.Versioned(append(b, o.Metadata...))
}

func decodeOffset(value []byte) (o OffsetCommit, err error) {
	b, err := keys.Unversioned(value)
	if err != nil {
		return o, err
	}
	d := decoder{b: b}
	o.Offset, o.LeaderEpoch, o.CommitMs = int64(d.uint64()), int32(d.uint32()), int64(d.uint64())
	if d.bad {
		return o, keys.ErrCorrupt
	}
	o.Metadata = string(d.b)
	return o, nil
}

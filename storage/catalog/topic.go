package catalog

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/storage/keys"
)

// Topic is one life of a topic: a topic that is deleted and created again has another ID.
type Topic struct {
	ID         [16]byte // random, version 4 UUID layout, never zero
	Name       string
	CreatedMs  int64       // Unix milliseconds
	Partitions []Partition // by partition index
	Configs    []Config    // what was set on the topic itself, sorted by name, unique
}

// Partition is the durable identity of one partition.
type Partition struct {
	Ordinal     uint32   // the database-wide number of the partition, never reused
	Incarnation [16]byte // one life of the partition's log, random: a position means something within one incarnation only
}

// Config is one configuration value that was set on a topic.
type Config struct {
	Name  string
	Value string
}

// Spec asks Create for a topic.
type Spec struct {
	Name       string
	Partitions int
	Configs    []Config // in any order, names unique
}

// Create makes a topic durable. Names are checked for size only: what a topic may be called is the broker's.
// Errors: ErrTopicExists, ErrInvalid, and the reserve's.
func (c *Catalog) Create(spec Spec) (Topic, error) {
	configs, err := checkSpec(spec)
	if err != nil {
		return Topic{}, fmt.Errorf("create topic %q: %w", spec.Name, err)
	}
	c.writing <- struct{}{}
	defer func() { <-c.writing }()
	if _, ok := c.Get(spec.Name); ok {
		return Topic{}, fmt.Errorf("create topic %q: %w", spec.Name, ErrTopicExists)
	}
	t, next, err := c.newTopic(spec, configs)
	if err != nil {
		return Topic{}, fmt.Errorf("create topic %q: %w", spec.Name, err)
	}
	pb := c.db.NewBatch()
	defer pb.Close()
	must(pb.Set(keys.Broker(nameOrdinal), keys.AppendInt64(nil, next), nil))
	must(pb.Set(keys.Topic(t.Name), encodeTopic(t), nil))
	if err := c.admit(pb); err != nil {
		return Topic{}, fmt.Errorf("create topic %q: %w", spec.Name, err)
	}
	if err := c.db.Apply(pb, pebble.Sync); err != nil {
		return Topic{}, fmt.Errorf("create topic %q: %w", spec.Name, err)
	}
	c.put(t)
	return *t, nil
}

func (c *Catalog) newTopic(spec Spec, configs []Config) (t *Topic, nextOrdinal int64, err error) {
	t = &Topic{Name: spec.Name, CreatedMs: c.now().UnixMilli(), Configs: configs}
	if err := c.draw(&t.ID); err != nil {
		return nil, 0, err
	}
	t.Partitions, nextOrdinal, err = c.newPartitions(spec.Partitions)
	return t, nextOrdinal, err
}

func (c *Catalog) newPartitions(n int) (list []Partition, nextOrdinal int64, err error) {
	first, err := c.number(nameOrdinal, 0)
	if err != nil {
		return nil, 0, err
	}
	nextOrdinal = first + int64(n)
	if nextOrdinal > 1<<32 {
		return nil, 0, fmt.Errorf("%w: partition numbers are used up", ErrInvalid)
	}
	list = make([]Partition, n)
	for i := range list {
		list[i].Ordinal = uint32(first + int64(i))
		if err := c.draw(&list[i].Incarnation); err != nil {
			return nil, 0, err
		}
	}
	return list, nextOrdinal, nil
}

// Delete removes a topic and all keys of its partitions in one atomic write. The caller has dropped the partitions from the
// log before (log.Store.DropPartition), or they would be appended to. Error: ErrTopicNotFound.
func (c *Catalog) Delete(name string) error {
	c.writing <- struct{}{}
	defer func() { <-c.writing }()
	t, ok := c.Get(name)
	if !ok {
		return fmt.Errorf("delete topic %q: %w", name, ErrTopicNotFound)
	}
	pb := c.db.NewBatch()
	defer pb.Close()
	must(pb.Delete(keys.Topic(name), nil))
	for _, p := range t.Partitions {
		for _, space := range []byte(keys.PartitionSpaces) {
			must(pb.DeleteRange(keys.Partition(nil, space, p.Ordinal), keys.PartitionEnd(nil, space, p.Ordinal), nil))
		}
	}
	if err := c.db.Apply(pb, pebble.Sync); err != nil {
		return fmt.Errorf("delete topic %q: %w", name, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.byName, name)
	delete(c.byID, t.ID)
	return nil
}

// SetConfigs replaces what is set on a topic. Errors: ErrTopicNotFound, ErrInvalid.
func (c *Catalog) SetConfigs(name string, configs []Config) error {
	configs, err := checkSpec(Spec{Name: name, Partitions: 1, Configs: configs})
	if err != nil {
		return fmt.Errorf("configs of topic %q: %w", name, err)
	}
	c.writing <- struct{}{}
	defer func() { <-c.writing }()
	t, ok := c.Get(name)
	if !ok {
		return fmt.Errorf("configs of topic %q: %w", name, ErrTopicNotFound)
	}
	t.Configs = configs
	if err := c.db.Set(keys.Topic(name), encodeTopic(&t), pebble.Sync); err != nil {
		return fmt.Errorf("configs of topic %q: %w", name, err)
	}
	c.put(&t)
	return nil
}

// RenewIncarnation gives a partition another incarnation, because readable records of it are known to be lost. It stands in the topic
// and in the bounds of the partition's log: both change in one atomic write. Nothing may be appended to the partition or trimmed
// meanwhile, see log.Partition.RenewIncarnation. Errors: ErrTopicNotFound, ErrInvalid, keys.ErrCorrupt.
func (c *Catalog) RenewIncarnation(topic [16]byte, index int32) (incarnation [16]byte, err error) {
	c.writing <- struct{}{}
	defer func() { <-c.writing }()
	t, ok := c.ByID(topic)
	if !ok {
		return incarnation, fmt.Errorf("incarnation of a partition of topic %x: %w", topic, ErrTopicNotFound)
	}
	if index < 0 || int(index) >= len(t.Partitions) {
		return incarnation, fmt.Errorf("incarnation: %w: topic %q has no partition %d", ErrInvalid, t.Name, index)
	}
	if err := c.draw(&incarnation); err != nil {
		return incarnation, err
	}
	t.Partitions = slices.Clone(t.Partitions)
	p := &t.Partitions[index]
	p.Incarnation = incarnation
	pb := c.db.NewBatch()
	defer pb.Close()
	must(pb.Set(keys.Topic(t.Name), encodeTopic(&t), nil))
	for _, space := range []byte{keys.SpaceDispute, keys.SpaceSettled} {
		must(pb.Delete(keys.Partition(nil, space, p.Ordinal), nil))
	}
	if err := c.renewBounds(pb, p); err != nil {
		return incarnation, fmt.Errorf("incarnation of %s/%d: %w", t.Name, index, err)
	}
	if err := c.db.Apply(pb, pebble.Sync); err != nil {
		return incarnation, fmt.Errorf("incarnation of %s/%d: %w", t.Name, index, err)
	}
	c.put(&t)
	return incarnation, nil
}

// renewBounds rewrites the bounds of the partition's log; one that was never written has none.
func (c *Catalog) renewBounds(pb *pebble.Batch, p *Partition) error {
	key := keys.Partition(nil, keys.SpacePart, p.Ordinal)
	value, ok, err := c.get(key)
	if err != nil || !ok {
		return err
	}
	bounds, err := keys.DecodePart(value)
	if err != nil {
		return err
	}
	bounds.Incarnation = p.Incarnation
	must(pb.Set(key, bounds.Append(nil), nil))
	return nil
}

func (c *Catalog) put(t *Topic) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.byName[t.Name], c.byID[t.ID] = t, t
}

func checkSpec(spec Spec) ([]Config, error) {
	switch {
	case spec.Name == "" || len(spec.Name) > maxNameLen || !keys.ValidGroup(spec.Name):
		return nil, fmt.Errorf("%w: name", ErrInvalid)
	case spec.Partitions < 1 || spec.Partitions > maxPartitions:
		return nil, fmt.Errorf("%w: %d partitions", ErrInvalid, spec.Partitions)
	}
	return checkConfigs(spec.Configs)
}

// checkConfigs returns a copy by name; a name that is there twice is ErrInvalid.
func checkConfigs(configs []Config) ([]Config, error) {
	configs = slices.Clone(configs)
	slices.SortFunc(configs, func(a, b Config) int { return cmp.Compare(a.Name, b.Name) })
	for i := 1; i < len(configs); i++ {
		if configs[i].Name == configs[i-1].Name {
			return nil, fmt.Errorf("%w: config %q is given twice", ErrInvalid, configs[i].Name)
		}
	}
	return configs, nil
}

func encodeTopic(t *Topic) []byte {
	b := append([]byte(nil), t.ID[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(t.CreatedMs))
	b = binary.AppendUvarint(b, uint64(len(t.Partitions)))
	for _, p := range t.Partitions {
		b = binary.BigEndian.AppendUint32(b, p.Ordinal)
		b = append(b, p.Incarnation[:]...)
	}
	return keys.Versioned(appendConfigs(b, t.Configs))
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func decodeTopic(name string, value []byte) (*Topic, error) {
	b, err := keys.Unversioned(value)
	if err != nil {
		return nil, err
	}
	d := decoder{b: b}
	t := &Topic{Name: name}
	copy(t.ID[:], d.take(16))
	t.CreatedMs = int64(d.uint64())
	if n := d.count(20); n > 0 {
		t.Partitions = make([]Partition, n)
	}
	for i := range t.Partitions {
		t.Partitions[i].Ordinal = d.uint32()
		copy(t.Partitions[i].Incarnation[:], d.take(16))
	}
	t.Configs = d.configs()
	if d.bad || len(d.b) > 0 || len(t.Partitions) == 0 {
		return nil, keys.ErrCorrupt
	}
	return t, nil
}

// decoder reads from the front; after the first short read everything is zero and bad is set.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if n > len(d.b) {
		d.bad, d.b = true, nil
		return make([]byte, min(n, 16)) // the callers with a fixed size index into it
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) uint64() uint64 { return binary.BigEndian.Uint64(d.take(8)) }
func (d *decoder) uint32() uint32 { return binary.BigEndian.Uint32(d.take(4)) }
func (d *decoder) uint16() uint16 { return binary.BigEndian.Uint16(d.take(2)) }

// count reads a number of things that take at least size bytes each.
func (d *decoder) count(size int) int {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > uint64(len(d.b)-n)/uint64(size) {
		d.bad, d.b = true, nil
		return 0
	}
	d.b = d.b[n:]
	return int(v)
}

// must holds for writes into a batch in memory.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

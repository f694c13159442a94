package catalog

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/storage/keys"
)

// NextOrdinal is the lowest ordinal that no partition has had. An ordinal below that no topic has is that of a deleted topic, unless it
// is kept.
func (c *Catalog) NextOrdinal() (int64, error) { return c.number(nameOrdinal, 0) }

// KeptOrdinals are those that KeepOrdinals was given, ascending.
func (c *Catalog) KeptOrdinals() ([]uint32, error) {
	value, ok, err := c.get(keys.Broker(nameKept))
	if err != nil || !ok {
		return nil, err
	}
	return decodeOrdinals(value)
}

// KeepOrdinals remembers ordinals that the catalog has not given out, or does not know any more, and that something else bears: tables
// whose topics are gone with the end of the log. No partition gets one of them.
func (c *Catalog) KeepOrdinals(ordinals []uint32) error {
	c.writing <- struct{}{}
	defer func() { <-c.writing }()
	kept, err := c.KeptOrdinals()
	if err != nil {
		return err
	}
	next, err := c.NextOrdinal()
	if err != nil {
		return err
	}
	kept = append(kept, ordinals...)
	slices.Sort(kept)
	kept = slices.Compact(kept)
	if len(kept) == 0 {
		return nil
	}
	next = max(next, int64(kept[len(kept)-1])+1)
	pb := c.db.NewBatch()
	defer pb.Close()
	must(pb.Set(keys.Broker(nameKept), encodeOrdinals(kept), nil))
	must(pb.Set(keys.Broker(nameOrdinal), keys.AppendInt64(nil, next), nil))
	if err := c.db.Apply(pb, pebble.Sync); err != nil {
		return fmt.Errorf("keep ordinals: %w", err)
	}
	return nil
}

func encodeOrdinals(list []uint32) []byte {
	var b []byte
	for _, o := range list {
		b = binary.BigEndian.AppendUint32(b, o)
	}
	return keys.Versioned(b)
}

func decodeOrdinals(value []byte) (list []uint32, err error) {
	b, err := keys.Unversioned(value)
	if err == nil && len(b)%4 != 0 {
		err = fmt.Errorf("%w: %d bytes of ordinals", keys.ErrCorrupt, len(b))
	}
	if err != nil {
		return nil, fmt.Errorf("kept ordinals: %w", err)
	}
	for ; len(b) > 0; b = b[4:] {
		list = append(list, binary.BigEndian.Uint32(b))
	}
	return list, nil
}

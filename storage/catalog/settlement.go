package catalog

import (
	"encoding/binary"
	"fmt"

	"github.com/keyframelog/keyframe/storage/keys"
)

// Settlement is up to where the disputes of a partition are over, and whom an operator has overruled: see package replicas.
type Settlement struct {
	DisputedPartition
	Topic       string // its name now; not stored
	Incarnation [16]byte
	Cut         int64
	Overruled   []Overruled
}

// Overruled is a replica of which an operator has said that it is wrong.
type Overruled struct {
	Replica string
	HeardMs int64 // Unix milliseconds: the broker heard of it then, or later
}

func (s *Settlement) valid() bool {
	for _, o := range s.Overruled {
		if len(o.Replica) > maxNameLen {
			return false
		}
	}
	return s.Cut >= 0
}

// Settlements returns all settlements of partitions that there are.
func (c *Catalog) Settlements() (all []Settlement, err error) {
	err = c.eachPartition(keys.SpaceSettled, func(at DisputedPartition, topic string, incarnation [16]byte, value []byte) error {
		s, err := decodeSettlement(value)
		if err != nil {
			return fmt.Errorf("settlement of %s/%d: %w", topic, at.Partition, err)
		}
		if s.Incarnation == incarnation {
			s.DisputedPartition, s.Topic = at, topic
			all = append(all, s)
		}
		return nil
	})
	return all, err
}

func encodeSettlement(s *Settlement) []byte {
	b := append([]byte(nil), s.Incarnation[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(s.Cut))
	b = binary.AppendUvarint(b, uint64(len(s.Overruled)))
	for _, o := range s.Overruled {
		b = binary.BigEndian.AppendUint64(appendText(b, o.Replica), uint64(o.HeardMs))
	}
	return keys.Versioned(b)
}

// overruledBytesMin is what an overruled replica takes at least.
const overruledBytesMin = 1 + 8

func decodeSettlement(value []byte) (s Settlement, err error) {
	b, err := keys.Unversioned(value)
	if err != nil {
		return s, err
	}
	r := decoder{b: b}
	copy(s.Incarnation[:], r.take(16))
	s.Cut = int64(r.uint64())
	if n := r.count(overruledBytesMin); n > 0 {
		s.Overruled = make([]Overruled, n)
	}
	for i := range s.Overruled {
		s.Overruled[i].Replica = string(r.take(r.count(1)))
		s.Overruled[i].HeardMs = int64(r.uint64())
	}
	if r.bad || len(r.b) > 0 || !s.valid() {
		return Settlement{}, keys.ErrCorrupt
	}
	return s, nil
}

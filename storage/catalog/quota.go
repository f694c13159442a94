package catalog

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

// QuotaEntity is what quotas are set for: a user, a client id, the two together, or an address. It is comparable.
type QuotaEntity struct{ User, ClientID, IP QuotaName }

// QuotaName is one part of an entity.
type QuotaName struct {
	Kind QuotaKind
	Name string // of QuotaNamed, not empty
}

// QuotaKind says whom a part of an entity means.
type QuotaKind uint8

const (
	QuotaNone    QuotaKind = iota // the part is no part of the entity
	QuotaDefault                  // those that have no quota of their own
	QuotaNamed
)

// Quotas are the quotas of one entity, by name; none at all removes the entity.
type Quotas struct {
	Entity QuotaEntity
	Values []Quota
}

// Quota is a name and a value, as producer_byte_rate and 1048576.
type Quota struct {
	Name  string
	Value float64
}

// PutQuotas replaces the quotas of the entities in one atomic write, durable when it returns.
// Errors: ErrInvalid for an entity that cannot be stored, and the reserve's unless only entities are removed.
func (c *Catalog) PutQuotas(all []Quotas) error {
	pb := c.db.NewBatch()
	defer pb.Close()
	grows := false
	for _, q := range all {
		key, err := quotaKey(q.Entity)
		if err != nil {
			return fmt.Errorf("quotas: %w", err)
		}
		if len(q.Values) == 0 {
			must(pb.Delete(key, nil))
			continue
		}
		must(pb.Set(key, encodeQuotas(q.Values), nil))
		grows = true
	}
	if pb.Empty() {
		return nil
	}
	if grows {
		if err := c.admit(pb); err != nil {
			return fmt.Errorf("quotas: %w", err)
		}
	}
	if err := c.db.Apply(pb, pebble.Sync); err != nil {
		return fmt.Errorf("quotas: %w", err)
	}
	return nil
}

// Quotas returns the quotas of all entities.
func (c *Catalog) Quotas() ([]Quotas, error) {
	start, end := keys.Space(keys.SpaceQuota)
	it, err := c.db.NewIter(&pebble.IterOptions{LowerBound: start, UpperBound: end})
	if err != nil {
		return nil, fmt.Errorf("quotas: %w", err)
	}
	var all []Quotas
	for ok := it.First(); ok; ok = it.Next() {
		entity, err := decodeQuotaKey(it.Key())
		if err != nil {
			return nil, errors.Join(fmt.Errorf("quotas: key %x: %w", it.Key(), err), it.Close())
		}
		values, err := decodeQuotas(it.Value())
		if err != nil {
			return nil, errors.Join(fmt.Errorf("quotas of %+v: %w", entity, err), it.Close())
		}
		all = append(all, Quotas{entity, values})
	}
	return all, damage.Of(errors.Join(it.Error(), it.Close()))
}

func quotaKey(e QuotaEntity) ([]byte, error) {
	key := []byte{keys.SpaceQuota}
	for _, n := range []QuotaName{e.User, e.ClientID, e.IP} {
		if n.Kind > QuotaNamed || (n.Kind == QuotaNamed) != (n.Name != "") || len(n.Name) > 1<<15 {
			return nil, fmt.Errorf("%w: entity %+v", ErrInvalid, e)
		}
		if key = append(key, byte(n.Kind)); n.Kind == QuotaNamed {
			key = appendText(key, n.Name)
		}
	}
	if e == (QuotaEntity{}) {
		return nil, fmt.Errorf("%w: an entity without a part", ErrInvalid)
	}
	return key, nil
}

func decodeQuotaKey(key []byte) (e QuotaEntity, err error) {
	d := decoder{b: key[1:]}
	for _, n := range []*QuotaName{&e.User, &e.ClientID, &e.IP} {
		n.Kind = QuotaKind(d.take(1)[0])
		if n.Kind == QuotaNamed {
			n.Name = string(d.take(d.count(1)))
		}
		if n.Kind > QuotaNamed || n.Kind == QuotaNamed && n.Name == "" {
			d.bad = true
		}
	}
	if d.bad || len(d.b) > 0 || e == (QuotaEntity{}) {
		return e, keys.ErrCorrupt
	}
	return e, nil
}

func encodeQuotas(values []Quota) []byte {
	values = slices.Clone(values)
	slices.SortFunc(values, func(a, b Quota) int { return cmp.Compare(a.Name, b.Name) })
	b := binary.AppendUvarint(nil, uint64(len(values)))
	for _, q := range values {
		b = binary.BigEndian.AppendUint64(appendText(b, q.Name), math.Float64bits(q.Value))
	}
	return keys.Versioned(b)
}

func decodeQuotas(value []byte) ([]Quota, error) {
	b, err := keys.Unversioned(value)
	if err != nil {
		return nil, err
	}
	d := decoder{b: b}
	values := make([]Quota, d.count(9))
	for i := range values {
		values[i].Name = string(d.take(d.count(1)))
		values[i].Value = math.Float64frombits(d.uint64())
	}
	if d.bad || len(d.b) > 0 || len(values) == 0 {
		return nil, keys.ErrCorrupt
	}
	return values, nil
}

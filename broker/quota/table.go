package quota

import (
	"maps"
	"slices"

	"github.com/keyframelog/keyframe/storage/catalog"
)

// table is all quotas at one moment. It is never changed, only replaced.
type table struct {
	entities map[catalog.QuotaEntity][]catalog.Quota // as set
	bounds   map[bound]float64
	defaults [kinds]float64 // of the broker's configuration; 0: none
	any      [kinds]bool    // there is a quota of the kind
}

// bound is one quota: of an entity in which an address has its one form.
type bound struct {
	kind   Kind
	entity catalog.QuotaEntity
}

func newTable(entities map[catalog.QuotaEntity][]catalog.Quota, defaults [kinds]float64) *table {
	t := &table{entities: entities, bounds: map[bound]float64{}, defaults: defaults}
	for k := range kinds {
		t.any[k] = defaults[k] > 0
	}
	for e, values := range entities {
		ip := e.IP.Kind != catalog.QuotaNone
		if e.IP.Kind == catalog.QuotaNamed {
			if address, ok := addressOf(e.IP.Name); ok {
				e.IP.Name = address
			}
		}
		for _, v := range values {
			if k, ok := kindOf(v.Name, ip); ok { // another version may have set more
				t.bounds[bound{k, e}] = v.Value
				t.any[k] = true
			}
		}
	}
	return t
}

// with returns the table after changes; an entity without values is removed.
func (t *table) with(changes []catalog.Quotas) *table {
	entities := maps.Clone(t.entities)
	for _, c := range changes {
		if len(c.Values) == 0 {
			delete(entities, c.Entity)
		} else {
			entities[c.Entity] = c.Values
		}
	}
	return newTable(entities, t.defaults)
}

// meterKey says who shares one meter.
type meterKey struct {
	kind         Kind
	user, client string // "" for all of them
}

// find returns the quota that holds for a client, and whose meter counts.
func (t *table) find(kind Kind, c Client) (limit float64, key meterKey, ok bool) {
	if !t.any[kind] {
		return 0, key, false
	}
	none, byDefault := catalog.QuotaName{}, catalog.QuotaName{Kind: catalog.QuotaDefault}
	user := catalog.QuotaName{Kind: catalog.QuotaNamed, Name: c.User}
	client := catalog.QuotaName{Kind: catalog.QuotaNamed, Name: c.ID}
	for _, e := range [...]struct {
		user, client         catalog.QuotaName
		perUser, perClientID bool
	}{
		{user, client, true, true}, {user, byDefault, true, true}, {user, none, true, false},
		{byDefault, client, true, true}, {byDefault, byDefault, true, true}, {byDefault, none, true, false},
		{none, client, false, true}, {none, byDefault, false, true},
	} {
		if limit, ok = t.bounds[bound{kind, catalog.QuotaEntity{User: e.user, ClientID: e.client}}]; ok {
			key.kind = kind
			if e.perUser {
				key.user = c.User
			}
			if e.perClientID {
				key.client = c.ID
			}
			return limit, key, true
		}
	}
	return t.defaults[kind], meterKey{kind, "", c.ID}, t.defaults[kind] > 0
}

// findIP is find for an address.
func (t *table) findIP(address string) (limit float64, key meterKey, ok bool) {
	if !t.any[Connection] {
		return 0, key, false
	}
	key = meterKey{Connection, "", address}
	for _, n := range []catalog.QuotaName{{Kind: catalog.QuotaNamed, Name: address}, {Kind: catalog.QuotaDefault}} {
		if limit, ok = t.bounds[bound{Connection, catalog.QuotaEntity{IP: n}}]; ok {
			return limit, key, true
		}
	}
	return t.defaults[Connection], key, t.defaults[Connection] > 0
}

// list returns the entities that match a filter.
func (t *table) list(f *filter) (all []catalog.Quotas) {
	for e, values := range t.entities {
		if f.matches(e) {
			all = append(all, catalog.Quotas{Entity: e, Values: slices.Clone(values)})
		}
	}
	return all
}

package quota

import (
	"maps"
	"slices"
	"strconv"

	"github.com/keyframelog/keyframe/storage/catalog"
)

// Describe returns the quotas of the entities that match all of the components. Error: *Refusal.
func (m *Manager) Describe(matches []Match, strict bool) ([]catalog.Quotas, error) {
	f, err := filterOf(matches, strict)
	if err != nil {
		return nil, err
	}
	return m.table.Load().list(f), nil
}

// Op sets or removes one quota.
type Op struct {
	Key    string
	Value  float64
	Remove bool
}

// Change is what a request wants of one entity.
type Change struct {
	Parts []Part
	Ops   []Op
}

// Alter carries out changes, durable when it returns, each for itself: the errors are theirs, *Refusal or the store's. Only those that are
// not refused are written, in one atomic write. checkOnly writes nothing.
func (m *Manager) Alter(changes []Change, checkOnly bool) []error {
	m.change <- struct{}{}
	defer func() { <-m.change }()
	errs := make([]error, len(changes))
	now := m.table.Load()
	first := map[catalog.QuotaEntity]int{}
	var good []catalog.Quotas
	var of []int
	for i, c := range changes {
		q, err := c.apply(now)
		if j, again := first[q.Entity]; again && err == nil {
			err = refuse("Ignoring duplicate entity %v", describe(q.Entity))
			errs[j] = err
		}
		if errs[i] = err; err == nil {
			first[q.Entity] = i
			good, of = append(good, q), append(of, i)
		}
	}
	// An entity that is named twice is refused in both places.
	kept := good[:0]
	for j, q := range good {
		if errs[of[j]] == nil {
			kept = append(kept, q)
		}
	}
	if checkOnly || len(kept) == 0 {
		return errs
	}
	if err := m.cfg.Store.PutQuotas(kept); err != nil {
		for _, i := range of {
			if errs[i] == nil {
				errs[i] = err
			}
		}
		return errs
	}
	m.table.Store(now.with(kept))
	for _, q := range kept {
		m.cfg.Logger.Info("client quotas changed", "entity", describe(q.Entity), "quotas", describeValues(q.Values))
	}
	return errs
}

// describeValues are quotas as NAME=VALUE.
func describeValues(quotas []catalog.Quota) []string {
	text := make([]string, len(quotas))
	for i, q := range quotas {
		text[i] = q.Name + "=" + strconv.FormatFloat(q.Value, 'f', -1, 64)
	}
	return text
}

// apply returns what an entity has after a change.
func (c Change) apply(now *table) (q catalog.Quotas, err error) {
	if q.Entity, err = entityOf(c.Parts); err != nil {
		return q, err
	}
	ip := q.Entity.IP.Kind != catalog.QuotaNone
	if ip && q.Entity.IP.Kind == catalog.QuotaNamed {
		if _, ok := addressOf(q.Entity.IP.Name); !ok {
			return q, refuse("%s is not a valid IP or resolvable host.", q.Entity.IP.Name)
		}
	}
	values := map[string]float64{}
	for _, v := range now.entities[q.Entity] {
		values[v.Name] = v.Value
	}
	seen := map[string]bool{}
	for _, op := range c.Ops {
		if seen[op.Key] {
			return q, refuse("Quota %s is named twice", op.Key)
		}
		seen[op.Key] = true
		if op.Remove {
			delete(values, op.Key)
			continue
		}
		kind, ok := kindOf(op.Key, ip)
		if !ok {
			return q, refuse("Invalid configuration key %s", op.Key)
		}
		if err := kind.check(op.Value); err != nil {
			return q, err
		}
		values[op.Key] = op.Value
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		q.Values = append(q.Values, catalog.Quota{Name: name, Value: values[name]})
	}
	return q, nil
}

// describe names an entity in messages.
func describe(e catalog.QuotaEntity) string {
	text := ""
	for _, p := range PartsOf(e) {
		name := "<default>"
		if p.Name != nil {
			name = *p.Name
		}
		if text != "" {
			text += ", "
		}
		text += p.Type + "=" + name
	}
	return text
}

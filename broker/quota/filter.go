package quota

import "github.com/keyframelog/keyframe/storage/catalog"

// Match says which entities one component of a filter takes, as DescribeClientQuotas has it.
type Match struct {
	Type string
	Kind int8 // MatchExact, MatchDefault, MatchAny
	Name *string
}

// The kinds of a Match.
const (
	MatchExact = iota
	MatchDefault
	MatchAny
)

// filter takes entities that have all of its parts, and, if it is strict, no others.
type filter struct {
	parts  map[string]Match
	strict bool
}

func filterOf(matches []Match, strict bool) (*filter, error) {
	f := &filter{parts: map[string]Match{}, strict: strict}
	for _, m := range matches {
		if m.Type == "" {
			return nil, refuse("Invalid empty entity type.")
		}
		if _, ok := f.parts[m.Type]; ok {
			return nil, refuse("Entity type %s cannot appear more than once in the filter.", m.Type)
		}
		if partOf(&catalog.QuotaEntity{}, m.Type) == nil {
			return nil, &Refusal{Text: "Unsupported entity type " + m.Type, Unsupported: true}
		}
		if err := m.check(); err != nil {
			return nil, err
		}
		f.parts[m.Type] = m
	}
	if _, ip := f.parts[typeIP]; ip && len(f.parts) > 1 {
		return nil, refuse("Invalid entity filter component combination. IP filter component should not be used with user or clientId filter component.")
	}
	return f, nil
}

func (m Match) check() error {
	switch {
	case m.Kind == MatchExact && m.Name == nil:
		return refuse("Request specified MATCH_TYPE_EXACT, but set match string to null.")
	case m.Kind == MatchDefault && m.Name != nil:
		return refuse("Request specified MATCH_TYPE_DEFAULT, but also specified a match string.")
	case m.Kind == MatchAny && m.Name != nil:
		return refuse("Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.")
	case m.Kind < MatchExact || m.Kind > MatchAny:
		return refuse("Unknown match type %d", m.Kind)
	}
	return nil
}

func (f *filter) matches(e catalog.QuotaEntity) bool {
	for _, kind := range []string{typeUser, typeClient, typeIP} {
		n := partOf(&e, kind)
		m, asked := f.parts[kind]
		switch {
		case !asked:
			if f.strict && n.Kind != catalog.QuotaNone {
				return false
			}
		case n.Kind == catalog.QuotaNone,
			m.Kind == MatchExact && (n.Kind != catalog.QuotaNamed || n.Name != *m.Name),
			m.Kind == MatchDefault && n.Kind != catalog.QuotaDefault:
			return false
		}
	}
	return true
}

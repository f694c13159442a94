package quota

import (
	"net"

	"github.com/keyframelog/keyframe/storage/catalog"
)

// Part is one part of an entity as requests name it: a type, and a name or nil for the default.
type Part struct {
	Type string
	Name *string
}

const (
	typeUser   = "user"
	typeClient = "client-id"
	typeIP     = "ip"
)

// entityOf reads an entity. Of two parts of one type the last counts.
func entityOf(parts []Part) (e catalog.QuotaEntity, err error) {
	if len(parts) == 0 {
		return e, refuse("Invalid empty client quota entity")
	}
	for _, p := range parts {
		n := partOf(&e, p.Type)
		if n == nil {
			return e, refuse("Unhandled client quota entity type: %s", p.Type)
		}
		if p.Name != nil && *p.Name == "" {
			return e, refuse("Empty %s not supported", p.Type)
		}
		*n = catalog.QuotaName{Kind: catalog.QuotaDefault}
		if p.Name != nil {
			*n = catalog.QuotaName{Kind: catalog.QuotaNamed, Name: *p.Name}
		}
	}
	none := catalog.QuotaName{}
	if e.IP != none && (e.User != none || e.ClientID != none) {
		return e, refuse("Invalid quota entity combination, IP entity should not be combined with User or ClientId")
	}
	return e, nil
}

func partOf(e *catalog.QuotaEntity, kind string) *catalog.QuotaName {
	switch kind {
	case typeUser:
		return &e.User
	case typeClient:
		return &e.ClientID
	case typeIP:
		return &e.IP
	}
	return nil
}

// PartsOf is an entity as answers name it.
func PartsOf(e catalog.QuotaEntity) (parts []Part) {
	for _, kind := range []string{typeUser, typeClient, typeIP} {
		switch n := partOf(&e, kind); n.Kind {
		case catalog.QuotaDefault:
			parts = append(parts, Part{Type: kind})
		case catalog.QuotaNamed:
			parts = append(parts, Part{Type: kind, Name: &n.Name})
		}
	}
	return parts
}

// addressOf is the one form of an address in which quotas are looked up. localhost is the only name: others would have to be
// resolved, and mean something else tomorrow.
func addressOf(name string) (string, bool) {
	if name == "localhost" {
		name = "127.0.0.1"
	}
	ip := net.ParseIP(name)
	return ip.String(), ip != nil
}

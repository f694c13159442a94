package group

import (
	"bytes"
	"slices"
	"time"
)

// member is a member of a group. The tickets are those of its waiting requests, 0 without one.
type member struct {
	id, instanceID       string
	clientID, clientHost string
	session, rebalance   time.Duration
	protocols            []Protocol
	assignment           []byte
	join                 Ticket
	sync                 Ticket
	// isNew: has not got an answer to a JoinGroup yet, so that it does not know its id and cannot send heartbeats.
	isNew bool
	// mustSync: was told the current generation and has not sent SyncGroup for it.
	mustSync bool
	// former is the epoch that the member had in the consumer group that this group was, if that is not the generation. It is good for
	// what the member does until it is told a generation: nobody else is given its partitions before.
	former int32
	// expires is when the member is evicted if nothing is heard of it; zero while a request of it waits.
	expires time.Time
}

// waits says that a request of the member is parked here: it cannot send heartbeats and must not be evicted for that. A
// new member is the exception, since a client that gave up would otherwise stay for ever.
func (m *member) waits() bool { return !m.isNew && (m.join != 0 || m.sync != 0) }

// metadata is the member's metadata for the named protocol.
func (m *member) metadata(protocol string) []byte {
	for _, p := range m.protocols {
		if p.Name == protocol {
			return p.Metadata
		}
	}
	return nil
}

func (m *member) supports(protocol string) bool {
	return slices.ContainsFunc(m.protocols, func(p Protocol) bool { return p.Name == protocol })
}

// matches says that a join with these protocols changes nothing.
func (m *member) matches(protocols []Protocol) bool {
	return slices.EqualFunc(m.protocols, protocols, func(a, b Protocol) bool {
		return a.Name == b.Name && bytes.Equal(a.Metadata, b.Metadata)
	})
}

// isAt says whether a request of that generation is of what the member knows.
func (g *Group) isAt(m *member, generation int32) bool {
	return generation == g.generation || m.former != 0 && generation == m.former
}

// update takes over what a member says about itself in each JoinGroup.
func (m *member) update(r *JoinRequest) {
	m.protocols = r.Protocols
	m.session, m.rebalance = r.SessionTimeout, r.RebalanceTimeout
	m.clientID, m.clientHost = r.ClientID, r.ClientHost
}

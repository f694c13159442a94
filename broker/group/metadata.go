package group

import (
	"math"
	"time"

	"github.com/keyframelog/keyframe/broker/group/stored"
)

const metadataVersion = 1

var (
	// ErrCorrupt is metadata that is not what was written.
	ErrCorrupt = stored.ErrCorrupt
	// ErrVersion is metadata of a version that this program does not know.
	ErrVersion = stored.ErrVersion
)

// Metadata is what of a group is durable: the last generation that got an assignment, or that the group is empty.
type Metadata struct {
	ProtocolType string
	Protocol     string
	Generation   int32
	Leader       string
	SinceMs      int64 // Unix milliseconds of the transition to the state, from which the retention of offsets counts
	Members      []MemberMetadata
}

// MemberMetadata is a durable member.
type MemberMetadata struct {
	ID, InstanceID       string
	ClientID, ClientHost string
	SessionMs            int64
	RebalanceMs          int64
	Protocols            []Protocol
	Assignment           []byte
}

// metadata is the group as it stands, with the assignment of the leader if that is about to become the group's.
func (g *Group) metadata(assigning map[string][]byte) Metadata {
	meta := Metadata{
		ProtocolType: g.protocolType, Protocol: g.protocol, Generation: g.generation, Leader: g.leader,
		SinceMs: g.stateSince.UnixMilli(), Members: make([]MemberMetadata, len(g.members)),
	}
	for i, m := range g.members {
		meta.Members[i] = MemberMetadata{
			ID: m.id, InstanceID: m.instanceID, ClientID: m.clientID, ClientHost: m.clientHost,
			SessionMs: m.session.Milliseconds(), RebalanceMs: m.rebalance.Milliseconds(),
			Protocols: m.protocols, Assignment: m.assignment,
		}
		if assigning != nil {
			meta.Members[i].Assignment = assigning[m.id]
		}
	}
	return meta
}

// Restore is the group as it was saved: Stable with members, whose sessions begin anew, or Empty.
func Restore(now time.Time, opts Options, meta Metadata) *Group {
	g := New(now, opts)
	g.stateSince = time.UnixMilli(meta.SinceMs)
	g.protocolType, g.generation = meta.ProtocolType, meta.Generation
	for _, mm := range meta.Members {
		m := &member{
			id: mm.ID, instanceID: mm.InstanceID, clientID: mm.ClientID, clientHost: mm.ClientHost,
			session:   time.Duration(mm.SessionMs) * time.Millisecond,
			rebalance: time.Duration(mm.RebalanceMs) * time.Millisecond,
			protocols: mm.Protocols, assignment: mm.Assignment,
		}
		g.add(m)
		g.renew(now, m)
	}
	if len(g.members) > 0 {
		g.previous, g.state = CompletingRebalance, Stable
		g.protocol = meta.Protocol
		if g.byID[meta.Leader] != nil {
			g.leader = meta.Leader
		}
	}
	g.subscribed = g.subscriptions()
	return g
}

// Append encodes the metadata behind dst; see the package documentation for the bytes.
func (m *Metadata) Append(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, metadataVersion)
	dst = stored.AppendString(dst, m.ProtocolType)
	dst = stored.AppendString(dst, m.Protocol)
	dst = stored.AppendInt(dst, int64(m.Generation))
	dst = stored.AppendString(dst, m.Leader)
	dst = stored.AppendInt(dst, m.SinceMs)
	dst = stored.AppendInt(dst, int64(len(m.Members)))
	for i := range m.Members {
		mm := &m.Members[i]
		for _, s := range []string{mm.ID, mm.InstanceID, mm.ClientID, mm.ClientHost} {
			dst = stored.AppendString(dst, s)
		}
		dst = stored.AppendInt(dst, mm.SessionMs)
		dst = stored.AppendInt(dst, mm.RebalanceMs)
		dst = stored.AppendInt(dst, int64(len(mm.Protocols)))
		for _, p := range mm.Protocols {
			dst = stored.AppendString(dst, p.Name)
			dst = stored.AppendString(dst, p.Metadata)
		}
		dst = stored.AppendString(dst, mm.Assignment)
	}
	return stored.AppendSum(dst, start)
}

// DecodeMetadata is the inverse of Metadata.Append. The result does not alias b.
func DecodeMetadata(b []byte) (Metadata, error) {
	r, err := stored.Open(b, metadataVersion)
	if err != nil {
		return Metadata{}, err
	}
	m := Metadata{ProtocolType: r.Text(), Protocol: r.Text(), Generation: int32(r.Int(math.MaxInt32)),
		Leader: r.Text(), SinceMs: r.Int(math.MaxInt64)}
	for n := r.Count(); n > 0 && !r.Bad(); n-- {
		mm := MemberMetadata{ID: r.Text(), InstanceID: r.Text(), ClientID: r.Text(), ClientHost: r.Text(),
			SessionMs: r.Int(math.MaxInt32), RebalanceMs: r.Int(math.MaxInt32)}
		for k := r.Count(); k > 0 && !r.Bad(); k-- {
			mm.Protocols = append(mm.Protocols, Protocol{Name: r.Text(), Metadata: []byte(r.Text())})
		}
		mm.Assignment = []byte(r.Text())
		m.Members = append(m.Members, mm)
	}
	if err := r.Close(); err != nil {
		return Metadata{}, err
	}
	return m, nil
}

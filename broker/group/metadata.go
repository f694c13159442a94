package group

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"
)

const metadataVersion = 1

var (
	// ErrCorrupt is metadata that is not what was written.
	ErrCorrupt = errors.New("corrupt group metadata")
	// ErrVersion is metadata of a version that this program does not know.
	ErrVersion = errors.New("unknown version of group metadata")
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
	dst = appendBytes(dst, m.ProtocolType)
	dst = appendBytes(dst, m.Protocol)
	dst = binary.AppendUvarint(dst, uint64(m.Generation))
	dst = appendBytes(dst, m.Leader)
	dst = binary.AppendUvarint(dst, uint64(m.SinceMs))
	dst = binary.AppendUvarint(dst, uint64(len(m.Members)))
	for i := range m.Members {
		mm := &m.Members[i]
		for _, s := range []string{mm.ID, mm.InstanceID, mm.ClientID, mm.ClientHost} {
			dst = appendBytes(dst, s)
		}
		dst = binary.AppendUvarint(dst, uint64(mm.SessionMs))
		dst = binary.AppendUvarint(dst, uint64(mm.RebalanceMs))
		dst = binary.AppendUvarint(dst, uint64(len(mm.Protocols)))
		for _, p := range mm.Protocols {
			dst = appendBytes(dst, p.Name)
			dst = appendBytes(dst, p.Metadata)
		}
		dst = appendBytes(dst, mm.Assignment)
	}
	return appendSum(dst, start)
}

// appendSum appends the checksum of dst[start:].
func appendSum(dst []byte, start int) []byte {
	return binary.BigEndian.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli()))
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func appendBytes[T string | []byte](dst []byte, b T) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

// DecodeMetadata is the inverse of Metadata.Append. The result does not alias b.
func DecodeMetadata(b []byte) (Metadata, error) {
	if len(b) < 5 {
		return Metadata{}, fmt.Errorf("%w: %d bytes", ErrCorrupt, len(b))
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if b[0] != metadataVersion {
		return Metadata{}, fmt.Errorf("%w: %d", ErrVersion, b[0])
	}
	if crc32.Checksum(body, castagnoli()) != sum {
		return Metadata{}, fmt.Errorf("%w: checksum", ErrCorrupt)
	}
	r := reader{b: body[1:]}
	m := Metadata{ProtocolType: r.string(), Protocol: r.string(), Generation: int32(r.int(math.MaxInt32)),
		Leader: r.string(), SinceMs: r.int(math.MaxInt64)}
	for n := r.int(int64(len(r.b))); n > 0 && !r.bad; n-- {
		mm := MemberMetadata{ID: r.string(), InstanceID: r.string(), ClientID: r.string(), ClientHost: r.string(),
			SessionMs: r.int(math.MaxInt32), RebalanceMs: r.int(math.MaxInt32)}
		for k := r.int(int64(len(r.b))); k > 0 && !r.bad; k-- {
			mm.Protocols = append(mm.Protocols, Protocol{Name: r.string(), Metadata: []byte(r.string())})
		}
		mm.Assignment = []byte(r.string())
		m.Members = append(m.Members, mm)
	}
	if r.bad || len(r.b) != 0 {
		return Metadata{}, fmt.Errorf("%w: structure", ErrCorrupt)
	}
	return m, nil
}

// reader takes fields off b; after the first that does not fit it is bad and yields zeroes.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) int(most int64) int64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || v > uint64(most) {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return int64(v)
}

func (r *reader) string() string {
	n := r.int(int64(len(r.b)))
	if n > int64(len(r.b)) {
		r.bad, r.b = true, nil
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

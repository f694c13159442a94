package consumer

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/keyframelog/keyframe/broker/group/assign"
	"github.com/keyframelog/keyframe/broker/group/stored"
)

// MetadataVersion is the first byte of a consumer group's metadata. Version 1 is that of a classic group.
const MetadataVersion = 2

var (
	// ErrCorrupt is metadata that is not what was written.
	ErrCorrupt = stored.ErrCorrupt
	// ErrVersion is metadata of a version that this program does not know.
	ErrVersion = stored.ErrVersion
)

// Append encodes the group behind dst; see the package documentation for the bytes.
func (g *Group) Append(dst []byte) []byte {
	w := writer{b: append(dst, MetadataVersion)}
	w.int(int64(g.epoch))
	w.int(int64(g.assignmentEpoch))
	w.b = binary.BigEndian.AppendUint64(w.b, g.topicsSum)
	w.int(max(g.since.UnixMilli(), 0))
	w.int(int64(len(g.members)))
	for _, m := range g.members {
		for _, s := range []string{m.id, m.instanceID, m.rack, m.clientID, m.clientHost, m.pattern, m.assignor} {
			w.string(s)
		}
		w.int(m.rebalance.Milliseconds())
		w.int(int64(m.epoch) - int64(leftForNow))
		w.int(int64(m.previous) - int64(leftForNow))
		w.b = append(w.b, byte(m.state))
		w.int(int64(len(m.names)))
		for _, name := range m.names {
			w.string(name)
		}
		w.partitions(m.target, nil)
		w.partitions(m.assigned, m.since)
		w.partitions(m.revoking, m.since)
		if m.classic == nil {
			w.int(0)
			continue
		}
		w.int(int64(len(m.classic.protocols)))
		for _, p := range m.classic.protocols {
			w.string(p.Name)
			w.string(string(p.Metadata))
		}
		w.int(m.classic.session.Milliseconds())
	}
	return stored.AppendSum(w.b, len(dst))
}

type writer struct{ b []byte }

func (w *writer) int(n int64)     { w.b = stored.AppendInt(w.b, n) }
func (w *writer) string(s string) { w.b = stored.AppendString(w.b, s) }

// partitions writes a set; with since, the epoch behind each partition.
func (w *writer) partitions(p assign.Partitions, since map[topicPartition]int32) {
	w.int(int64(len(p)))
	for _, topic := range p.Topics() {
		w.b = append(w.b, topic[:]...)
		w.int(int64(len(p[topic])))
		last := int32(0)
		for _, n := range p[topic] {
			w.int(int64(n - last))
			if last = n; since != nil {
				w.int(int64(since[topicPartition{topic, n}]))
			}
		}
	}
}

// Restore is the group as it was saved. The sessions of its members, and what they are late with, begin anew.
func Restore(now time.Time, opts Options, b []byte) (*Group, error) {
	fields, err := stored.Open(b, MetadataVersion)
	if err != nil {
		return nil, err
	}
	r := &reader{fields}
	g := New(now, opts)
	g.epoch, g.assignmentEpoch = int32(r.Int(math.MaxInt32)), int32(r.Int(math.MaxInt32))
	if sum := r.Take(8); !r.Bad() {
		g.topicsSum = binary.BigEndian.Uint64(sum)
	}
	since := time.UnixMilli(r.Int(math.MaxInt64))
	for n := r.Count(); n > 0 && !r.Bad(); n-- {
		m := r.member()
		if r.Bad() || g.byID[m.id] != nil || m.instanceID != "" && g.static[m.instanceID] != nil {
			return nil, fmt.Errorf("%w: members", ErrCorrupt)
		}
		for tp := range m.since {
			if g.owners[tp] != nil {
				return nil, fmt.Errorf("%w: a partition with two owners", ErrCorrupt)
			}
			g.owners[tp] = m
		}
		m.regex = g.opts.Patterns.get(m.pattern)
		g.add(now, m)
		g.restart(now, m)
	}
	if err := r.Close(); err != nil {
		return nil, err
	}
	g.since = since
	g.fx = Effects{}
	return g, nil
}

// restart begins the timers of a member that was restored.
func (g *Group) restart(now time.Time, m *member) {
	session := g.opts.SessionTimeout
	if m.classic != nil {
		session = m.classic.session
	}
	m.expires = now.Add(session)
	if m.state == Unrevoked && m.classic == nil {
		m.revokeBy = now.Add(m.rebalance)
	}
}

// reader takes off what a group is made of.
type reader struct{ *stored.Reader }

func (r *reader) epoch() int32 { return int32(r.Int(math.MaxInt32) + int64(leftForNow)) }

func (r *reader) millis() time.Duration {
	return time.Duration(r.Int(math.MaxInt32)) * time.Millisecond
}

func (r *reader) member() *member {
	m := &member{since: map[topicPartition]int32{}}
	for _, s := range []*string{&m.id, &m.instanceID, &m.rack, &m.clientID, &m.clientHost, &m.pattern, &m.assignor} {
		*s = r.Text()
	}
	m.rebalance, m.epoch, m.previous = r.millis(), r.epoch(), r.epoch()
	if state := r.Take(1); !r.Bad() {
		m.state = MemberState(state[0])
		if m.state > Unreleased {
			r.Fail()
		}
	}
	for n := r.Count(); n > 0 && !r.Bad(); n-- {
		m.names = append(m.names, r.Text())
	}
	m.target = r.partitions(nil)
	m.assigned = r.partitions(m.since)
	m.revoking = r.partitions(m.since)
	for n := r.Count(); n > 0 && !r.Bad(); n-- {
		if m.classic == nil {
			m.classic = &classic{}
		}
		m.classic.protocols = append(m.classic.protocols, Protocol{Name: r.Text(), Metadata: []byte(r.Text())})
	}
	if m.classic != nil {
		m.classic.session = r.millis()
	}
	return m
}

func (r *reader) partitions(since map[topicPartition]int32) assign.Partitions {
	all := map[TopicID][]int32{}
	for n := r.Count(); n > 0 && !r.Bad(); n-- {
		var topic TopicID
		copy(topic[:], r.Take(len(topic)))
		last := int64(0)
		for k := r.Count(); k > 0 && !r.Bad(); k-- {
			last += r.Int(math.MaxInt32)
			if last > math.MaxInt32 {
				r.Fail()
				return nil
			}
			all[topic] = append(all[topic], int32(last))
			if since != nil {
				since[topicPartition{topic, int32(last)}] = int32(r.Int(math.MaxInt32))
			}
		}
	}
	return assign.Of(all)
}

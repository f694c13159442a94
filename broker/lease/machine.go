package lease

import (
	"errors"
	"math"
	"slices"
	"time"

	"github.com/keyframelog/keyframe/broker/deadline"
)

var (
	// ErrExpired: there is no such lease: it expired, was released, another took its place, or it was never granted.
	ErrExpired = errors.New("the lease has ended")
	// ErrRevoked: what it held was needed.
	ErrRevoked = errors.New("the lease was revoked")
	// ErrTopicDeleted: the topic was deleted meanwhile.
	ErrTopicDeleted = errors.New("the lease's topic was deleted")
	// ErrTooMany: as many leases are out as may be.
	ErrTooMany = errors.New("too many leases")
)

// ID of a lease: random bytes.
type ID = [16]byte

// Terms are what a lease is granted for.
type Terms struct {
	Topic       string
	TopicID     [16]byte
	Partition   int32
	Incarnation [16]byte
	Replica     string
	Instance    [16]byte // of the process; zeros: not known
	Cut         int64    // of the frame
	Since       int64    // tombstones from here on; -1: none
	From        int64    // raw deltas from here on
}

// Lease is one that was granted.
type Lease struct {
	ID ID
	Terms
	Position int64 // everything below is applied; -1: nothing is
	ExpiryMs int64 // Unix milliseconds
}

// holdsFrame says whether the frame is needed still: by who loads it, or repairs at its cut.
func (l *Lease) holdsFrame() bool { return l.Position <= l.Cut }

// holdsSince says whether tombstones are needed still.
func (l *Lease) holdsSince() bool { return l.Since >= 0 && l.Position < l.Cut }

// end is why a lease ended.
type end uint8

const (
	expired end = iota
	released
	replaced
	revoked
	topicDeleted
	ends
)

var endNames = [ends]string{"expired", "released", "replaced", "revoked", "topic_deleted"}

func (e end) err() error {
	switch e {
	case revoked:
		return ErrRevoked
	case topicDeleted:
		return ErrTopicDeleted
	}
	return ErrExpired
}

// processesMax bounds the leases of one name in a partition: those of processes that go by it, and of one that was killed and starts again and again.
const processesMax = 8

// endedMax bounds how many ends are remembered.
const endedMax = 1 << 14

type partitionKey struct {
	topic     [16]byte
	partition int32
}

type replicaKey struct {
	partitionKey
	replica string
}

// held is a lease in the machine.
type held struct {
	Lease
	place deadline.Place[*held]
}

func (l *held) partition() partitionKey { return partitionKey{l.TopicID, l.Terms.Partition} }
func (l *held) replica() replicaKey     { return replicaKey{l.partition(), l.Replica} }

// machine is all leases. It has no lock: its owner has.
type machine struct {
	durationMs int64
	max        int // of leases

	nowMs      int64 // never goes back
	leases     map[ID]*held
	replicas   map[replicaKey][]*held // in the order in which they were granted
	partitions map[partitionKey]map[ID]*held
	timers     deadline.Heap[*held]

	ended  map[ID]end
	order  []ID // of ended, oldest first
	gone   []ID // to be removed from the store
	counts [ends]uint64
}

func newMachine(duration time.Duration, limit int) *machine {
	return &machine{
		durationMs: duration.Milliseconds(), max: limit, nowMs: math.MinInt64,
		leases: map[ID]*held{}, replicas: map[replicaKey][]*held{}, partitions: map[partitionKey]map[ID]*held{}, ended: map[ID]end{},
	}
}

// advance ends what has expired.
func (m *machine) advance(nowMs int64) {
	m.nowMs = max(m.nowMs, nowMs)
	for l, at, ok := m.timers.First(); ok && at.UnixMilli() <= m.nowMs; l, at, ok = m.timers.First() {
		m.end(l, expired)
	}
}

// former is the lease whose place one of these terms takes: the process's own, or where there is no room the latest of its name; nil: of none.
func (m *machine) former(terms Terms) *held {
	of := m.replicas[(&held{Lease: Lease{Terms: terms}}).replica()]
	for _, l := range of {
		if l.Instance == terms.Instance {
			return l
		}
	}
	if len(of) > 0 && (len(of) >= processesMax || len(m.leases) >= m.max) {
		return of[len(of)-1]
	}
	return nil
}

// grant adds a lease in the place of the process's former one. ErrTooMany.
func (m *machine) grant(id ID, terms Terms) (Lease, error) {
	former := m.former(terms)
	if former == nil && len(m.leases) >= m.max {
		return Lease{}, ErrTooMany
	}
	if former != nil {
		m.end(former, replaced)
	}
	return m.add(Lease{ID: id, Terms: terms, Position: -1}).Lease, nil
}

// add takes up a lease, with its full time.
func (m *machine) add(lease Lease) *held {
	l := &held{Lease: lease}
	l.place.Of = l
	m.leases[l.ID] = l
	m.replicas[l.replica()] = append(m.replicas[l.replica()], l)
	of := m.partitions[l.partition()]
	if of == nil {
		of = map[ID]*held{}
		m.partitions[l.partition()] = of
	}
	of[l.ID] = l
	m.prolong(l)
	return l
}

func (m *machine) prolong(l *held) {
	l.ExpiryMs = m.nowMs + m.durationMs
	m.timers.Set(&l.place, time.UnixMilli(l.ExpiryMs))
}

// find returns a lease, or why it is not there any more.
func (m *machine) find(id ID) (*held, error) {
	if l := m.leases[id]; l != nil {
		return l, nil
	}
	return nil, m.ended[id].err() // of one that is not known: expired
}

// renew gives a lease its full time again, and notes the position.
func (m *machine) renew(id ID, position int64) (Lease, error) {
	l, err := m.find(id)
	if err != nil {
		return Lease{}, err
	}
	l.Position = max(l.Position, position)
	l.From = max(l.From, position)
	m.prolong(l)
	return l.Lease, nil
}

// stop ends a lease, if it is there.
func (m *machine) stop(id ID, why end) error {
	l, err := m.find(id)
	if err == nil {
		m.end(l, why)
	}
	return err
}

func (m *machine) dropTopic(topic [16]byte) {
	for _, l := range m.ofTopic(topic) {
		m.end(l, topicDeleted)
	}
}

// lose ends those leases of a partition that hold a frame, and returns them.
func (m *machine) lose(key partitionKey) (lost []Lease) {
	for _, l := range m.partitions[key] {
		if l.holdsFrame() {
			lost = append(lost, l.Lease)
			m.end(l, revoked)
		}
	}
	return lost
}

func (m *machine) ofTopic(topic [16]byte) (list []*held) {
	for key, of := range m.partitions {
		if key.topic == topic {
			for _, l := range of {
				list = append(list, l)
			}
		}
	}
	return list
}

func (m *machine) end(l *held, why end) {
	delete(m.leases, l.ID)
	if of := slices.DeleteFunc(m.replicas[l.replica()], func(o *held) bool { return o == l }); len(of) > 0 {
		m.replicas[l.replica()] = of
	} else {
		delete(m.replicas, l.replica())
	}
	of := m.partitions[l.partition()]
	if delete(of, l.ID); len(of) == 0 {
		delete(m.partitions, l.partition())
	}
	m.timers.Remove(&l.place)
	m.gone = append(m.gone, l.ID)
	m.counts[why]++
	if why != revoked && why != topicDeleted { // what is not known counts as expired
		return
	}
	if len(m.order) == endedMax {
		delete(m.ended, m.order[0])
		m.order = m.order[1:]
	}
	m.ended[l.ID] = why
	m.order = append(m.order, l.ID)
}

// hold is what is held of a partition. math.MaxInt64 stands for nothing.
func (m *machine) hold(key partitionKey) (from, since int64, cuts []int64) {
	from, since = math.MaxInt64, math.MaxInt64
	for _, l := range m.partitions[key] {
		from = min(from, l.From)
		if l.holdsSince() {
			since = min(since, l.Since)
		}
		if l.holdsFrame() {
			cuts = append(cuts, l.Cut)
		}
	}
	slices.Sort(cuts)
	return from, since, slices.Compact(cuts)
}

// lowest returns the leases of a partition that hold the most: all that have the lowest From.
func (m *machine) lowest(key partitionKey) (list []Lease) {
	for _, l := range m.partitions[key] {
		if len(list) > 0 && l.From < list[0].From {
			list = list[:0]
		}
		if len(list) == 0 || l.From == list[0].From {
			list = append(list, l.Lease)
		}
	}
	return list
}

// takeGone returns the leases that are to be removed from the store.
func (m *machine) takeGone() []ID {
	gone := m.gone
	m.gone = nil
	return gone
}

package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Listing is a group as ListGroups shows it.
type Listing struct {
	Group        string
	Type         string // ClassicType or ConsumerType
	ProtocolType string
	State        string
}

// The types of groups, as ListGroups names them.
const (
	ClassicType  = "classic"
	ConsumerType = "consumer"
)

// Description is a group as DescribeGroups shows it. Only a stable group shows its protocol and the members'
// metadata for it; the assignment is the last one that a member got.
type Description struct {
	State        State
	ProtocolType string
	Protocol     string
	Members      []MemberDescription
}

// MemberDescription is a member of a described group.
type MemberDescription struct {
	MemberID, InstanceID string
	ClientID, ClientHost string
	Metadata, Assignment []byte
}

// Describe is the group as it is now. The byte slices are shared and not to be changed.
func (g *Group) Describe() Description {
	d := Description{State: g.state, ProtocolType: g.protocolType}
	if g.state == Stable {
		d.Protocol = g.protocol
	}
	for _, m := range g.members {
		md := MemberDescription{MemberID: m.id, InstanceID: m.instanceID, ClientID: m.clientID, ClientHost: m.clientHost,
			Assignment: m.assignment}
		if g.state == Stable {
			md.Metadata = m.metadata(g.protocol)
		}
		d.Members = append(d.Members, md)
	}
	return d
}

// List is all groups, in no order.
func (c *Coordinator) List() []Listing {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]Listing, 0, len(c.entries))
	for name, e := range c.entries {
		if e.group != nil {
			l := e.group.listing()
			l.Group = name
			all = append(all, l)
		}
	}
	return all
}

// Describe is one classic group; false if there is none. known says that there is a group of the other kind.
func (c *Coordinator) Describe(name string) (d Description, ok, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.groupLocked(name)
	if e == nil {
		return d, false, false
	}
	if g := e.classic(); g != nil {
		return g.Describe(), true, true
	}
	return d, false, true
}

// Delete removes a group without members, and its offsets. done is called once: during Delete with GROUP_ID_NOT_FOUND or
// NON_EMPTY_GROUP, or with the outcome when that is durable.
func (c *Coordinator) Delete(name string, done func(*kerr.Error)) {
	c.mu.Lock()
	e := c.groupLocked(name)
	switch {
	case c.closed:
		c.mu.Unlock()
		done(kerr.CoordinatorNotAvailable)
		return
	case e == nil:
		c.mu.Unlock()
		done(kerr.GroupIDNotFound)
		return
	case !e.group.empty():
		c.mu.Unlock()
		done(kerr.NonEmptyGroup)
		return
	}
	c.removeLocked(e, c.cfg.Now(), func(err error) {
		if err != nil {
			done(kerr.CoordinatorNotAvailable)
			return
		}
		done(nil)
	})
	c.mu.Unlock()
}

// removeLocked makes the group unknown at once and removes it from the store. A group in the state Empty has nobody who
// waits.
func (c *Coordinator) removeLocked(e *entry, now time.Time, done func(error)) {
	e.group.kill(now, kerr.CoordinatorNotAvailable)
	c.timers.Remove(&e.timer)
	e.group = nil
	e.life++
	clear(e.offsets)
	clear(e.pending)
	c.enqueueLocked(e, write{remove: true, done: done})
}

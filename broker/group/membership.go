package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Join is a JoinGroup; r.NewMemberID is filled in here. done is called once, during Join or later.
func (c *Coordinator) Join(name string, r JoinRequest, done func(JoinReply)) {
	refuse := func(err *kerr.Error) {
		done(JoinReply{Err: err, MemberID: r.MemberID, Generation: -1})
	}
	if !validName(name) {
		refuse(kerr.InvalidGroupID)
		return
	}
	if r.SessionTimeout < c.cfg.MinSessionTimeout || r.SessionTimeout > c.cfg.MaxSessionTimeout {
		refuse(kerr.InvalidSessionTimeout)
		return
	}
	prefix := r.ClientID
	if r.InstanceID != "" {
		prefix = r.InstanceID
	}
	id, err := c.memberID(prefix)
	if err != nil {
		c.cfg.Logger.Error("cannot name a group member", "group", name, "error", err)
		refuse(kerr.UnknownServerError)
		return
	}
	r.NewMemberID = id

	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		refuse(kerr.CoordinatorNotAvailable)
		return
	}
	now := c.cfg.Now()
	e := c.groupLocked(name)
	if e == nil {
		if r.MemberID != "" {
			c.mu.Unlock()
			refuse(kerr.UnknownMemberID)
			return
		}
		e = c.createLocked(name, now)
	}
	c.tickets++
	c.joins[c.tickets] = done
	var out outbox
	c.stepLocked(e, now, func() Effects { return e.group.Join(now, c.tickets, &r) }, &out)
	c.mu.Unlock()
	out.deliver()
}

// Sync is a SyncGroup. done is called once, during Sync or later.
func (c *Coordinator) Sync(name string, r SyncRequest, done func(SyncReply)) {
	if !validName(name) {
		done(SyncReply{Err: kerr.InvalidGroupID})
		return
	}
	c.mu.Lock()
	e, err := c.liveLocked(name)
	if err != nil {
		c.mu.Unlock()
		done(SyncReply{Err: err})
		return
	}
	now := c.cfg.Now()
	c.tickets++
	c.syncs[c.tickets] = done
	var out outbox
	c.stepLocked(e, now, func() Effects { return e.group.Sync(now, c.tickets, &r) }, &out)
	c.mu.Unlock()
	out.deliver()
}

// Heartbeat keeps a member's session.
func (c *Coordinator) Heartbeat(name string, ref MemberRef) *kerr.Error {
	if !validName(name) {
		return kerr.InvalidGroupID
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e, err := c.liveLocked(name)
	if err != nil {
		return err
	}
	err = e.group.Heartbeat(c.cfg.Now(), ref)
	c.timers.set(e) // a session that ends later needs no wake-up
	return err
}

// Leave removes members; the errors are per member, or one for all.
func (c *Coordinator) Leave(name string, refs []MemberRef) (errs []*kerr.Error, all *kerr.Error) {
	if !validName(name) {
		return nil, kerr.InvalidGroupID
	}
	c.mu.Lock()
	e, err := c.liveLocked(name)
	if err != nil {
		c.mu.Unlock()
		return nil, err
	}
	now := c.cfg.Now()
	var out outbox
	c.stepLocked(e, now, func() (fx Effects) {
		errs, fx = e.group.Leave(now, refs)
		return fx
	}, &out)
	c.mu.Unlock()
	out.deliver()
	return errs, nil
}

// validName says whether a group with members can have this name.
func validName(name string) bool { return name != "" && storable(name) }

// liveLocked finds the group of a request by one of its members.
func (c *Coordinator) liveLocked(name string) (*entry, *kerr.Error) {
	if c.closed {
		return nil, kerr.CoordinatorNotAvailable
	}
	if e := c.groupLocked(name); e != nil {
		return e, nil
	}
	return nil, kerr.UnknownMemberID
}

// stepLocked lets a group do a step and carries out its effects.
func (c *Coordinator) stepLocked(e *entry, now time.Time, step func() Effects, out *outbox) {
	before, generation := e.group.state, e.group.generation
	c.settleLocked(e, now, step(), out)
	if after := e.group.state; after != before || e.group.generation != generation {
		c.cfg.Logger.Debug("group changed", "group", e.name, "from", before, "to", after,
			"generation", e.group.generation, "members", len(e.group.members))
	}
	if e.group.generation != generation {
		c.metrics.rebalances.Inc()
	}
}

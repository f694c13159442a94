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
	var out outbox
	if e != nil && e.consumer() != nil {
		if g := e.consumer(); !g.empty() {
			c.joinConsumerLocked(e, g, now, &r, &out, done)
			c.mu.Unlock()
			out.deliver()
			return
		}
		e.group = New(now, c.options()) // an empty group is of no kind
	}
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
	c.stepLocked(e, e.classic(), now, func(g *Group) Effects { return g.Join(now, c.tickets, &r) }, &out)
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
	var out outbox
	if g := e.consumer(); g != nil {
		c.syncConsumerLocked(e, g, now, &r, &out, done)
	} else {
		c.tickets++
		c.syncs[c.tickets] = done
		c.stepLocked(e, e.classic(), now, func(g *Group) Effects { return g.Sync(now, c.tickets, &r) }, &out)
	}
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
	now := c.cfg.Now()
	if g := e.consumer(); g != nil {
		err, fx := g.ClassicHeartbeat(now, ref.MemberID, ref.InstanceID, ref.Generation)
		c.answerLocked(e, g, now, fx, false, &outbox{}, func(error) {}) // the answer promises nothing
		return err
	}
	err = e.classic().Heartbeat(now, ref)
	c.setTimerLocked(e) // a session that ends later needs no wake-up
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
	if g := e.consumer(); g != nil {
		errs = c.leaveConsumerLocked(e, g, now, refs, &out)
	} else {
		c.stepLocked(e, e.classic(), now, func(g *Group) (fx Effects) {
			errs, fx = g.Leave(now, refs)
			return fx
		}, &out)
	}
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

// stepLocked lets a classic group do a step and carries out its effects.
func (c *Coordinator) stepLocked(e *entry, g *Group, now time.Time, step func(*Group) Effects, out *outbox) {
	before, generation := g.state, g.generation
	c.settleLocked(e, g, now, step(g), out)
	if after := g.state; after != before || g.generation != generation {
		c.cfg.Logger.Debug("group changed", "group", e.name, "from", before, "to", after,
			"generation", g.generation, "members", len(g.members))
	}
	if g.generation != generation {
		c.metrics.rebalances.Inc()
	}
}

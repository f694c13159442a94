package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Join is a JoinGroup. Its answer may be in the effects of this step or of a later one.
func (g *Group) Join(now time.Time, t Ticket, r *JoinRequest) Effects {
	refuse := func(err *kerr.Error, id string) {
		g.fx.Joins = append(g.fx.Joins, JoinReply{Ticket: t, Err: err, MemberID: id, Generation: -1})
	}
	switch {
	case g.state == Dead:
		refuse(kerr.CoordinatorNotAvailable, r.MemberID)
	case !g.accepts(r):
		g.remove(r.MemberID)
		refuse(kerr.GroupMaxSizeReached, "")
	case !g.supportsProtocols(r):
		refuse(kerr.InconsistentGroupProtocol, r.MemberID)
	case r.MemberID == "":
		g.joinNew(now, t, r)
	case r.InstanceID == "" && !g.pending[r.MemberID].IsZero():
		g.joinMember(now, t, r, r.MemberID)
	default:
		if err := g.check(MemberRef{MemberID: r.MemberID, InstanceID: r.InstanceID}); err != nil {
			refuse(err, r.MemberID)
			break
		}
		g.rejoin(now, t, r, g.byID[r.MemberID])
	}
	return g.take()
}

// accepts keeps the group within its size. While it prepares a rebalance only those count that have joined again, since
// the others may be gone.
func (g *Group) accepts(r *JoinRequest) bool {
	m := g.byID[r.MemberID]
	switch g.state {
	case PreparingRebalance:
		joined := 0
		for _, o := range g.members {
			if o.join != 0 {
				joined++
			}
		}
		return m != nil && m.join != 0 || joined < g.opts.MaxSize
	case CompletingRebalance, Stable:
		return m != nil || len(g.members) < g.opts.MaxSize
	default:
		return true
	}
}

// joinNew is a join by a member that has no id.
func (g *Group) joinNew(now time.Time, t Ticket, r *JoinRequest) {
	if r.InstanceID != "" {
		if old, ok := g.static[r.InstanceID]; ok {
			g.replaceStatic(now, t, r, g.byID[old])
			return
		}
		g.joinMember(now, t, r, r.NewMemberID)
		return
	}
	if !r.RequireMemberID {
		g.joinMember(now, t, r, r.NewMemberID)
		return
	}
	if len(g.pending) >= maxPending {
		g.fx.Joins = append(g.fx.Joins, JoinReply{Ticket: t, Err: kerr.GroupMaxSizeReached, Generation: -1})
		return
	}
	g.pending[r.NewMemberID] = now.Add(r.SessionTimeout)
	g.fx.Joins = append(g.fx.Joins,
		JoinReply{Ticket: t, Err: kerr.MemberIDRequired, MemberID: r.NewMemberID, Generation: -1})
}

// joinMember adds a member to the group and so starts a rebalance.
func (g *Group) joinMember(now time.Time, t Ticket, r *JoinRequest, id string) {
	m := &member{id: id, instanceID: r.InstanceID, join: t, isNew: true, expires: now.Add(newMemberJoinTimeout)}
	m.update(r)
	if len(g.members) == 0 {
		g.protocolType = r.ProtocolType
	}
	if g.state == PreparingRebalance && g.previous == Empty {
		g.memberAdded = true
	}
	g.add(m)
	g.rebalanceOrComplete(now)
}

// rejoin is a JoinGroup of a known member: a rebalance goes on or begins, or, if nothing changed for this member, it is
// told the current generation again.
func (g *Group) rejoin(now time.Time, t Ticket, r *JoinRequest, m *member) {
	switch g.state {
	case CompletingRebalance:
		// It may have missed the answer to its JoinGroup.
		if m.matches(r.Protocols) {
			g.fx.Joins = append(g.fx.Joins, g.joined(m, t))
			return
		}
	case Stable:
		// A leader that joins wants a rebalance, for what only it can see.
		if m.id != g.leader && m.matches(r.Protocols) {
			g.fx.Joins = append(g.fx.Joins, g.joined(m, t))
			return
		}
	case Empty:
		g.fx.Joins = append(g.fx.Joins,
			JoinReply{Ticket: t, Err: kerr.UnknownMemberID, MemberID: m.id, Generation: -1})
		return
	}
	g.park(m, t)
	m.update(r)
	g.rebalanceOrComplete(now)
}

// park makes t the JoinGroup that the member waits for. An earlier one is of a connection that was given up.
func (g *Group) park(m *member, t Ticket) {
	g.answerJoin(m, JoinReply{Err: kerr.RebalanceInProgress, MemberID: m.id, Generation: -1})
	m.join = t
}

// joined is a successful answer to a join of the current generation.
func (g *Group) joined(m *member, t Ticket) JoinReply {
	m.former = 0
	r := JoinReply{
		Ticket: t, MemberID: m.id, Generation: g.generation,
		ProtocolType: g.protocolType, Protocol: g.protocol, Leader: g.leader,
	}
	if m.id == g.leader {
		r.Members = g.joinMembers()
	}
	return r
}

func (g *Group) joinMembers() []JoinMember {
	all := make([]JoinMember, len(g.members))
	for i, m := range g.members {
		all[i] = JoinMember{MemberID: m.id, InstanceID: m.instanceID, Metadata: m.metadata(g.protocol)}
	}
	return all
}

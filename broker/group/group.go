package group

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

const (
	// newMemberJoinTimeout bounds how long a member that does not know its id yet may wait for its first rebalance.
	newMemberJoinTimeout = 5 * time.Minute
	// maxPending bounds the ids that were handed out (KIP-394) and not used yet.
	maxPending = 10_000
	// consumerType is the protocol type of consumers: the one whose metadata a group can read.
	consumerType = "consumer"
)

// Options are the limits of a group.
type Options struct {
	// InitialRebalanceDelay is how long the first rebalance of an empty group waits for more members after each join.
	InitialRebalanceDelay time.Duration
	// MaxSize is the largest number of members.
	MaxSize int
}

// Group is one classic consumer group as a state machine: every method is a step that takes the time and an event and
// returns what is to be done. It has no goroutine, lock or clock, and iterates over members in the order in which they
// joined, so that equal steps have equal effects. After each step the owner arranges that Tick is called at Deadline.
type Group struct {
	opts Options

	state      State
	previous   State
	stateSince time.Time

	generation   int32
	protocolType string // "" until a member joined: the group only stores offsets
	protocol     string // "" unless a generation with members exists
	leader       string // member id
	members      []*member
	byID         map[string]*member
	static       map[string]string    // instance id to member id
	pending      map[string]time.Time // ids handed out and not joined yet, with their expiry
	// subscribed are the topics of a consumer group's members; nil when they are not known.
	subscribed map[string]struct{}

	// The first rebalance of an empty group is complete at joinAt, unless members were added and time remains.
	initial          bool
	initialDelay     time.Duration
	initialRemaining time.Duration
	memberAdded      bool

	joinAt time.Time // the join phase is completed with who is here; zero: no such timer
	syncAt time.Time // members that did not send SyncGroup are removed; zero: no such timer

	saveSeq     uint64
	assignSeq   uint64            // the save that makes the assignment of this generation durable, 0 without one
	assigning   map[string][]byte // that assignment
	staticSaves []staticSave

	fx Effects
}

// staticSave is a join by a known static member that is answered when its new member id is durable.
type staticSave struct {
	seq   uint64
	reply JoinReply
}

// New is an empty group.
func New(now time.Time, opts Options) *Group {
	return &Group{
		opts: opts, state: Empty, previous: Dead, stateSince: now,
		byID: map[string]*member{}, static: map[string]string{}, pending: map[string]time.Time{},
	}
}

// State is the group's state.
func (g *Group) State() State { return g.state }

// ProtocolType is what the group is used for, "consumer" or "connect" for example; "" if only offsets were stored.
func (g *Group) ProtocolType() string { return g.protocolType }

// take ends a step.
func (g *Group) take() Effects {
	fx := g.fx
	g.fx = Effects{}
	return fx
}

func (g *Group) transition(now time.Time, to State) {
	g.previous, g.state, g.stateSince = g.state, to, now
}

// add makes a joined member part of the group.
func (g *Group) add(m *member) {
	if len(g.members) == 0 {
		g.leader = m.id
	}
	g.members = append(g.members, m)
	g.byID[m.id] = m
	if m.instanceID != "" {
		g.static[m.instanceID] = m.id
	}
	delete(g.pending, m.id)
}

// remove takes a member out of the group and answers what it waits for, so that a client that is still there joins
// again. It also forgets a pending id.
func (g *Group) remove(id string) {
	delete(g.pending, id)
	m := g.byID[id]
	if m == nil {
		return
	}
	g.answerJoin(m, JoinReply{Err: kerr.UnknownMemberID, Generation: -1})
	g.answerSync(m, SyncReply{Err: kerr.UnknownMemberID})
	delete(g.byID, id)
	g.members = slices.DeleteFunc(g.members, func(o *member) bool { return o == m })
	if m.instanceID != "" {
		delete(g.static, m.instanceID)
	}
	if g.leader == id {
		g.leader = ""
		if len(g.members) > 0 {
			g.leader = g.members[0].id
		}
	}
	g.settleSyncTimer()
}

// answerJoin delivers the answer to the member's waiting JoinGroup, if there is one.
func (g *Group) answerJoin(m *member, r JoinReply) {
	if m.join == 0 {
		return
	}
	r.Ticket, m.join = m.join, 0
	g.fx.Joins = append(g.fx.Joins, r)
}

// answerSync delivers the answer to the member's waiting SyncGroup and says whether there was one.
func (g *Group) answerSync(m *member, r SyncReply) bool {
	if m.sync == 0 {
		return false
	}
	r.Ticket, m.sync = m.sync, 0
	g.fx.Syncs = append(g.fx.Syncs, r)
	return true
}

// check is the test that every request of a member has to pass.
func (g *Group) check(ref MemberRef) *kerr.Error {
	if ref.InstanceID != "" {
		id, ok := g.static[ref.InstanceID]
		switch {
		case !ok:
			return kerr.UnknownMemberID
		case id != ref.MemberID:
			return kerr.FencedInstanceID
		}
	}
	if g.byID[ref.MemberID] == nil {
		return kerr.UnknownMemberID
	}
	return nil
}

// renew starts the member's session anew.
func (g *Group) renew(now time.Time, m *member) { m.expires = now.Add(m.session) }

// rebalanceTimeout is how long the slowest member may take to join.
func (g *Group) rebalanceTimeout() (longest time.Duration) {
	for _, m := range g.members {
		longest = max(longest, m.rebalance)
	}
	return longest
}

// save asks for the group's present metadata to be made durable.
func (g *Group) save(assigning map[string][]byte) uint64 {
	g.saveSeq++
	g.fx.Save = &Save{Seq: g.saveSeq, Metadata: g.metadata(assigning), of: g}
	return g.saveSeq
}

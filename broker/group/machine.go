package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/keyframelog/keyframe/broker/group/consumer"
)

// machine is a group of either kind: *Group is a classic one, *modern one that the broker balances (KIP-848). What is the same for
// both, offsets, timers and administration, goes through it; requests of members are for one kind, and turn one into the other.
type machine interface {
	Deadline() (at time.Time, ok bool)
	// RetainedFrom, Reads, Idle: see the classic Group.
	RetainedFrom(topic string, committed time.Time) (time.Time, bool)
	Reads(topic string) bool
	Idle() bool
	// Commit judges the sender of an offset commit; stale, if it is not nil, then judges each partition. txn: of a TxnOffsetCommit.
	Commit(now time.Time, ref MemberRef) *kerr.Error
	stale(ref MemberRef, txn bool) func(topic string, partition int32) *kerr.Error
	// CommitInTxn judges the sender of a TxnOffsetCommit.
	CommitInTxn(now time.Time, ref MemberRef) *kerr.Error

	empty() bool
	size() int
	listing() Listing
	kill(now time.Time, err *kerr.Error) Effects
}

func (g *Group) empty() bool { return g.state == Empty }

func (g *Group) size() int { return len(g.members) }

func (g *Group) listing() Listing {
	return Listing{Type: ClassicType, ProtocolType: g.protocolType, State: g.state.String()}
}

func (g *Group) kill(now time.Time, err *kerr.Error) Effects { return g.Kill(now, err) }

func (g *Group) stale(MemberRef, bool) func(string, int32) *kerr.Error { return nil }

// modern is a consumer group in the hands of the coordinator.
type modern struct {
	*consumer.Group
	// unsaved: it could not be made durable, and the next step has to.
	unsaved bool
}

func (m *modern) empty() bool { return m.Size() == 0 }

func (m *modern) size() int { return m.Size() }

// Idle says that nobody needs the group: there are no members.
func (m *modern) Idle() bool { return m.empty() }

func (m *modern) listing() Listing {
	return Listing{Type: ConsumerType, ProtocolType: consumer.ProtocolType, State: string(m.State())}
}

func (m *modern) kill(time.Time, *kerr.Error) Effects {
	m.Kill()
	return Effects{}
}

func (m *modern) Commit(_ time.Time, ref MemberRef) *kerr.Error {
	_, err := m.Check(commitOf(ref))
	return err
}

func (m *modern) CommitInTxn(_ time.Time, ref MemberRef) *kerr.Error {
	c := commitOf(ref)
	c.Transactional = true
	_, err := m.Check(c)
	return err
}

func (m *modern) stale(ref MemberRef, txn bool) func(string, int32) *kerr.Error {
	c := commitOf(ref)
	c.Transactional = txn
	stale, _ := m.Check(c)
	return stale
}

func commitOf(ref MemberRef) consumer.Commit {
	return consumer.Commit{MemberID: ref.MemberID, Epoch: ref.Generation, Old: ref.NoEpochs}
}

// consumer is the entry's group if it is one of the new protocol; classic, if it is a classic one.
func (e *entry) consumer() *modern {
	m, _ := e.group.(*modern)
	return m
}

func (e *entry) classic() *Group {
	g, _ := e.group.(*Group)
	return g
}

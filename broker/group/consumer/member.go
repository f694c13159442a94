package consumer

import (
	"slices"
	"time"

	"github.com/keyframelog/keyframe/broker/group/assign"
)

// MemberState is how far a member is on its way to its target assignment.
type MemberState uint8

const (
	// MemberStable has what the target of its epoch says.
	MemberStable MemberState = iota
	// Unrevoked was told to give up partitions and has not said yet that it did.
	Unrevoked
	// Unreleased is at the group's epoch and waits for partitions that others have not given up yet.
	Unreleased
)

var memberStates = [...]string{"stable", "unrevoked", "unreleased"}

// String is for logs and tests.
func (s MemberState) String() string { return memberStates[s] }

// member is a member of a group.
type member struct {
	id, instanceID       string
	rack                 string
	clientID, clientHost string
	rebalance            time.Duration
	names                []string // sorted, without duplicates
	pattern              string   // "" without one
	regex                *Pattern // nil without one
	assignor             string   // "" leaves it to the others
	classic              *classic

	topics  []TopicID // what names and pattern stand for
	matches uint64    // those of regex that are among them

	// epoch is that of the assignment that the member has, or leftForNow. previous is what it had before: an answer that got
	// lost is asked for again with it.
	epoch, previous int32
	state           MemberState
	target          assign.Partitions
	assigned        assign.Partitions
	revoking        assign.Partitions
	since           map[topicPartition]int32 // the epoch at which it got each partition of assigned and revoking

	expires  time.Time // its session ends
	revokeBy time.Time // it must have given up revoking; zero while there is none
	joinBy   time.Time // a classic member that was told to join must have
	syncBy   time.Time // a classic member that has joined must have sent SyncGroup
}

type topicPartition struct {
	topic     TopicID
	partition int32
}

// classic is what only a member has that speaks the classic protocol.
type classic struct {
	session   time.Duration
	protocols []Protocol
}

// Protocol is one assignment protocol of a classic member, with its metadata.
type Protocol struct {
	Name     string
	Metadata []byte
}

// leftForNow is the epoch of a static member that left and will be back (-2). It keeps its partitions until its session ends.
const leftForNow int32 = -2

// setNames says whether that changed anything.
func (m *member) setNames(names []string) bool {
	names = slices.Clone(names)
	slices.Sort(names)
	names = slices.Compact(names)
	if slices.Equal(names, m.names) {
		return false
	}
	m.names = names
	return true
}

func (m *member) isStableAt(epoch int32) bool { return m.state == MemberStable && m.epoch == epoch }

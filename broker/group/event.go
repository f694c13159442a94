package group

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/keyframelog/keyframe/broker/group/consumer"
)

// Ticket names a request that waits for its answer. The caller draws tickets, never 0 and never one twice; a group
// returns each exactly once, in Effects.
type Ticket uint64

// Protocol is one assignment protocol that a member can follow, with the metadata that the leader needs for it. A group
// does not look into the metadata, except for the topics of the "consumer" protocol type.
type Protocol = consumer.Protocol

// JoinRequest is a JoinGroup as the group sees it.
type JoinRequest struct {
	MemberID   string // "" when the member has none yet
	InstanceID string // group.instance.id of a static member (KIP-345); "" is a dynamic member
	// NewMemberID is what a member without an id is going to be called, if the join is accepted.
	NewMemberID      string
	ClientID         string
	ClientHost       string // as Kafka writes it: "/127.0.0.1"
	ProtocolType     string
	Protocols        []Protocol // in the order of preference
	SessionTimeout   time.Duration
	RebalanceTimeout time.Duration
	// RequireMemberID hands a dynamic member its id and lets it ask again (KIP-394, JoinGroup v4).
	RequireMemberID bool
	// SkipsAssignment is a client that can be the leader without assigning again (KIP-814, JoinGroup v9).
	SkipsAssignment bool
}

// JoinReply answers a JoinRequest.
type JoinReply struct {
	Ticket         Ticket
	Err            *kerr.Error // nil is success
	MemberID       string
	Generation     int32 // -1 with most errors
	ProtocolType   string
	Protocol       string // the chosen one; "" with an error
	Leader         string
	SkipAssignment bool
	Members        []JoinMember // for the leader only
}

// JoinMember is a member as the leader sees it.
type JoinMember struct {
	MemberID   string
	InstanceID string
	Metadata   []byte // of the chosen protocol
}

// SyncRequest is a SyncGroup. ProtocolType and Protocol are compared with the group's if they are not "" (v5).
type SyncRequest struct {
	MemberID     string
	InstanceID   string
	Generation   int32
	ProtocolType string
	Protocol     string
	Assignments  []Assignment // by the leader
}

// Assignment is what the leader gives to one member.
type Assignment struct {
	MemberID   string
	Assignment []byte
}

// SyncReply answers a SyncRequest.
type SyncReply struct {
	Ticket       Ticket
	Err          *kerr.Error
	ProtocolType string
	Protocol     string
	Assignment   []byte
}

// MemberRef is how heartbeats, commits and leaves name their sender.
type MemberRef struct {
	MemberID   string
	InstanceID string
	Generation int32 // not looked at by Leave
	NoEpochs   bool  // of a commit: an OffsetCommit before v9, which members of the new protocol must not send
}

// Effects is what a step of a group asks its owner to do: deliver the replies, make the metadata durable.
type Effects struct {
	Joins []JoinReply
	Syncs []SyncReply
	// Save, if not nil, is to be made durable, after the earlier ones of this group; its outcome comes back through
	// Group.Saved.
	Save *Save
}

// Save is a version of the group's durable metadata.
type Save struct {
	Seq      uint64
	Metadata Metadata

	of *Group
}

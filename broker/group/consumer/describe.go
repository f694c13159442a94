package consumer

import (
	"github.com/keyframelog/keyframe/broker/group/assign"
)

// Description is a group as ConsumerGroupDescribe shows it.
type Description struct {
	State           State
	Epoch           int32
	AssignmentEpoch int32
	Assignor        string
	Members         []MemberDescription
}

// MemberDescription is a member of it.
type MemberDescription struct {
	MemberID, InstanceID, Rack string
	ClientID, ClientHost       string
	Epoch                      int32
	Names                      []string
	Pattern                    string
	Assigned, Target           assign.Partitions
	Classic                    bool
}

// Describe is the group as it is now. What it holds is shared and not to be changed.
func (g *Group) Describe() Description {
	d := Description{State: g.State(), Epoch: g.epoch, AssignmentEpoch: g.assignmentEpoch, Assignor: g.Assignor()}
	for _, m := range g.members {
		d.Members = append(d.Members, MemberDescription{
			MemberID: m.id, InstanceID: m.instanceID, Rack: m.rack, ClientID: m.clientID, ClientHost: m.clientHost, Epoch: m.epoch,
			Names: m.names, Pattern: m.pattern, Assigned: m.assigned, Target: m.target, Classic: m.classic != nil})
	}
	return d
}

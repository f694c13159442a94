package group

// State is where a group is in its cycle of rebalances.
type State uint8

const (
	// Empty has no members: a new group, one whose members all left, or one that only stores offsets.
	Empty State = iota
	// PreparingRebalance waits for the members to send JoinGroup.
	PreparingRebalance
	// CompletingRebalance has answered the joins and waits for the leader's assignment.
	CompletingRebalance
	// Stable has members with assignments.
	Stable
	// Dead is deleted or shut down; whoever still holds it is told to look again.
	Dead
)

var stateNames = [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead"}

// String is the name that DescribeGroups and ListGroups use.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "Unknown"
}

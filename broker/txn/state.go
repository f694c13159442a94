package txn

import (
	"github.com/keyframelog/keyframe/storage/catalog"
)

// State is where a transactional id is in the life of its transactions.
type State uint8

const (
	// Empty has a producer and has had no transaction since it got its epoch.
	Empty State = iota
	// Ongoing has partitions or groups.
	Ongoing
	// PrepareCommit waits until the batch that commits it is durable.
	PrepareCommit
	// PrepareAbort waits until the batch that aborts it is durable.
	PrepareAbort
	// CompleteCommit has no transaction; the last one was committed.
	CompleteCommit
	// CompleteAbort has none; the last one was aborted.
	CompleteAbort
	// Dead has expired; whoever still holds it looks again.
	Dead
)

var stateNames = [...]string{"Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "Dead"}

// String is the name that DescribeTransactions and ListTransactions use.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "Unknown"
}

// prepareEpochFence is a name that Kafka knows as well; no transactional id is ever seen in that state.
const prepareEpochFence = "PrepareEpochFence"

// StateNamed is the inverse of String; ok is false for a name that is none. Case counts, as in Kafka.
func StateNamed(name string) (s State, ok bool) {
	for i, n := range stateNames {
		if n == name {
			return State(i), true
		}
	}
	return 0, false
}

// durable is the state that a stored transaction has. What is being ended is still ongoing on disk.
func (s State) durable() catalog.TxnState {
	switch s {
	case Ongoing, PrepareCommit, PrepareAbort:
		return catalog.TxnOngoing
	case CompleteCommit:
		return catalog.TxnCommitted
	case CompleteAbort:
		return catalog.TxnAborted
	}
	return catalog.TxnEmpty
}

func stateOf(s catalog.TxnState) State {
	switch s {
	case catalog.TxnOngoing:
		return Ongoing
	case catalog.TxnCommitted:
		return CompleteCommit
	case catalog.TxnAborted:
		return CompleteAbort
	}
	return Empty
}

// ended says that there is no transaction, and that one can begin.
func (s State) ended() bool { return s == Empty || s == CompleteCommit || s == CompleteAbort }

// preparing says that a transaction is being ended.
func (s State) preparing() bool { return s == PrepareCommit || s == PrepareAbort }

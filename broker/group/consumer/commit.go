package consumer

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Commit is an offset commit as a group judges it.
type Commit struct {
	MemberID      string
	Epoch         int32 // -1: a client without a group
	Transactional bool
	Old           bool // an OffsetCommit before v9, which knows no member epochs
}

// Check says whether the commit is accepted. If stale is not nil, it was sent before the member's present epoch, and the partitions
// that stale says yes to are refused with STALE_MEMBER_EPOCH: the others were the member's at that epoch and still are (KIP-1251).
func (g *Group) Check(c Commit) (stale func(topic string, partition int32) bool, err *kerr.Error) {
	if g.dead {
		return nil, kerr.CoordinatorNotAvailable
	}
	if c.Epoch < 0 && len(g.members) == 0 {
		return nil, nil
	}
	m := g.byID[c.MemberID]
	switch {
	case m == nil:
		return nil, kerr.UnknownMemberID
	case m.classic == nil && c.Old && !c.Transactional:
		return nil, kerr.UnsupportedVersion
	case c.Epoch == m.epoch:
		return nil, nil
	case m.classic != nil:
		return nil, kerr.IllegalGeneration
	case c.Epoch < 0 || c.Epoch > m.epoch:
		return nil, kerr.StaleMemberEpoch
	}
	return func(topic string, partition int32) bool {
		t, ok := g.opts.Topics.ByName(topic)
		since, has := m.since[topicPartition{t.ID, partition}]
		return !ok || !has || since > c.Epoch
	}, nil
}

// CheckFetch says whether a member may read the group's offsets. Admin clients and simple consumers send neither id nor epoch.
func (g *Group) CheckFetch(memberID *string, epoch int32) *kerr.Error {
	if memberID == nil && epoch < 0 {
		return nil
	}
	if g.dead {
		return kerr.CoordinatorNotAvailable
	}
	id := ""
	if memberID != nil {
		id = *memberID
	}
	m := g.byID[id]
	switch {
	case m == nil:
		return kerr.UnknownMemberID
	case m.epoch == epoch:
		return nil
	case m.classic != nil:
		return kerr.IllegalGeneration
	}
	return kerr.StaleMemberEpoch
}

// RetainedFrom is the moment from which the retention of an offset counts (KIP-211): since the group became empty, or the commit;
// false while a member subscribes to the topic.
func (g *Group) RetainedFrom(topic string, committed time.Time) (time.Time, bool) {
	if len(g.members) == 0 && g.since.After(committed) {
		return g.since, true
	}
	return committed, !g.Reads(topic)
}

// Reads says whether a member subscribes to the topic.
func (g *Group) Reads(topic string) bool {
	for _, m := range g.members {
		if _, ok := slices.BinarySearch(m.names, topic); ok || m.regex != nil && m.regex.MatchString(topic) {
			return true
		}
	}
	return false
}

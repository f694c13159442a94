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

// Check says whether the commit is accepted. If stale is not nil, it was sent before the member's present epoch, and stale judges each
// partition: one that was the member's at that epoch and still is may be committed (KIP-1251).
func (g *Group) Check(c Commit) (stale func(topic string, partition int32) *kerr.Error, err *kerr.Error) {
	if g.dead {
		return nil, kerr.CoordinatorNotAvailable
	}
	if c.Epoch < 0 && (len(g.members) == 0 || c.Transactional && c.MemberID == "") {
		return nil, nil // an administrator; or a producer from before KIP-447, which nobody can fence here
	}
	m := g.byID[c.MemberID]
	switch {
	case m == nil:
		return nil, kerr.UnknownMemberID
	case m.classic == nil && c.Old && !c.Transactional:
		return nil, kerr.UnsupportedVersion
	case c.Epoch == m.epoch:
		return nil, nil
	case c.Epoch < 0 || c.Epoch > m.epoch:
		return nil, c.stale(m)
	}
	return func(topic string, partition int32) *kerr.Error {
		t, ok := g.opts.Topics.ByName(topic)
		if since, has := m.since[topicPartition{t.ID, partition}]; ok && has && since <= c.Epoch {
			return nil
		}
		return c.stale(m)
	}, nil
}

// stale is the error of a commit that is not of the member's epoch. Transactional producers know only that of classic groups.
func (c Commit) stale(m *member) *kerr.Error {
	if c.Transactional {
		return kerr.IllegalGeneration
	}
	return m.stale()
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
	}
	return m.stale()
}

// stale is the error of a request that is not of the member's epoch.
func (m *member) stale() *kerr.Error {
	if m.classic != nil {
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
		if _, ok := slices.BinarySearch(m.names, topic); ok || m.regex != nil && m.regex.re.MatchString(topic) {
			return true
		}
	}
	return false
}

package replicas

import (
	"log/slog"
	"slices"
	"time"

	api "github.com/keyframelog/keyframe/proto/state"
)

// processesMax bounds the processes of one name that are kept, and those that are remembered as replaced.
const processesMax = 8

// namesakes are the processes that report under one name; the package documentation has the rule that tells them from one that started again.
type namesakes struct {
	all []*replica // at least one; that which came last is the last
	// replaced are those whose place another has taken, until their next report is overdue. Whoever of them reports nevertheless is beside the other.
	replaced []former
	shared   time.Time // when there were several the last time
}

type former struct {
	instance string
	until    time.Time
}

// find returns the process that a report comes from; nil: it has no entry.
func (t *topic) find(m *api.ReportRequest) *replica {
	n := t.replicas[m.Replica]
	if n == nil {
		return nil
	}
	for _, rep := range n.all {
		if rep.instance == string(m.Instance) {
			return rep
		}
	}
	return nil
}

// enter gives a process without an entry that of the one it has replaced, or returns nil: it has replaced none.
func (n *namesakes) enter(instance string, now time.Time) *replica {
	n.replaced = slices.DeleteFunc(n.replaced, func(f former) bool { return now.After(f.until) })
	i := slices.IndexFunc(n.replaced, func(f former) bool { return f.instance == instance })
	if i >= 0 {
		n.replaced = slices.Delete(n.replaced, i, i+1)
		if len(n.all) < processesMax {
			return nil
		}
	}
	last := n.all[len(n.all)-1]
	if len(n.replaced) < processesMax { // of many that come at once the first are remembered, so that it shows when they report again
		n.replaced = append(n.replaced, former{last.instance, last.reported.Add(last.due)})
	}
	last.instance = instance
	return last
}

// endLocked forgets those of several processes that have ended: their reports are overdue, and another one's came later.
func (r *Registry) endLocked(n *namesakes, now time.Time) {
	latest := slices.MaxFunc(n.all, func(a, b *replica) int { return a.reported.Compare(b.reported) })
	for _, rep := range slices.Clone(n.all) {
		if rep != latest && rep.overdue(now) {
			r.removeLocked(rep)
		}
	}
}

// shareLocked notes how many processes a name has, and what is to be said of it.
func (r *Registry) shareLocked(t *topic, name string, now time.Time, news *news) {
	n := t.replicas[name]
	if n == nil {
		return
	}
	r.endLocked(n, now)
	if len(n.all) == 1 {
		return
	}
	if n.shared.IsZero() || now.Sub(n.shared) > r.cfg.ForgetAfter {
		news.sharing = &sharing{topic: t.Name, replica: name}
		for _, rep := range n.all {
			news.sharing.hosts = append(news.sharing.hosts, rep.host)
		}
	}
	n.shared = now
}

// sharing is a name that several processes have. It is logged when the lock is released.
type sharing struct {
	topic, replica string
	hosts          []string
}

func (s *sharing) log(l *slog.Logger) {
	l.Warn("several processes report as one replica: copies of one directory, or one name given twice. What they find counts once: give each a name of its own, and "+
		"a directory that it loaded itself", "topic", s.topic, "replica", s.replica, "hosts", s.hosts)
}

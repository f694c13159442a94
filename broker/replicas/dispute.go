package replicas

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	api "github.com/keyframelog/keyframe/proto/state"
)

const (
	claimsMax  = 4  // of one copy: the claim must survive the verdict that follows a repair
	partiesMax = 64 // of a dispute
)

// claim is a replica's word that it differs from the log, and in which run.
type claim struct {
	disagreement
	run run
}

// disagreement is where a copy differs from the log, and with which digest: what claims that agree have in common.
type disagreement struct {
	partition   int32
	incarnation [16]byte
	point       Point
}

// run is what changes when a replica's state is no longer its own work alone.
type run struct {
	host                string // and process, and its instance
	repairs, bootstraps int64
}

// dispute is a partition whose replicas agree with one another, and not with the log.
type dispute struct {
	incarnation [16]byte
	point       Point // of the latest cut
	sinceMs     int64
	parties     map[string]party
}

type party struct {
	at  int64
	run run
}

// alarm is a dispute that began or ended. It is logged when the lock is released.
type alarm struct {
	topic     string
	partition int32
	point     Point
	replicas  []string
	ended     string // by whom; empty: it began
	stands    bool   // it began before the broker did
}

// news is what a report, or an operator's word, changed about disputes.
type news struct {
	alarms  []alarm
	changed []int32 // partitions whose disputes have begun, ended or changed, or whose settlements have
	sharing *sharing
}

func (n *news) log(l *slog.Logger) {
	for _, a := range n.alarms {
		a.log(l)
	}
	if n.sharing != nil {
		n.sharing.log(l)
	}
}

func (a alarm) log(l *slog.Logger) {
	l = l.With("topic", a.topic, "partition", a.partition, "cut", a.point.Offset)
	if a.ended != "" {
		l.Warn("the partition is no longer disputed: repairs from it go on", "by", a.ended)
		return
	}
	began := "replicas"
	if a.stands {
		began = "as before the start, replicas"
	}
	l.Error(began+" agree with one another and not with this broker: nothing is repaired from this partition. Stop the broker and run `keyframe check`, "+
		"which folds the log again; if it finds no problem, the replicas are wrong: start the broker, and `keyframe replica settle` lets them be repaired",
		"replicas", a.replicas, "count", a.point.Digest.Count, "sum", fmt.Sprintf("%x", a.point.Digest.Sum.Bytes()))
}

// judgeLocked takes a verdict that was not judged before.
func (t *topic) judgeLocked(rep *replica, p *part, s *sighting, now time.Time, n *news) {
	no := s.said.Partition
	if d := t.disputes[no]; d != nil && s.incarnation != [16]byte{} && d.incarnation != s.incarnation {
		t.settleLocked(no, d, d.point.Offset, "the partition's log was created anew", n)
	}
	if !s.comparable {
		return
	}
	c := claim{disagreement{no, s.incarnation, s.point}, run{rep.process(), s.said.Repairs, s.said.Bootstraps}}
	switch s.said.Outcome {
	case api.Outcome_OUTCOME_EQUAL:
		if s.agrees == unknown || s.agrees == agrees {
			t.equalLocked(rep, p, c, no, n)
		}
	case api.Outcome_OUTCOME_DRIFTED:
		if s.agrees == unknown || s.agrees == differs {
			t.driftedLocked(rep, p, c, no, now, n)
		}
	}
}

// equalLocked ends the claims that the replica made in this run, by itself, and with them a dispute.
func (t *topic) equalLocked(rep *replica, p *part, c claim, no int32, n *news) {
	p.overruled = false
	t.acquitLocked(no, rep.name, n)
	rep.unclaim(p, func(o claim) bool { return o.run == c.run && o.point.Offset < c.point.Offset })
	d := t.disputes[no]
	if d == nil {
		return
	}
	if was, ok := d.parties[rep.name]; ok && was.run == c.run && was.at < c.point.Offset {
		t.settleLocked(no, d, c.point.Offset, "replica "+rep.name+", which is equal at "+fmt.Sprint(c.point.Offset), n)
	}
}

// driftedLocked keeps a claim, and looks who else has made the same.
func (t *topic) driftedLocked(rep *replica, p *part, c claim, no int32, now time.Time, n *news) {
	if s := t.settled[no]; s.incarnation == c.incarnation && c.point.Offset <= s.cut || p.overruled {
		return
	}
	rep.claim(p, c)
	agreed := map[string]party{rep.name: p.party(c)}
	for _, other := range t.claimants[c.disagreement] {
		if len(agreed) == partiesMax {
			break // whoever comes later is counted in when it comes
		}
		if o := other.partitions[no]; !o.overruled { // processes of one name are one voice
			agreed[other.name] = o.party(c)
		}
	}
	d := t.disputes[no]
	if d == nil && len(agreed) < 2 || d != nil && len(agreed) < 2 && (d.incarnation != c.incarnation || d.point != c.point) {
		return
	}
	if d == nil {
		d = &dispute{incarnation: c.incarnation, point: c.point, sinceMs: now.UnixMilli(), parties: map[string]party{}}
		t.disputes[no] = d
		n.alarms = append(n.alarms, alarm{topic: t.Name, partition: no, point: c.point, replicas: slices.Sorted(maps.Keys(agreed))})
	}
	if c.point.Offset > d.point.Offset {
		d.point = c.point
		n.changed = append(n.changed, no)
	}
	for name, x := range agreed {
		if was, ok := d.parties[name]; ok && x.at >= was.at && x != was || !ok && len(d.parties) < partiesMax {
			d.parties[name] = x
			n.changed = append(n.changed, no)
		}
	}
}

// claim keeps a claim of a replica about its copy of a partition, in place of the oldest of too many.
func (rep *replica) claim(p *part, c claim) {
	if p.claimed(c) >= 0 {
		return
	}
	if len(p.claims) == claimsMax {
		oldest := p.claims[0]
		rep.unclaim(p, func(o claim) bool { return o == oldest })
	}
	p.claims = append(p.claims, c)
	of := rep.topic.claimants
	of[c.disagreement] = append(of[c.disagreement], rep)
}

// unclaim forgets claims of a replica about its copy of a partition.
func (rep *replica) unclaim(p *part, gone func(claim) bool) {
	of := rep.topic.claimants
	p.claims = slices.DeleteFunc(p.claims, func(c claim) bool {
		if !gone(c) {
			return false
		}
		who := slices.DeleteFunc(of[c.disagreement], func(o *replica) bool { return o == rep })
		if of[c.disagreement] = who; len(who) == 0 {
			delete(of, c.disagreement)
		}
		return true
	})
}

// claimed is where among its claims a copy has the same as another; -1: nowhere.
func (p *part) claimed(c claim) int {
	return slices.IndexFunc(p.claims, func(o claim) bool { return o.disagreement == c.disagreement })
}

// party is who has made the same claim.
func (p *part) party(c claim) party { return party{c.point.Offset, p.claims[p.claimed(c)].run} }

// settleLocked ends a dispute; claims up to a cut count no more.
func (t *topic) settleLocked(no int32, d *dispute, cut int64, by string, n *news) {
	delete(t.disputes, no)
	n.changed = append(n.changed, no)
	s := t.settled[no]
	if s.incarnation != d.incarnation { // who was overruled had the rows of another log
		s.overruled = nil
	}
	s.incarnation, s.cut, s.times = d.incarnation, max(cut, d.point.Offset), s.times+1
	t.settled[no] = s
	for at, who := range t.claimants {
		if at.partition != no || at.point.Offset > t.settled[no].cut {
			continue
		}
		for _, rep := range who {
			p := rep.partitions[no]
			p.claims = slices.DeleteFunc(p.claims, func(c claim) bool { return c.disagreement == at })
		}
		delete(t.claimants, at)
	}
	n.alarms = append(n.alarms, alarm{topic: t.Name, partition: no, point: d.point, ended: by})
}

// Disputed says whether replicas of a partition agree with one another and not with the log: nothing may be repaired from it.
func (r *Registry) Disputed(topicID [16]byte, partition int32) bool {
	r.mu.Lock()
	t := r.topics[topicID]
	disputed := t != nil && t.disputes[partition] != nil
	r.mu.Unlock()
	if disputed {
		r.storedBeforeTold()
	}
	return disputed
}

// Standing is how a partition stands: whether it is disputed, and how many disputes have ended.
type Standing struct {
	Disputed bool
	Ended    int
}

// Standings are how the partitions of a topic stand; of those that are not among them nothing was ever disputed.
func (r *Registry) Standings(topicID [16]byte) map[int32]Standing {
	out, disputed := map[int32]Standing{}, false
	r.mu.Lock()
	if t := r.topics[topicID]; t != nil {
		for no, s := range t.settled {
			out[no] = Standing{Ended: s.times}
		}
		for no := range t.disputes {
			out[no] = Standing{true, t.settled[no].times}
			disputed = true
		}
	}
	r.mu.Unlock()
	if disputed {
		r.storedBeforeTold()
	}
	return out
}

// ClearDispute is an operator's word that the log is right: the partition is repaired from again, and its replicas must have been equal once
// before what they say against it counts again. It tells whether there was a dispute. The error is the store's: the dispute has ended, but is back
// when the broker starts again.
func (r *Registry) ClearDispute(topicID [16]byte, partition int32) (bool, error) {
	var n news
	cleared := r.clear(topicID, partition, &n)
	err := r.store()
	n.log(r.cfg.Logger)
	return cleared, err
}

func (r *Registry) clear(topicID [16]byte, partition int32, n *news) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.topics[topicID]
	if t == nil || t.disputes[partition] == nil {
		return false
	}
	d := t.disputes[partition]
	names := slices.Collect(maps.Keys(d.parties))
	for name, n := range t.replicas {
		for _, rep := range n.all {
			p := rep.partitions[partition]
			if p == nil {
				continue
			}
			_, party := d.parties[name]
			// Of more parties than a dispute lists, those who say the same.
			if party || slices.ContainsFunc(p.claims, func(c claim) bool { return c.point == d.point }) {
				p.overruled = true
				names = append(names, name)
			}
		}
	}
	t.settleLocked(partition, d, d.point.Offset, "an operator", n)
	t.overruleLocked(partition, names, r.cfg.Now())
	r.changedLocked(t, n)
	return true
}

// Disputes lists the disputes of a topic, or of all if the name is empty, by topic and partition.
func (r *Registry) Disputes(topicName string) []*api.Dispute {
	out := r.disputes(topicName)
	if len(out) > 0 {
		r.storedBeforeTold()
	}
	slices.SortFunc(out, func(a, b *api.Dispute) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return out
}

func (r *Registry) disputes(topicName string) (out []*api.Dispute) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.topics {
		if topicName != "" && t.Name != topicName {
			continue
		}
		for no, d := range t.disputes {
			sum := d.point.Digest.Sum.Bytes()
			out = append(out, &api.Dispute{
				Topic: t.Name, Partition: no, Replicas: slices.Sorted(maps.Keys(d.parties)), SinceMs: d.sinceMs,
				Point: &api.Point{Offset: d.point.Offset, Start: d.point.Start, Count: d.point.Digest.Count, Sum: sum[:]},
			})
		}
	}
	return out
}

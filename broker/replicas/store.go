package replicas

import (
	"maps"
	"slices"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/storage/catalog"
)

// Store keeps disputes, and how they ended, past the process. *catalog.Catalog is one.
type Store interface {
	// ChangeDisputes stores disputes and settlements and removes disputes, as one, durable when it returns.
	ChangeDisputes(put []catalog.Dispute, settled []catalog.Settlement, ended []catalog.DisputedPartition) error
	Disputes() ([]catalog.Dispute, error)
	Settlements() ([]catalog.Settlement, error)
}

// load takes up what is stored.
func (r *Registry) load() error {
	stored, err := r.cfg.Store.Disputes()
	if err != nil {
		return err
	}
	settled, err := r.cfg.Store.Settlements()
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range settled {
		s := &settled[i]
		r.topicLocked(Topic{s.TopicID, s.Topic}).settled[s.Partition] = settlementOf(s)
	}
	for i := range stored {
		s := &stored[i]
		t := r.topicLocked(Topic{s.TopicID, s.Topic})
		d := disputeOf(s)
		t.disputes[s.Partition] = d
		t.countsOf(s.Partition) // so that it is on /metrics before a replica reports
		alarm{topic: s.Topic, partition: s.Partition, point: d.point, replicas: slices.Sorted(maps.Keys(d.parties)), stands: true}.log(r.cfg.Logger)
	}
	return nil
}

func disputeOf(s *catalog.Dispute) *dispute {
	d := &dispute{
		incarnation: s.Incarnation, sinceMs: s.SinceMs, parties: make(map[string]party, len(s.Parties)),
		point: Point{s.Cut, s.Start, digest.Digest{Sum: digest.SumFromBytes(s.Sum), Count: s.Count}},
	}
	for _, p := range s.Parties {
		d.parties[p.Replica] = party{p.Cut, run{p.Host, p.Repairs, p.Bootstraps}}
	}
	return d
}

func (d *dispute) stored(at catalog.DisputedPartition, topic string) catalog.Dispute {
	s := catalog.Dispute{
		DisputedPartition: at, Topic: topic, Incarnation: d.incarnation, Cut: d.point.Offset, Start: d.point.Start, Count: d.point.Digest.Count,
		Sum: d.point.Digest.Sum.Bytes(), SinceMs: d.sinceMs,
	}
	for _, name := range slices.Sorted(maps.Keys(d.parties)) {
		p := d.parties[name]
		s.Parties = append(s.Parties, catalog.DisputeParty{Replica: name, Host: p.run.host, Cut: p.at, Repairs: p.run.repairs, Bootstraps: p.run.bootstraps})
	}
	return s
}

// changedLocked notes what is to be stored.
func (r *Registry) changedLocked(t *topic, n *news) {
	for _, no := range n.changed {
		r.unstored[catalog.DisputedPartition{TopicID: t.ID, Partition: no}] = true
	}
}

// store returns when all that changed before it was called is stored, by whomever: who comes while another writes waits, and then writes for all who
// waited. What cannot be stored the next call tries again. The lock is not held meanwhile: reports go on.
func (r *Registry) store() error {
	r.storing <- struct{}{}
	defer func() { <-r.storing }()
	taken := r.takeUnstored()
	if len(taken.of) == 0 {
		return nil
	}
	err := r.cfg.Store.ChangeDisputes(taken.put, taken.settled, taken.ended)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		for at := range taken.of {
			r.unstored[at] = true
		}
	}
	close(r.changed)
	r.changed = make(chan struct{})
	return err
}

// unstored is what is to be stored.
type unstored struct {
	of      map[catalog.DisputedPartition]bool
	put     []catalog.Dispute
	settled []catalog.Settlement
	ended   []catalog.DisputedPartition
}

func (r *Registry) takeUnstored() (u unstored) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.cfg.Now()
	u.of, r.unstored = r.unstored, map[catalog.DisputedPartition]bool{}
	for at := range u.of {
		t := r.topics[at.TopicID]
		if t == nil {
			u.ended = append(u.ended, at)
			continue
		}
		if d := t.disputes[at.Partition]; d != nil {
			u.put = append(u.put, d.stored(at, t.Name))
		} else {
			u.ended = append(u.ended, at)
		}
		if s, ok := t.settled[at.Partition]; ok {
			s.forget(now)
			u.settled = append(u.settled, s.stored(at, t.Name))
		}
	}
	return u
}

// storedBeforeTold is store for who is about to tell of a dispute, which stands whether it can be stored or not.
func (r *Registry) storedBeforeTold() {
	if err := r.store(); err != nil {
		r.cfg.Logger.Error("a dispute cannot be stored: it is lost when the broker stops", "error", err)
	}
}

// Changed is closed when a dispute has begun, changed or ended since the call, in any topic.
func (r *Registry) Changed() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.changed
}

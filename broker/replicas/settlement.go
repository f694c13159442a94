package replicas

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/keyframelog/keyframe/storage/catalog"
)

const (
	overruledMax = 256                 // of a partition, who was heard of last: a present one stays overruled whatever their number
	overruledFor = 30 * 24 * time.Hour // without a report
	heardEvery   = 24 * time.Hour      // so often a report of one is noted in the store
)

// settlement is up to where disputes are over: what is claimed there counts no more.
type settlement struct {
	incarnation [16]byte
	cut         int64
	times       int // how many there were since the broker was started
	// overruled are replicas of which an operator has said that they are wrong, by name, with when they were heard of, Unix milliseconds: until they are
	// equal once, also if they are not there, or not any more. Those that report are marked in their part as well.
	overruled map[string]int64
}

// overruleLocked notes what an operator has said, beside what was said before.
func (t *topic) overruleLocked(no int32, names []string, now time.Time) {
	s := t.settled[no]
	if s.overruled == nil {
		s.overruled = map[string]int64{}
	}
	for _, name := range names {
		s.overruled[name] = now.UnixMilli()
	}
	if len(s.overruled) > overruledMax {
		latest := slices.SortedFunc(maps.Keys(s.overruled), func(a, b string) int {
			return cmp.Or(cmp.Compare(s.overruled[b], s.overruled[a]), cmp.Compare(a, b))
		})
		for _, name := range latest[overruledMax:] {
			delete(s.overruled, name)
		}
	}
	t.settled[no] = s
}

// heardLocked notes that a replica reports, and returns whether it is overruled.
func (t *topic) heardLocked(no int32, name string, now time.Time, n *news) bool {
	s := t.settled[no]
	heard, overruled := s.overruled[name]
	if !overruled {
		return false
	}
	silent := now.Sub(time.UnixMilli(heard))
	if silent > heardEvery {
		n.changed = append(n.changed, no)
		s.overruled[name] = now.UnixMilli()
	}
	if silent > overruledFor {
		delete(s.overruled, name)
	}
	return silent <= overruledFor
}

// acquitLocked takes it that an overruled replica has been equal.
func (t *topic) acquitLocked(no int32, name string, n *news) {
	s := t.settled[no]
	if _, overruled := s.overruled[name]; overruled {
		delete(s.overruled, name)
		n.changed = append(n.changed, no)
	}
}

// forget drops the overruled who have been silent for long.
func (s settlement) forget(now time.Time) {
	maps.DeleteFunc(s.overruled, func(_ string, heard int64) bool { return now.Sub(time.UnixMilli(heard)) > overruledFor })
}

func settlementOf(s *catalog.Settlement) settlement {
	of := settlement{incarnation: s.Incarnation, cut: s.Cut, overruled: make(map[string]int64, len(s.Overruled))}
	for _, o := range s.Overruled {
		of.overruled[o.Replica] = o.HeardMs
	}
	return of
}

func (s settlement) stored(at catalog.DisputedPartition, topic string) catalog.Settlement {
	out := catalog.Settlement{DisputedPartition: at, Topic: topic, Incarnation: s.incarnation, Cut: s.cut}
	for _, name := range slices.Sorted(maps.Keys(s.overruled)) {
		out.Overruled = append(out.Overruled, catalog.Overruled{Replica: name, HeardMs: s.overruled[name]})
	}
	return out
}

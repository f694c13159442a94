package assign

import (
	"cmp"
	"slices"
)

// ranges gives each member a run of each of its topics.
func ranges(members []Member, partitions func(TopicID) int) map[string]Partitions {
	order := slices.Clone(members)
	slices.SortStableFunc(order, func(a, b Member) int {
		switch {
		case a.InstanceID != "" && b.InstanceID != "":
			return cmp.Compare(a.InstanceID, b.InstanceID)
		case a.InstanceID != "":
			return -1
		case b.InstanceID != "":
			return 1
		}
		return cmp.Compare(a.ID, b.ID)
	})
	subscribers := map[TopicID]int{}
	for _, m := range order {
		for _, topic := range m.Topics {
			subscribers[topic]++
		}
	}
	type run struct{ next, quota, extra int }
	runs := make(map[TopicID]*run, len(subscribers))
	target := make(map[string]Partitions, len(order))
	for _, m := range order {
		got := Partitions{}
		for _, topic := range m.Topics {
			r := runs[topic]
			if r == nil {
				n, of := partitions(topic), subscribers[topic]
				r = &run{quota: n / of, extra: n % of}
				runs[topic] = r
			}
			take := r.quota
			if r.extra > 0 {
				r.extra--
				take++
			}
			if take > 0 {
				got[topic] = sequence(r.next, r.next+take)
				r.next += take
			}
		}
		target[m.ID] = got
	}
	return target
}

// sequence is [from, to).
func sequence(from, to int) []int32 {
	s := make([]int32, 0, to-from)
	for n := from; n < to; n++ {
		s = append(s, int32(n))
	}
	return s
}

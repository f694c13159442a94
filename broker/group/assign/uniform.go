package assign

import (
	"slices"
)

// uniform balances the number of partitions of the members.
func uniform(members []Member, partitions func(TopicID) int) map[string]Partitions {
	if len(members) == 0 {
		return map[string]Partitions{}
	}
	for _, m := range members[1:] {
		if !slices.Equal(m.Topics, members[0].Topics) {
			return uniformMixed(members, partitions)
		}
	}
	return uniformAlike(members, partitions)
}

type topicPartition struct {
	topic     TopicID
	partition int32
}

// uniformAlike is for members that all subscribe to the same topics. Each keeps what it has up to its quota; what nobody has
// goes to those that are below theirs.
func uniformAlike(members []Member, partitions func(TopicID) int) map[string]Partitions {
	topics := members[0].Topics
	total, taken := 0, map[topicPartition]bool{}
	for _, topic := range topics {
		total += partitions(topic)
	}
	quota, extra := total/len(members), total%len(members)
	type share struct {
		keep []topicPartition
		most int
	}
	shares := make([]share, len(members))
	// The larger quotas go to those that have more, so that nobody loses a partition to a quota that another does not fill.
	order := make([]int, len(members))
	has := make([]int, len(members))
	for i, m := range members {
		order[i] = i
		for _, topic := range topics {
			for _, n := range m.Has[topic] {
				if int(n) < partitions(topic) {
					has[i]++
				}
			}
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return has[b] - has[a] })
	for rank, i := range order {
		s := &shares[i]
		if s.most = quota; rank < extra {
			s.most++
		}
		for _, topic := range topics {
			for _, n := range members[i].Has[topic] {
				tp := topicPartition{topic, n}
				if len(s.keep) < s.most && int(n) < partitions(topic) && !taken[tp] {
					s.keep, taken[tp] = append(s.keep, tp), true
				}
			}
		}
	}
	next := 0
	for _, topic := range topics {
		for n := range partitions(topic) {
			tp := topicPartition{topic, int32(n)}
			if taken[tp] {
				continue
			}
			for len(shares[next].keep) == shares[next].most {
				next++
			}
			shares[next].keep = append(shares[next].keep, tp)
		}
	}
	target := make(map[string]Partitions, len(members))
	for i, m := range members {
		target[m.ID] = collect(shares[i].keep)
	}
	return target
}

// uniformMixed is for members with different subscriptions. It keeps what the members have, gives what nobody has to the
// subscriber with the fewest partitions, and then moves single partitions as long as that makes two members more equal.
func uniformMixed(members []Member, partitions func(TopicID) int) map[string]Partitions {
	subscribers := map[TopicID][]int{} // indexes of members
	var topics []TopicID
	for i, m := range members {
		for _, topic := range m.Topics {
			if subscribers[topic] == nil {
				topics = append(topics, topic)
			}
			subscribers[topic] = append(subscribers[topic], i)
		}
	}
	// Topics with few subscribers first: there is less choice for them.
	slices.SortStableFunc(topics, func(a, b TopicID) int { return len(subscribers[a]) - len(subscribers[b]) })

	count := make([]int, len(members))
	owner := map[topicPartition]int{}
	for i, m := range members {
		for _, topic := range m.Topics {
			for _, n := range m.Has[topic] {
				tp := topicPartition{topic, n}
				if _, ok := owner[tp]; !ok && int(n) < partitions(topic) {
					owner[tp] = i
					count[i]++
				}
			}
		}
	}
	fewest := func(topic TopicID) int {
		best := subscribers[topic][0]
		for _, i := range subscribers[topic][1:] {
			if count[i] < count[best] {
				best = i
			}
		}
		return best
	}
	for _, topic := range topics {
		for n := range partitions(topic) {
			if tp := (topicPartition{topic, int32(n)}); !has(owner, tp) {
				i := fewest(topic)
				owner[tp] = i
				count[i]++
			}
		}
	}
	// Each move makes the sum of the squares of the counts smaller, so this ends.
	for moved := true; moved; {
		moved = false
		for _, topic := range topics {
			for n := range partitions(topic) {
				tp := topicPartition{topic, int32(n)}
				from, to := owner[tp], fewest(topic)
				if count[from]-count[to] > 1 {
					owner[tp] = to
					count[from]--
					count[to]++
					moved = true
				}
			}
		}
	}
	got := make([][]topicPartition, len(members))
	for _, topic := range topics {
		for n := range partitions(topic) {
			tp := topicPartition{topic, int32(n)}
			got[owner[tp]] = append(got[owner[tp]], tp)
		}
	}
	target := make(map[string]Partitions, len(members))
	for i, m := range members {
		target[m.ID] = collect(got[i])
	}
	return target
}

func has(owner map[topicPartition]int, tp topicPartition) bool {
	_, ok := owner[tp]
	return ok
}

func collect(all []topicPartition) Partitions {
	out := map[TopicID][]int32{}
	for _, tp := range all {
		out[tp.topic] = append(out[tp.topic], tp.partition)
	}
	return Of(out)
}

package assign

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// TopicID identifies one life of a topic.
type TopicID = [16]byte

// Member is who takes part.
type Member struct {
	ID         string
	InstanceID string    // "" is a dynamic member
	Topics     []TopicID // that it subscribes to, ascending and without duplicates
	Has        Partitions
}

// Assignor computes the target assignment of a group. Every topic that a member subscribes to has partitions; the members are
// in the order of their ids. The result has an entry for each member.
type Assignor func(members []Member, partitions func(TopicID) int) map[string]Partitions

// assignors by the name that clients choose them with.
var assignors = []struct {
	name   string
	assign Assignor
}{
	{"uniform", uniform},
	{"range", ranges},
}

// Names are the assignors, the default first.
func Names() (names []string) {
	for _, a := range assignors {
		names = append(names, a.name)
	}
	return names
}

// Default is the assignor of a group whose members name none.
func Default() string { return assignors[0].name }

// Known says whether there is an assignor of that name.
func Known(name string) bool { return slices.Contains(Names(), name) }

// Assign runs the named assignor. The members are sorted in place.
func Assign(name string, members []Member, partitions func(TopicID) int) (map[string]Partitions, error) {
	for _, a := range assignors {
		if a.name == name {
			slices.SortFunc(members, func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
			return a.assign(members, partitions), nil
		}
	}
	return nil, fmt.Errorf("unknown assignor %q", name)
}

// Partitions are partitions by topic: ascending, without duplicates, and no topic without any. Values are shared and never
// changed: every operation makes a new one.
type Partitions map[TopicID][]int32

// Topics are the topics in ascending order.
func (p Partitions) Topics() []TopicID {
	return slices.SortedFunc(maps.Keys(p), func(a, b TopicID) int { return bytes.Compare(a[:], b[:]) })
}

// Count is the number of partitions.
func (p Partitions) Count() (n int) {
	for _, s := range p {
		n += len(s)
	}
	return n
}

// Has says whether the partition is one of p.
func (p Partitions) Has(topic TopicID, partition int32) bool {
	_, ok := slices.BinarySearch(p[topic], partition)
	return ok
}

// Equal compares two sets.
func (p Partitions) Equal(q Partitions) bool {
	return maps.EqualFunc(p, q, func(a, b []int32) bool { return slices.Equal(a, b) })
}

// Filter is the part of p that keep says yes to.
func (p Partitions) Filter(keep func(topic TopicID, partition int32) bool) Partitions {
	out := Partitions{}
	for topic, s := range p {
		var left []int32
		for _, n := range s {
			if keep(topic, n) {
				left = append(left, n)
			}
		}
		if len(left) > 0 {
			out[topic] = left
		}
	}
	return out
}

// And is what both have, Minus what p has and q has not, Or what either has.
func (p Partitions) And(q Partitions) Partitions { return p.Filter(q.Has) }
func (p Partitions) Minus(q Partitions) Partitions {
	return p.Filter(func(t TopicID, n int32) bool { return !q.Has(t, n) })
}

// Or is what p or q has.
func (p Partitions) Or(q Partitions) Partitions {
	out := maps.Clone(p)
	if out == nil {
		out = Partitions{}
	}
	for topic, s := range q {
		all := slices.Concat(out[topic], s)
		slices.Sort(all)
		out[topic] = slices.Compact(all)
	}
	return out
}

// Of makes a set of unordered partitions, which may come twice.
func Of(all map[TopicID][]int32) Partitions {
	out := Partitions{}
	for topic, s := range all {
		s = slices.Clone(s)
		slices.Sort(s)
		if s = slices.Compact(s); len(s) > 0 {
			out[topic] = s
		}
	}
	return out
}

package assign

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func id(n byte) TopicID { return TopicID{n} }

func sizes(n ...int) func(TopicID) int {
	return func(t TopicID) int { return n[t[0]-1] }
}

func of(topicsAndPartitions ...[]int32) Partitions {
	p := Partitions{}
	for i, s := range topicsAndPartitions {
		if len(s) > 0 {
			p[id(byte(i+1))] = s
		}
	}
	return p
}

func run(t require.TestingT, name string, members []Member, n func(TopicID) int) map[string]Partitions {
	got, err := Assign(name, members, n)
	require.NoError(t, err)
	return got
}

func TestRange(t *testing.T) {
	both := []TopicID{id(1), id(2)}
	require.Equal(t, map[string]Partitions{"a": of([]int32{0, 1}, []int32{0, 1}), "b": of([]int32{2}, []int32{2})},
		run(t, "range", []Member{{ID: "b", Topics: both}, {ID: "a", Topics: both}}, sizes(3, 3)), "topics of the same size are divided alike")
	require.Equal(t, map[string]Partitions{"a": of([]int32{1}), "b": of([]int32{0}), "c": {}},
		run(t, "range", []Member{{ID: "a", Topics: both[:1]}, {ID: "b", InstanceID: "i", Topics: both[:1]}, {ID: "c", Topics: both[:1]}}, sizes(2, 0)),
		"static members first")
	require.Equal(t, map[string]Partitions{"a": of([]int32{0, 1, 2}, []int32{0}), "b": of(nil, []int32{1})},
		run(t, "range", []Member{{ID: "a", Topics: both}, {ID: "b", Topics: both[1:]}}, sizes(3, 2)))
}

func TestUniform(t *testing.T) {
	one := []TopicID{id(1)}
	a := Member{ID: "a", Topics: one, Has: of([]int32{0, 1, 2, 3})}
	require.Equal(t, map[string]Partitions{"a": of([]int32{0, 1}), "b": of([]int32{2, 3})},
		run(t, "uniform", []Member{a, {ID: "b", Topics: one}}, sizes(4)))
	require.Equal(t, map[string]Partitions{"a": of([]int32{0, 1, 2, 3})}, run(t, "uniform", []Member{a}, sizes(4)))
	require.Equal(t, map[string]Partitions{"a": of([]int32{0, 1, 2, 3}), "b": of([]int32{4, 5, 6})},
		run(t, "uniform", []Member{a, {ID: "b", Topics: one}}, sizes(7)), "nobody loses a partition without need")
	require.Equal(t, map[string]Partitions{"a": {}}, run(t, "uniform", []Member{{ID: "a", Has: a.Has}}, sizes(4)), "no subscription")
	require.Equal(t, map[string]Partitions{"a": of([]int32{0, 1})}, run(t, "uniform", []Member{a}, sizes(2)), "a topic that has become smaller is another topic")
	// Different subscriptions.
	require.Equal(t, map[string]Partitions{"a": of([]int32{0, 1, 2}), "b": of(nil, []int32{0, 1})},
		run(t, "uniform", []Member{{ID: "a", Topics: []TopicID{id(1), id(2)}}, {ID: "b", Topics: []TopicID{id(2)}}}, sizes(3, 2)))
}

func TestUnknownAssignor(t *testing.T) {
	_, err := Assign("sticky", nil, nil)
	require.ErrorContains(t, err, `unknown assignor "sticky"`)
	require.Equal(t, []string{"uniform", "range"}, Names())
	require.Equal(t, "uniform", Default())
	require.True(t, Known("range"))
	require.False(t, Known(""))
}

func TestSets(t *testing.T) {
	p, q := of([]int32{0, 1, 2}, []int32{5}), of([]int32{1, 3})
	require.Equal(t, of([]int32{1}), p.And(q))
	require.Equal(t, of([]int32{0, 2}, []int32{5}), p.Minus(q))
	require.Equal(t, of([]int32{0, 1, 2, 3}, []int32{5}), p.Or(q))
	require.Equal(t, 4, p.Count())
	require.True(t, p.Equal(Of(map[TopicID][]int32{id(2): {5, 5}, id(1): {2, 0, 1}, id(3): nil})))
	require.False(t, p.Equal(q))
	require.Equal(t, []TopicID{id(1), id(2)}, p.Topics())
}

// TestRandomAssignments: every partition with a subscriber goes to exactly one, nobody gets what it does not subscribe to,
// uniform is balanced, and without a change nothing moves.
func TestRandomAssignments(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		topics := rapid.IntRange(1, 4).Draw(rt, "topics")
		n := make([]int, topics)
		for i := range n {
			n[i] = rapid.IntRange(1, 12).Draw(rt, "partitions")
		}
		alike := rapid.Bool().Draw(rt, "alike")
		var all []TopicID
		for i := range topics {
			all = append(all, id(byte(i+1)))
		}
		var members []Member
		for i := range rapid.IntRange(1, 6).Draw(rt, "members") {
			m := Member{ID: fmt.Sprintf("m%d", i), Topics: all, InstanceID: rapid.SampledFrom([]string{"", fmt.Sprintf("i%d", i)}).Draw(rt, "instance")}
			if !alike {
				m.Topics = slices.DeleteFunc(slices.Clone(all), func(TopicID) bool { return rapid.Bool().Draw(rt, "not") })
			}
			members = append(members, m)
		}
		name := rapid.SampledFrom(Names()).Draw(rt, "assignor")
		for range 3 {
			target := run(rt, name, members, sizes(n...))
			checkTarget(rt, members, target, n)
			if name == "uniform" && alike {
				low, high := 1<<30, 0
				for _, p := range target {
					low, high = min(low, p.Count()), max(high, p.Count())
				}
				require.LessOrEqual(rt, high-low, 1)
			}
			for i := range members {
				members[i].Has = target[members[i].ID]
			}
			require.Equal(rt, target, run(rt, name, members, sizes(n...)), "nothing changed and something moved")
			if len(members) > 1 {
				members = slices.Delete(members, 0, 1)
			}
		}
	})
}

func checkTarget(t require.TestingT, members []Member, target map[string]Partitions, sizes []int) {
	require.Len(t, target, len(members))
	owners := map[topicPartition]string{}
	subscribed := map[TopicID]bool{}
	for _, m := range members {
		for topic, s := range target[m.ID] {
			require.Contains(t, m.Topics, topic)
			require.True(t, slices.IsSorted(s))
			for _, p := range s {
				require.Less(t, int(p), sizes[topic[0]-1])
				require.NotContains(t, owners, topicPartition{topic, p}, "given twice")
				owners[topicPartition{topic, p}] = m.ID
			}
		}
		for _, topic := range m.Topics {
			subscribed[topic] = true
		}
	}
	want := 0
	for topic := range subscribed {
		want += sizes[topic[0]-1]
	}
	require.Len(t, owners, want, "not everything is assigned")
}

// BenchmarkUniform is 100 members over 1,000 partitions.
func BenchmarkUniform(b *testing.B) {
	members := make([]Member, 100)
	for i := range members {
		members[i] = Member{ID: fmt.Sprintf("m%03d", i), Topics: []TopicID{id(1)}}
	}
	for b.Loop() {
		_, err := Assign("uniform", members, sizes(1000))
		require.NoError(b, err)
	}
}

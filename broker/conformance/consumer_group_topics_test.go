package conformance_test

import (
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// slowly is eventually for what a broker looks at every ten seconds or so.
func slowly(t *testing.T, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, 50*time.Second, 20*time.Millisecond)
}

// A pattern in RE2 syntax has to match the whole name; names and a pattern add up; an empty pattern takes it back.
func TestConsumerGroupRegex(t *testing.T) {
	b := startGroups(t)
	c := b.Dial(t)
	prefix := raw.TopicName(t)
	one, two := raw.CreateNamed(c, prefix+"-one", 1), raw.CreateNamed(c, prefix+"-two", 2)
	raw.CreateNamed(c, "x"+prefix+"-one", 1)
	raw.CreateNamed(c, prefix+"-one-x", 1)
	other := raw.CreateTopic(c, 1)

	m := b.consumer(t, owners{}, raw.TopicName(t), "m")
	m.names, m.pattern = nil, ptr(regexp.QuoteMeta(prefix)+"-(one|two|three)")
	m.join()
	slowly(t, func() bool { m.beat(); return len(m.of(one)) == 1 && len(m.of(two)) == 2 })
	require.Len(t, m.owned, 3)
	require.Equal(t, *m.pattern, *describeConsumers(c, 1, m.group)[0].Members[0].SubscribedTopicRegex)

	three := raw.CreateNamed(c, prefix+"-three", 1) // is found later
	slowly(t, func() bool { m.beat(); return len(m.of(three)) == 1 })

	m.names, m.pattern = []string{other.Name}, ptr(regexp.QuoteMeta(prefix)+"-t.o")
	m.take(m.ask(m.request(m.epoch)))
	slowly(t, func() bool { m.beat(); return len(m.owned) == 3 && len(m.of(other)) == 1 && len(m.of(two)) == 2 })

	m.pattern = ptr(`\Q` + one.Name) // quoted to its end, which needs no \E
	m.take(m.ask(m.request(m.epoch)))
	slowly(t, func() bool { m.beat(); return len(m.owned) == 2 && len(m.of(other)) == 1 && len(m.of(one)) == 1 })

	m.pattern = ptr("")
	m.take(m.ask(m.request(m.epoch)))
	slowly(t, func() bool { m.beat(); return len(m.owned) == 1 && len(m.of(other)) == 1 })
}

// A topic that comes, grows and goes changes the assignment of those that subscribe to it.
func TestConsumerGroupSeesTopicsChange(t *testing.T) {
	b := startGroups(t)
	c := b.Dial(t)
	name := raw.TopicName(t)
	stays := raw.CreateTopic(c, 1)
	m := b.consumer(t, owners{}, raw.TopicName(t), "m", name, stays.Name)
	m.join()
	until(t, func() bool { return len(m.of(stays)) == 1 }, m)
	epoch := m.epoch
	created := raw.CreateNamed(c, name, 2)
	until(t, func() bool { return len(m.of(created)) == 2 }, m)
	require.Greater(t, m.epoch, epoch)

	grow := kmsg.NewPtrCreatePartitionsRequest()
	grow.Version, grow.TimeoutMillis = 3, 10_000
	grow.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: name, Count: 5}}
	require.Zero(t, raw.Do[*kmsg.CreatePartitionsResponse](c, grow).Topics[0].ErrorCode)
	until(t, func() bool { return len(m.of(created)) == 5 }, m)

	del := kmsg.NewPtrDeleteTopicsRequest()
	del.Version, del.TimeoutMillis, del.TopicNames = 5, 10_000, []string{name}
	require.Zero(t, raw.Do[*kmsg.DeleteTopicsResponse](c, del).Topics[0].ErrorCode)
	until(t, func() bool { return len(m.of(created)) == 0 }, m)
	require.Len(t, m.of(stays), 1)

	raw.Eventually(t, func() bool { return raw.DescribeTopic(c, name).ErrorCode == 3 })
	again := raw.CreateNamed(c, name, 1)
	until(t, func() bool { return len(m.of(again)) == 1 }, m)
	require.NotEqual(t, created.ID, again.ID)
}

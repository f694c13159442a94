package group

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/keyframelog/keyframe/broker/group/assign"
	"github.com/keyframelog/keyframe/broker/group/consumer"
)

// oneTopic is a world with the topic "t" of four partitions.
type oneTopic struct{}

var topicT = consumer.Topic{ID: consumer.TopicID{1}, Name: "t", Partitions: 4}

func (oneTopic) Version() uint64                                 { return 1 }
func (oneTopic) ByName(name string) (consumer.Topic, bool)       { return topicT, name == topicT.Name }
func (oneTopic) ByID(id consumer.TopicID) (consumer.Topic, bool) { return topicT, id == topicT.ID }
func (oneTopic) All() []consumer.Topic                           { return []consumer.Topic{topicT} }

func withTopics(cfg *Config) { cfg.Topics, cfg.InitialRebalanceDelay = oneTopic{}, 0 }

func startBeat(c *Coordinator, group string, r consumer.HeartbeatRequest) <-chan consumer.HeartbeatReply {
	ch := make(chan consumer.HeartbeatReply, 2)
	c.ConsumerHeartbeat(group, r, false, func(reply consumer.HeartbeatReply) { ch <- reply })
	return ch
}

func beat(c *Coordinator, group string, r consumer.HeartbeatRequest) consumer.HeartbeatReply {
	return <-startBeat(c, group, r)
}

func entering(id string) consumer.HeartbeatRequest {
	return consumer.HeartbeatRequest{MemberID: id, Rebalance: 30 * time.Second, Names: []string{"t"}, Owned: assign.Partitions{}}
}

func staying(id string, epoch int32, owned ...int32) consumer.HeartbeatRequest {
	r := consumer.HeartbeatRequest{MemberID: id, Epoch: epoch, Rebalance: -1}
	if owned != nil {
		r.Owned = assign.Partitions{topicT.ID: owned}
	}
	return r
}

func typeOf(c *Coordinator, group string) string {
	for _, l := range c.List() {
		if l.Group == group {
			return l.Type + " " + l.State
		}
	}
	return ""
}

// inBubble runs a test in a bubble in which time passes when everybody waits.
func inBubble(t *testing.T, f func(t *testing.T, c *Coordinator, store *memStore)) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		c := open(t, store, withTopics)
		f(t, c, store)
		require.NoError(t, c.Close())
	})
}

func TestConsumerSessionsEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Coordinator, _ *memStore) {
		one := beat(c, "g", entering("one"))
		require.Nil(t, one.Err)
		require.Len(t, one.Assignment[topicT.ID], 4, "the first heartbeat has the share")
		time.Sleep(44 * time.Second)
		require.Nil(t, beat(c, "g", staying("one", one.Epoch)).Err)
		two := beat(c, "g", entering("two"))
		require.Equal(t, 500*time.Millisecond, two.Interval, "it waits for the other")
		time.Sleep(44 * time.Second)
		two = beat(c, "g", staying("two", two.Epoch))
		require.Nil(t, two.Err)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, kerr.UnknownMemberID, beat(c, "g", staying("one", one.Epoch)).Err)
		two = beat(c, "g", staying("two", two.Epoch))
		require.Len(t, two.Assignment[topicT.ID], 4)
		require.Equal(t, 5*time.Second, two.Interval)
	})
}

// A static member that left for a while keeps its partitions for its session, no longer.
func TestConsumerStaticMemberStaysAway(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Coordinator, _ *memStore) {
		instance := "i"
		r := entering("one")
		r.InstanceID = &instance
		one := beat(c, "g", r)
		two := beat(c, "g", entering("two"))
		r = staying("one", -2)
		r.InstanceID = &instance
		require.Nil(t, beat(c, "g", r).Err)
		for range 8 {
			time.Sleep(5 * time.Second)
			two = beat(c, "g", staying("two", two.Epoch))
			require.Nil(t, two.Err)
			require.Empty(t, two.Assignment)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Len(t, beat(c, "g", staying("two", two.Epoch)).Assignment[topicT.ID], 4)
		require.NotNil(t, one.Assignment)
	})
}

// What a heartbeat is told is durable first; heartbeats of one group share the write.
func TestConsumerAnswersAreDurable(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Coordinator, store *memStore) {
		gate := make(chan struct{})
		store.set(func(s *memStore) { s.gate = gate })
		waiting := []<-chan consumer.HeartbeatReply{startBeat(c, "g", entering("one"))}
		again := startBeat(c, "g", entering("one")) // changes nothing, and still rests on what is not durable
		for _, id := range []string{"two", "three", "four"} {
			waiting = append(waiting, startBeat(c, "g", entering(id)))
		}
		synctest.Wait()
		for _, ch := range append(waiting, again) {
			require.Empty(t, ch)
		}
		close(gate)
		for _, ch := range append(waiting, again) {
			require.Nil(t, (<-ch).Err)
		}
		store.set(func(s *memStore) {
			s.gate = nil
			require.LessOrEqual(t, s.writes, 2)
		})
	})
}

// A disk that fails: the member is told to come again, and then it is durable.
func TestConsumerAnswersWhenTheDiskFails(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Coordinator, store *memStore) {
		store.set(func(s *memStore) { s.fail = true })
		require.Equal(t, kerr.CoordinatorNotAvailable, beat(c, "g", entering("one")).Err)
		require.Equal(t, kerr.CoordinatorNotAvailable, beat(c, "g", entering("one")).Err)
		store.set(func(s *memStore) { s.fail = false })
		one := beat(c, "g", entering("one"))
		require.Nil(t, one.Err)
		require.Len(t, one.Assignment[topicT.ID], 4)
		require.NoError(t, c.Close())
		c = open(t, store, withTopics)
		require.Nil(t, beat(c, "g", staying("one", one.Epoch)).Err)
		require.NoError(t, c.Close())
	})
}

// Members go on after a restart as if there had been none; those that do not come back are out when their session is over.
func TestConsumerGroupAfterARestart(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Coordinator, store *memStore) {
		one := beat(c, "g", entering("one"))
		two := beat(c, "g", entering("two"))
		give := beat(c, "g", staying("one", one.Epoch)).Assignment[topicT.ID]
		require.Len(t, give, 2)
		require.NoError(t, c.Close())

		c = open(t, store, withTopics)
		require.Equal(t, "consumer Reconciling", typeOf(c, "g"))
		require.Empty(t, beat(c, "g", staying("two", two.Epoch)).Assignment, "the other was told to give up, and has not said that it did")
		one = beat(c, "g", staying("one", one.Epoch, give...))
		require.Nil(t, one.Err)
		require.Len(t, beat(c, "g", staying("two", two.Epoch)).Assignment[topicT.ID], 2)
		time.Sleep(40 * time.Second)
		require.Nil(t, beat(c, "g", staying("one", one.Epoch)).Err)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Equal(t, kerr.UnknownMemberID, beat(c, "g", staying("two", two.Epoch)).Err)
		require.Len(t, beat(c, "g", staying("one", one.Epoch)).Assignment[topicT.ID], 4)
		require.NoError(t, c.Close())
	})
}

// classicJoin is a member of the classic protocol in a consumer group.
func classicJoin(t *testing.T, c *Coordinator, id string) MemberRef {
	t.Helper()
	j := <-startJoin(c, "g", joinAs(id))
	require.Nil(t, j.Err)
	return MemberRef{MemberID: j.MemberID, Generation: j.Generation}
}

// A classic group becomes a consumer group with offsets that are on their way to the disk, and a classic one again; the members' epochs are
// good for as long as they have not joined again.
func TestGroupChangesItsKind(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Coordinator, store *memStore) {
		ref := stable(t, c, "g")
		gate := make(chan struct{})
		store.set(func(s *memStore) { s.gate = gate })
		committed := make(chan []*kerr.Error, 1)
		c.Commit("g", ref, []PartitionOffset{at("t", 0, 5)}, func(errs []*kerr.Error) { committed <- errs })
		synctest.Wait()
		joined := startBeat(c, "g", entering("new"))
		close(gate)
		store.set(func(s *memStore) { s.gate = nil })
		require.Equal(t, []*kerr.Error{nil}, <-committed)
		require.Nil(t, (<-joined).Err)
		got, ok := c.Offset("g", "t", 0)
		require.True(t, ok, "a commit that was under way is lost")
		require.EqualValues(t, 5, got.Offset)
		require.Equal(t, "consumer Reconciling", typeOf(c, "g"))
		require.Equal(t, kerr.RebalanceInProgress, c.Heartbeat("g", ref))

		old := classicJoin(t, c, ref.MemberID)
		require.Greater(t, old.Generation, ref.Generation)
		s := <-startSync(c, "g", SyncRequest{MemberID: old.MemberID, Generation: old.Generation})
		require.Nil(t, s.Err)
		require.NotEmpty(t, s.Assignment)
		another := beat(c, "g", entering("another")) // and the classic member is one epoch behind
		require.Equal(t, kerr.RebalanceInProgress, c.Heartbeat("g", old))

		require.Nil(t, beat(c, "g", consumer.HeartbeatRequest{MemberID: "new", Epoch: -1}).Err)
		require.Nil(t, beat(c, "g", consumer.HeartbeatRequest{MemberID: "another", Epoch: -1}).Err)
		require.Equal(t, "classic PreparingRebalance", typeOf(c, "g"))
		require.Nil(t, commit(c, "g", old, at("t", 0, 6))[0], "what it has read it may commit")
		require.Equal(t, kerr.RebalanceInProgress, c.Heartbeat("g", old))
		old.Generation--
		require.Equal(t, kerr.IllegalGeneration, c.Heartbeat("g", old))
		require.Equal(t, kerr.IllegalGeneration, commit(c, "g", old, at("t", 0, 7))[0])
		require.NotNil(t, another.Assignment)
		before := old.Generation + 1
		old = classicJoin(t, c, ref.MemberID)
		require.Greater(t, old.Generation, before)
		require.NoError(t, c.Close())

		c = open(t, store, withTopics)
		require.Equal(t, "classic Stable", typeOf(c, "g"), "as of the last assignment")
		require.NoError(t, c.Close())
	})
}

// A classic member in a consumer group that is told to join, and does not, is out after its rebalance timeout; as is one that does not sync.
func TestClassicMembersInAConsumerGroupAreLate(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Coordinator, _ *memStore) {
		one := beat(c, "g", entering("one"))
		owned := one.Assignment[topicT.ID]
		old := classicJoin(t, c, "")
		alive := func(d time.Duration) (last *kerr.Error) {
			for range int(d / (5 * time.Second)) {
				time.Sleep(5 * time.Second)
				synctest.Wait()
				last = c.Heartbeat("g", old)
				one = beat(c, "g", staying("one", one.Epoch, owned...))
				require.Nil(t, one.Err)
				if one.Assignment != nil {
					owned = one.Assignment[topicT.ID]
				}
			}
			return last
		}
		require.NotEqual(t, kerr.UnknownMemberID, alive(55*time.Second))
		require.Equal(t, kerr.UnknownMemberID, alive(5*time.Second), "it has not sent SyncGroup for a minute")

		old = classicJoin(t, c, "")
		require.Nil(t, (<-startSync(c, "g", SyncRequest{MemberID: old.MemberID, Generation: old.Generation})).Err)
		beat(c, "g", entering("two"))
		require.Equal(t, kerr.RebalanceInProgress, c.Heartbeat("g", old))
		require.Equal(t, kerr.RebalanceInProgress, alive(55*time.Second))
		require.Equal(t, kerr.UnknownMemberID, alive(5*time.Second), "it was told to join a minute ago")
	})
}

// Offsets of a consumer group stay while a member subscribes to their topic, and for the retention after that.
func TestConsumerGroupRetention(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Coordinator, _ *memStore) {
		one := beat(c, "g", entering("one"))
		require.Nil(t, commit(c, "g", MemberRef{MemberID: "one", Generation: one.Epoch}, at("t", 0, 1), at("other", 0, 2))[0])
		for range 8 * 24 * 60 * 2 {
			time.Sleep(30 * time.Second)
			require.Nil(t, beat(c, "g", staying("one", one.Epoch)).Err)
		}
		synctest.Wait()
		_, ok := c.Offset("g", "t", 0)
		require.True(t, ok)
		_, ok = c.Offset("g", "other", 0)
		require.False(t, ok, "nobody subscribes to it")
		require.Nil(t, beat(c, "g", staying("one", -1)).Err)
		time.Sleep(6 * 24 * time.Hour)
		synctest.Wait()
		require.Equal(t, "consumer Empty", typeOf(c, "g"))
		time.Sleep(2 * 24 * time.Hour)
		synctest.Wait()
		require.Empty(t, typeOf(c, "g"))
	})
}

// Settings of one group, and its largest size.
func TestConsumerGroupSettings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, newMemStore(), withTopics, func(cfg *Config) {
			cfg.ConsumerMaxSize = 2
			cfg.GroupConfig = func(group, name string) string {
				if group == "g" && name == "consumer.session.timeout.ms" {
					return "60000"
				}
				return ""
			}
		})
		one := beat(c, "g", entering("one"))
		require.Equal(t, 5*time.Second, one.Interval)
		require.Nil(t, beat(c, "g", entering("two")).Err)
		require.Equal(t, kerr.GroupMaxSizeReached, beat(c, "g", entering("three")).Err)
		require.Nil(t, beat(c, "g", entering("two")).Err)
		time.Sleep(59 * time.Second)
		synctest.Wait()
		require.Nil(t, beat(c, "g", staying("one", one.Epoch)).Err)
		require.NoError(t, c.Close())
		require.Equal(t, kerr.CoordinatorNotAvailable, beat(c, "g", staying("one", one.Epoch)).Err)
	})
}

// watched are topics of which all are looked at only while nobody has the coordinator's lock.
type watched struct {
	consumer.Topics
	c     *Coordinator
	t     *testing.T
	looks int
}

func (w *watched) All() []consumer.Topic {
	w.looks++
	if w.c.mu.TryLock() {
		w.c.mu.Unlock()
	} else {
		w.t.Error("regular expressions are held against topics under the coordinator's lock")
	}
	return w.Topics.All()
}

func TestPatternsAreMatchedWithoutTheLock(t *testing.T) {
	topics := &watched{Topics: oneTopic{}, t: t}
	c := open(t, newMemStore(), func(cfg *Config) { cfg.Topics = topics })
	topics.c = c
	for _, name := range []string{"a", "b"} {
		r := entering("one")
		r.Names, r.Pattern = nil, &[]string{".*"}[0]
		reply := beat(c, name, r)
		require.Nil(t, reply.Err)
		require.NotEmpty(t, reply.Assignment)
	}
	require.Equal(t, 1, topics.looks)
	require.NoError(t, c.Close())
}

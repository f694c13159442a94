package group

import (
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
)

// These tests run in a bubble in which time passes when everybody waits (testing/synctest).

func open(t *testing.T, store Store, change ...func(*Config)) *Coordinator {
	t.Helper()
	cfg := Config{Settings: DefaultSettings(), Store: store}
	for _, f := range change {
		f(&cfg)
	}
	c, err := Open(cfg)
	require.NoError(t, err)
	return c
}

func joinAs(id string) JoinRequest {
	return JoinRequest{MemberID: id, ClientID: "client", ProtocolType: "consumer",
		SessionTimeout: 10 * time.Second, RebalanceTimeout: time.Minute,
		Protocols: []Protocol{{Name: "range", Metadata: subscription("t")}}}
}

func startJoin(c *Coordinator, group string, r JoinRequest) <-chan JoinReply {
	ch := make(chan JoinReply, 2)
	c.Join(group, r, func(reply JoinReply) { ch <- reply })
	return ch
}

func startSync(c *Coordinator, group string, r SyncRequest) <-chan SyncReply {
	ch := make(chan SyncReply, 2)
	c.Sync(group, r, func(reply SyncReply) { ch <- reply })
	return ch
}

func commit(c *Coordinator, group string, ref MemberRef, offsets ...PartitionOffset) []*kerr.Error {
	ch := make(chan []*kerr.Error, 1)
	c.Commit(group, ref, offsets, func(errs []*kerr.Error) { ch <- errs })
	return <-ch
}

func at(topic string, partition int32, offset int64) PartitionOffset {
	return PartitionOffset{Topic: topic, Partition: partition, Offset: Offset{Offset: offset, LeaderEpoch: 3, Metadata: "m"}}
}

var simple = MemberRef{Generation: -1}

// stable makes a group with one member, which owns everything.
func stable(t *testing.T, c *Coordinator, group string) MemberRef {
	t.Helper()
	j := <-startJoin(c, group, joinAs(""))
	require.Nil(t, j.Err)
	s := <-startSync(c, group, SyncRequest{MemberID: j.MemberID, Generation: j.Generation,
		Assignments: []Assignment{{j.MemberID, []byte("all")}}})
	require.Nil(t, s.Err)
	require.Equal(t, "all", string(s.Assignment))
	return MemberRef{MemberID: j.MemberID, Generation: j.Generation}
}

func remove(c *Coordinator, group string) *kerr.Error {
	ch := make(chan *kerr.Error, 1)
	c.Delete(group, func(err *kerr.Error) { ch <- err })
	return <-ch
}

func TestCoordinatorKeepsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, newMemStore())
		start := time.Now()
		ref := stable(t, c, "g")
		require.Equal(t, 3*time.Second, time.Since(start), "group.initial.rebalance.delay.ms")
		require.Regexp(t, `^client-[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, ref.MemberID)
		time.Sleep(9 * time.Second)
		require.Nil(t, c.Heartbeat("g", ref))
		time.Sleep(9 * time.Second)
		require.Nil(t, c.Heartbeat("g", ref))
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.Equal(t, kerr.UnknownMemberID, c.Heartbeat("g", ref))
		d, ok, _ := c.Describe("g")
		require.True(t, ok)
		require.Equal(t, Empty, d.State)
		require.NoError(t, c.Close())
	})
}

func TestCoordinatorRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, newMemStore(), func(cfg *Config) { cfg.InitialRebalanceDelay = 0 })
		long, short := joinAs(""), joinAs("")
		long.SessionTimeout, short.SessionTimeout = time.Hour, 5*time.Second
		require.Equal(t, kerr.InvalidSessionTimeout, (<-startJoin(c, "g", long)).Err)
		require.Equal(t, kerr.InvalidSessionTimeout, (<-startJoin(c, "g", short)).Err)
		for _, name := range []string{"", "a\x00b"} {
			require.Equal(t, kerr.InvalidGroupID, (<-startJoin(c, name, joinAs(""))).Err)
			require.Equal(t, kerr.InvalidGroupID, (<-startSync(c, name, SyncRequest{})).Err)
			require.Equal(t, kerr.InvalidGroupID, c.Heartbeat(name, MemberRef{}))
			_, err := c.Leave(name, nil)
			require.Equal(t, kerr.InvalidGroupID, err)
		}
		require.Equal(t, []*kerr.Error{kerr.InvalidGroupID}, commit(c, "a\x00b", simple, at("t", 0, 1)))
		// A group that does not exist.
		require.Equal(t, kerr.UnknownMemberID, (<-startJoin(c, "none", joinAs("someone"))).Err)
		require.Equal(t, kerr.UnknownMemberID, (<-startSync(c, "none", SyncRequest{MemberID: "x"})).Err)
		require.Equal(t, kerr.UnknownMemberID, c.Heartbeat("none", MemberRef{MemberID: "x"}))
		_, err := c.Leave("none", []MemberRef{{MemberID: "x"}})
		require.Equal(t, kerr.UnknownMemberID, err)
		require.Equal(t, []*kerr.Error{kerr.GroupIDNotFound}, commit(c, "none", MemberRef{MemberID: "x", Generation: 1}, at("t", 0, 1)))
		require.Equal(t, kerr.GroupIDNotFound, remove(c, "none"))
		require.Empty(t, c.Offsets("none"))
		require.Empty(t, c.List(), "questions do not create groups")

		ref := stable(t, c, "g")
		require.Equal(t, kerr.NonEmptyGroup, remove(c, "g"))
		errs, err := c.Leave("g", []MemberRef{{MemberID: "x"}, ref, ref})
		require.Nil(t, err)
		require.Equal(t, []*kerr.Error{kerr.UnknownMemberID, nil, kerr.UnknownMemberID}, errs)
		require.Nil(t, remove(c, "g"))
		require.Equal(t, kerr.GroupIDNotFound, remove(c, "g"))
		require.NoError(t, c.Close())
	})
}

func TestCoordinatorAnswersAtClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		c := open(t, newMemStore(), func(cfg *Config) { cfg.Metrics = reg })
		waits := startJoin(c, "g", joinAs(""))
		require.NoError(t, c.Close())
		require.NoError(t, c.Close())
		require.Equal(t, kerr.NotCoordinator, (<-waits).Err)
		require.Equal(t, kerr.CoordinatorNotAvailable, (<-startJoin(c, "g", joinAs(""))).Err)
		require.Equal(t, kerr.CoordinatorNotAvailable, c.Heartbeat("g", MemberRef{}))
		require.Equal(t, []*kerr.Error{kerr.CoordinatorNotAvailable}, commit(c, "g", simple, at("t", 0, 1)))
		require.Equal(t, kerr.CoordinatorNotAvailable, remove(c, "g"))
		c.DropTopic("t")
		families, err := reg.Gather()
		require.NoError(t, err)
		require.Empty(t, families, "another coordinator may register")
	})
}

func TestCommitIsDurableBeforeItIsVisible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		c := open(t, store)
		gate := make(chan struct{})
		store.set(func(s *memStore) { s.gate = gate })
		answers := make(chan []*kerr.Error, 9)
		for i := range 9 {
			c.Commit("g", simple, []PartitionOffset{at("t", 0, int64(i))}, func(errs []*kerr.Error) { answers <- errs })
			synctest.Wait()
		}
		_, ok := c.Offset("g", "t", 0)
		require.False(t, ok)
		require.Empty(t, answers)
		close(gate)
		for range 9 {
			require.Equal(t, []*kerr.Error{nil}, <-answers)
		}
		got, ok := c.Offset("g", "t", 0)
		require.True(t, ok)
		require.Equal(t, Offset{Offset: 8, LeaderEpoch: 3, Metadata: "m", CommitMs: time.Now().UnixMilli()}, got)
		require.EqualValues(t, 8, store.offsets["g"][topicPartition{"t", 0}].Offset)
		require.Equal(t, 2, store.writes, "what came during a write shares the next one")
		require.False(t, store.overlap)

		store.set(func(s *memStore) { s.fail = true })
		require.Equal(t, []*kerr.Error{kerr.CoordinatorNotAvailable}, commit(c, "g", simple, at("t", 0, 99)))
		got, _ = c.Offset("g", "t", 0)
		require.EqualValues(t, 8, got.Offset)
		require.NoError(t, c.Close())
	})
}

func TestCommitMetadataSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := open(t, newMemStore())
		partition := int32(0)
		of := func(meta string) PartitionOffset {
			partition++
			return PartitionOffset{Topic: "t", Partition: partition, Offset: Offset{Metadata: meta}}
		}
		errs := commit(c, "g", simple, of(strings.Repeat("x", 4096)), of(strings.Repeat("x", 4097)), of(strings.Repeat("ä", 4096)),
			of(strings.Repeat("𝄞", 2048)), of(strings.Repeat("𝄞", 2049)))
		require.Equal(t, []*kerr.Error{nil, kerr.OffsetMetadataTooLarge, nil, nil, kerr.OffsetMetadataTooLarge}, errs)
		require.Equal(t, 3, len(c.Offsets("g")))
		require.NoError(t, c.Close())
	})
}

func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		c := open(t, store)
		ref := stable(t, c, "g")
		require.Equal(t, []*kerr.Error{nil}, commit(c, "g", ref, at("t", 0, 5)))
		require.Equal(t, []*kerr.Error{nil, nil}, commit(c, "g", ref, at("t", 0, 6), at("gone", 0, 6)))
		require.Equal(t, []*kerr.Error{nil}, commit(c, "simple", simple, at("t", 0, 7)))
		require.Equal(t, []*kerr.Error{nil}, commit(c, "", simple, at("t", 0, 8)), "there are clients without a group id")
		require.NoError(t, c.Close())

		time.Sleep(time.Minute)
		c = open(t, store, func(cfg *Config) { cfg.TopicExists = func(topic string) bool { return topic != "gone" } })
		require.Nil(t, c.Heartbeat("g", ref), "a member that comes back in time goes on")
		require.Equal(t, []*kerr.Error{nil}, commit(c, "g", ref, at("t", 1, 1)))
		s := <-startSync(c, "g", SyncRequest{MemberID: ref.MemberID, Generation: ref.Generation})
		require.Equal(t, "all", string(s.Assignment))
		require.Len(t, c.Offsets("g"), 2)
		got, _ := c.Offset("g", "t", 0)
		require.EqualValues(t, 6, got.Offset)
		got, _ = c.Offset("simple", "t", 0)
		require.EqualValues(t, 7, got.Offset)
		got, _ = c.Offset("", "t", 0)
		require.EqualValues(t, 8, got.Offset)
		require.Nil(t, remove(c, ""))
		require.ElementsMatch(t, []Listing{{"g", ClassicType, "consumer", "Stable"}, {"simple", ClassicType, "", "Empty"}}, c.List())
		time.Sleep(11 * time.Second)
		synctest.Wait()
		require.Equal(t, kerr.UnknownMemberID, c.Heartbeat("g", ref), "one that does not is evicted")
		require.NoError(t, c.Close())

		c = open(t, store)
		require.ElementsMatch(t, []Listing{{"g", ClassicType, "consumer", "Empty"}, {"simple", ClassicType, "", "Empty"}}, c.List())
		require.Nil(t, remove(c, "g"))
		require.NoError(t, c.Close())
		c = open(t, store)
		require.ElementsMatch(t, []Listing{{"simple", ClassicType, "", "Empty"}}, c.List())
		require.NoError(t, c.Close())
	})
}

// A commit that found its topic and comes behind the topic's deletion leaves no offset to the next topic of the name.
func TestCommitBehindADeletedTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone := false
		c := open(t, newMemStore(), func(cfg *Config) { cfg.TopicExists = func(topic string) bool { return !gone || topic != "t" } })
		require.Equal(t, []*kerr.Error{nil}, commit(c, "g", simple, at("t", 0, 5)))
		gone = true
		c.DropTopic("t")
		require.Equal(t, []*kerr.Error{kerr.UnknownTopicOrPartition, nil}, commit(c, "g", simple, at("t", 0, 6), at("other", 0, 1)))
		gone = false
		_, ok := c.Offset("g", "t", 0)
		require.False(t, ok)
		require.NoError(t, c.Close())
	})
}

func TestOpenRefusesCorruptMetadata(t *testing.T) {
	store := newMemStore()
	require.NoError(t, store.PutGroup("g", []byte{1, 2, 3, 4, 5, 6}))
	_, err := Open(Config{Settings: DefaultSettings(), Store: store})
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, `group "g"`)
	cfg := Config{Settings: DefaultSettings(), Store: store}
	cfg.MinSessionTimeout = 0
	_, err = Open(cfg)
	require.ErrorContains(t, err, "group.min.session.timeout.ms")
}

func TestRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		c := open(t, store)
		retention := DefaultSettings().OffsetsRetention
		ref := stable(t, c, "g")
		commit(c, "g", ref, at("t", 0, 1), at("other", 0, 1))
		commit(c, "simple", simple, at("t", 0, 1))
		// While the group has members, what they read stays; what they do not read goes after its commit.
		for end := time.Now().Add(retention + time.Hour); time.Now().Before(end); time.Sleep(9 * time.Second) {
			require.Nil(t, c.Heartbeat("g", ref))
		}
		require.Len(t, c.Offsets("g"), 1)
		require.NotContains(t, c.List(), Listing{Group: "simple"})
		require.Empty(t, store.offsets["simple"])
		// It counts from when the group became empty.
		_, err := c.Leave("g", []MemberRef{ref})
		require.Nil(t, err)
		time.Sleep(retention - time.Minute)
		require.Len(t, c.Offsets("g"), 1)
		time.Sleep(12 * time.Minute)
		synctest.Wait()
		require.Empty(t, c.List())
		require.Empty(t, store.meta)
		require.Empty(t, store.offsets)
		require.Empty(t, c.entries)
		require.NoError(t, c.Close())
	})
}

func TestDropTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		c := open(t, store)
		commit(c, "g", simple, at("t", 0, 1), at("t", 1, 1), at("kept", 0, 1))
		gate := make(chan struct{})
		store.set(func(s *memStore) { s.gate = gate })
		before := make(chan []*kerr.Error, 1)
		c.Commit("g", simple, []PartitionOffset{at("t", 2, 1)}, func(errs []*kerr.Error) { before <- errs })
		synctest.Wait()
		c.DropTopic("t")
		after := make(chan []*kerr.Error, 1)
		c.Commit("g", simple, []PartitionOffset{at("t", 0, 9)}, func(errs []*kerr.Error) { after <- errs })
		close(gate)
		<-before
		<-after
		got, ok := c.Offset("g", "t", 0)
		require.True(t, ok, "a commit after the topic was created again counts")
		require.EqualValues(t, 9, got.Offset)
		require.Len(t, c.Offsets("g"), 2)
		require.Len(t, store.offsets["g"], 2)
		require.NoError(t, c.Close())
	})
}

// A group that is deleted and used again at once: what was written before does not come back.
func TestDeleteAndUseAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		c := open(t, store)
		commit(c, "g", simple, at("t", 0, 1))
		gate := make(chan struct{})
		store.set(func(s *memStore) { s.gate = gate })
		done := make(chan struct{}, 3)
		c.Commit("g", simple, []PartitionOffset{at("t", 1, 1)}, func([]*kerr.Error) { done <- struct{}{} })
		synctest.Wait()
		c.Delete("g", func(err *kerr.Error) { require.Nil(t, err); done <- struct{}{} })
		require.Empty(t, c.List())
		c.Commit("g", simple, []PartitionOffset{at("t", 2, 1)}, func([]*kerr.Error) { done <- struct{}{} })
		close(gate)
		for range 3 {
			<-done
		}
		require.Len(t, c.Offsets("g"), 1)
		require.Len(t, store.offsets["g"], 1)
		require.NoError(t, c.Close())
	})
}

func TestFailedAssignmentStartsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMemStore()
		c := open(t, store)
		j := <-startJoin(c, "g", joinAs(""))
		store.set(func(s *memStore) { s.fail = true })
		s := <-startSync(c, "g", SyncRequest{MemberID: j.MemberID, Generation: 1, Assignments: []Assignment{{j.MemberID, []byte("all")}}})
		require.Equal(t, kerr.CoordinatorNotAvailable, s.Err)
		store.set(func(s *memStore) { s.fail = false })
		j = <-startJoin(c, "g", joinAs(j.MemberID))
		require.Nil(t, j.Err)
		require.EqualValues(t, 2, j.Generation)
		require.NoError(t, c.Close())
	})
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		c := open(t, newMemStore(), func(cfg *Config) { cfg.Metrics = reg })
		commit(c, "g", stable(t, c, "g"), at("t", 0, 1))
		golden, err := os.Open("testdata/metrics.txt")
		require.NoError(t, err)
		defer golden.Close()
		require.NoError(t, testutil.GatherAndCompare(reg, golden))
		require.NoError(t, c.Close())
	})
}

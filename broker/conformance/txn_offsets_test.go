package conformance_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// committed is a group's offset of partition 0, and its code; only stable ones, if asked so.
func committed(c *raw.Conn, group string, t raw.Topic, requireStable bool) (offset int64, code int16) {
	c.T.Helper()
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Version, req.RequireStable = 8, requireStable
	req.Groups = []kmsg.OffsetFetchRequestGroup{{Group: group, MemberEpoch: -1, Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: t.Name, Partitions: []int32{0}}}}}
	p := raw.Do[*kmsg.OffsetFetchResponse](c, req).Groups[0].Topics[0].Partitions[0]
	return p.Offset, p.ErrorCode
}

// Offsets of a transaction are not seen before it is committed, and are dropped when it is aborted (KIP-447).
func TestTxnOffsets(t *testing.T) {
	b := start(t)
	b.waitForCoordinator(t)
	c := b.Dial(t)
	tp, group := raw.CreateTopic(c, 1), raw.TopicName(t)
	p := b.transactor(t, raw.TopicName(t)).init()
	requireOffset := func(want int64) {
		t.Helper()
		raw.Eventually(t, func() bool {
			_, code := committed(c, group, tp, true)
			return code == 0
		})
		for _, requireStable := range []bool{false, true} {
			offset, code := committed(c, group, tp, requireStable)
			require.Zero(t, code)
			require.Equal(t, want, offset)
		}
	}
	requireOffset(-1)
	last := int64(-1)
	for version := range int16(6) {
		for _, commit := range []bool{false, true} {
			if version < 5 {
				raw.Eventually(t, func() bool { return p.tryAddOffsets(min(version, 4), group) == 0 })
			}
			offset := int64(version+1)*10 + map[bool]int64{true: 1}[commit]
			raw.Eventually(t, func() bool { return p.tryCommit(version, group, tp, 0, offset) == 0 })
			got, code := committed(c, group, tp, false)
			require.Zero(t, code)
			require.Equal(t, last, got, "v%d", version)
			got, code = committed(c, group, tp, true)
			require.Equal(t, int16(88), code)
			require.Equal(t, int64(-1), got)
			p.end(commit)
			if commit {
				last = offset
			}
			requireOffset(last)
		}
	}
}

// Everything that a group has, with one offset that is not stable.
func TestTxnOffsetsOfWholeGroup(t *testing.T) {
	b := start(t)
	b.waitForCoordinator(t)
	c := b.Dial(t)
	tp, group := raw.CreateTopic(c, 2), raw.TopicName(t)
	p := b.transactor(t, raw.TopicName(t)).init()
	for i := range int32(2) {
		require.Zero(t, p.tryCommit(5, group, tp, i, 5))
	}
	p.end(true)
	raw.Eventually(t, func() bool { o, _ := committed(c, group, tp, true); return o == 5 })
	require.Zero(t, p.tryCommit(5, group, tp, 0, 6))
	fetch := func(requireStable bool) map[int32][2]int64 {
		req := kmsg.NewPtrOffsetFetchRequest()
		req.Version, req.RequireStable = 8, requireStable
		req.Groups = []kmsg.OffsetFetchRequestGroup{{Group: group, MemberEpoch: -1}}
		got := map[int32][2]int64{}
		for _, x := range raw.Do[*kmsg.OffsetFetchResponse](c, req).Groups[0].Topics[0].Partitions {
			got[x.Partition] = [2]int64{x.Offset, int64(x.ErrorCode)}
		}
		return got
	}
	require.Equal(t, map[int32][2]int64{0: {5, 0}, 1: {5, 0}}, fetch(false))
	require.Equal(t, map[int32][2]int64{0: {-1, 88}, 1: {5, 0}}, fetch(true))
	p.end(false)
	raw.Eventually(t, func() bool { return fetch(true)[0] == [2]int64{5, 0} })
}

// The group has to be in the transaction, or comes in from v5 on.
func TestTxnOffsetsOutside(t *testing.T) {
	b := start(t)
	b.waitForCoordinator(t)
	c := b.Dial(t)
	tp, group := raw.CreateTopic(c, 1), raw.TopicName(t)
	p := b.transactor(t, raw.TopicName(t)).init()
	for v := range int16(5) {
		want := int16(48)
		if v == 4 {
			want = 120
		}
		require.Equal(t, want, p.tryCommit(v, group, tp, 0, 1), "v%d", v)
	}
	require.Equal(t, "Empty", describeTxn(c, p.txn).State)
	require.Zero(t, p.tryCommit(5, group, tp, 0, 1))
	require.Equal(t, "Ongoing", describeTxn(c, p.txn).State)
	require.Equal(t, int16(3), p.tryCommit(5, group, tp, 7, 1), "no such partition")
	require.Equal(t, int16(3), p.tryCommit(5, group, raw.Topic{Name: raw.TopicName(t)}, 0, 1), "no such topic")
	p.end(false)
}

// KIP-447: a commit is fenced by the consumer group, too.
func TestTxnOffsetsFencedByGroup(t *testing.T) {
	b := start(t)
	b.waitForCoordinator(t)
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1)
	m := b.Member(t, raw.TopicName(t), "instance").Stable()
	p := b.transactor(t, raw.TopicName(t)).init()
	commit := func(version int16, id, instance string, generation int32) int16 {
		req := p.commitRequest(version, m.Group, tp, 0, 1)
		req.MemberID, req.Generation = id, generation
		if instance != "" {
			req.InstanceID = &instance
		}
		return p.commitAs(req)
	}
	require.Zero(t, p.tryAddOffsets(4, m.Group))
	for version := int16(3); version <= 5; version++ {
		require.Equal(t, int16(22), commit(version, m.ID, "instance", m.Generation+1), "v%d: another generation", version)
		require.Equal(t, int16(22), commit(version, m.ID, "instance", m.Generation-1), "v%d", version)
		require.Equal(t, int16(25), commit(version, "stranger", "", m.Generation), "v%d: a stranger", version)
		require.Equal(t, int16(82), commit(version, "stranger", "instance", m.Generation), "v%d: an earlier self", version)
		require.Equal(t, int16(25), commit(version, m.ID, "other", m.Generation), "v%d: an instance that is not known", version)
		require.Zero(t, commit(version, m.ID, "instance", m.Generation), "v%d", version)
		require.Zero(t, commit(version, "", "", -1), "v%d: a client that names nobody", version)
		require.Zero(t, commit(version, m.ID, "", m.Generation), "v%d", version)
	}
	require.Zero(t, p.tryCommit(0, m.Group, tp, 0, 1), "nor can one of before v3")
	req := p.commitRequest(4, raw.TopicName(t), tp, 0, 1)
	req.MemberID, req.Generation = "x", 3
	require.Zero(t, p.tryAddOffsets(4, req.Group))
	require.Equal(t, int16(22), p.commitAs(req), "no such group")
	req.Group = ""
	require.NotZero(t, p.commitAs(req))
	p.end(true)
	raw.Eventually(t, func() bool { o, _ := committed(c, m.Group, tp, true); return o == 1 })
}

// The same for a group that the broker balances (KIP-848): its epoch is the generation, and an error that older clients do not know
// is told as one that they do.
func TestTxnOffsetsFencedByConsumerGroup(t *testing.T) {
	b := startGroups(t)
	tp := raw.CreateTopic(b.Dial(t), 1)
	m := b.consumer(t, owners{}, raw.TopicName(t), "m", tp.Name)
	m.join()
	until(t, func() bool { return len(m.owned) == 1 }, m)
	p := b.transactor(t, raw.TopicName(t)).init()
	require.Zero(t, p.tryAddOffsets(4, m.group))
	commit := func(version int16, id string, epoch int32) int16 {
		req := p.commitRequest(version, m.group, tp, 0, 1)
		req.MemberID, req.Generation = id, epoch
		return p.commitAs(req)
	}
	for version := int16(3); version <= 5; version++ {
		require.Zero(t, commit(version, "m", m.epoch))
		for _, epoch := range []int32{m.epoch - 1, m.epoch + 1, -1, 0} {
			require.Equal(t, int16(22), commit(version, "m", epoch), "v%d: epoch %d of %d", version, epoch, m.epoch)
		}
		require.Equal(t, int16(25), commit(version, "stranger", m.epoch))
		require.Equal(t, int16(25), commit(version, "stranger", -1))
		require.Equal(t, int16(25), commit(version, "", m.epoch))
		require.Zero(t, commit(version, "", -1), "v%d: a client that names nobody", version)
	}
	for version := range int16(3) {
		require.Zero(t, p.tryCommit(version, m.group, tp, 0, 1), "nor can one of before v3")
	}
	p.end(true)
	raw.Eventually(t, func() bool { o, _ := committed(m.Conn, m.group, tp, true); return o == 1 })
}

// Deleting a group's offset deletes what open transactions have for it, too: it does not come back with their commit.
func TestOffsetDeleteOfATransaction(t *testing.T) {
	b := startGroups(t)
	b.waitForCoordinator(t)
	c := b.Dial(t)
	tp, group := raw.CreateTopic(c, 2), raw.TopicName(t)
	p := b.transactor(t, raw.TopicName(t)).init()
	for i := range int32(2) {
		require.Zero(t, p.tryCommit(5, group, tp, i, 5+int64(i)))
	}
	_, code := committed(c, group, tp, true)
	require.Equal(t, int16(88), code)
	all, each := deleteOffsets(c, group, map[string][]int32{tp.Name: {0}})
	require.Zero(t, all)
	require.Equal(t, codes{tp.Name: {0: 0}}, each)
	offset, code := committed(c, group, tp, true)
	require.Zero(t, code, "nothing is going to change it")
	require.Equal(t, int64(-1), offset)
	p.end(true)
	m := b.Simple(t, group)
	raw.Eventually(t, func() bool { return m.Fetch(8, tp, 1)[0].Offset == 6 })
	offset, code = committed(c, group, tp, true)
	require.Zero(t, code)
	require.Equal(t, int64(-1), offset)
}

// A group without members is deleted with the offsets that open transactions have for it.
func TestDeleteGroupOfATransaction(t *testing.T) {
	b := startGroups(t)
	b.waitForCoordinator(t)
	c := b.Dial(t)
	tp, group := raw.CreateTopic(c, 1), raw.TopicName(t)
	p := b.transactor(t, raw.TopicName(t)).init()
	require.Zero(t, p.tryCommit(5, group, tp, 0, 5))
	req := kmsg.NewPtrDeleteGroupsRequest()
	req.Groups = []string{group}
	require.Zero(t, raw.Do[*kmsg.DeleteGroupsResponse](c, req).Groups[0].ErrorCode)
	offset, code := committed(c, group, tp, true)
	require.Zero(t, code)
	require.Equal(t, int64(-1), offset)
	p.end(true)
	offset, code = committed(c, group, tp, true)
	require.Zero(t, code)
	require.Equal(t, int64(-1), offset)
}

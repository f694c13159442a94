package state_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/keyframer/memlog"
	"github.com/keyframelog/keyframe/proto/digest"
	api "github.com/keyframelog/keyframe/proto/state"
)

func (n *node) resume(m *api.ResumeRequest) (*api.ResumeResponse, error) {
	m.Topic = topicName
	if m.Replica == "" {
		m.Replica = "r"
	}
	answer, err := n.client.Resume(context.Background(), connect.NewRequest(m))
	if err != nil {
		return nil, err
	}
	return answer.Msg, nil
}

func (n *node) renew(id []byte, position int64, release bool) error {
	_, err := n.client.RenewLease(context.Background(), connect.NewRequest(&api.RenewLeaseRequest{Topic: topicName, Id: id, Position: position, Release: release}))
	return err
}

// incarnation of partition 0, see spec.
func incarnation() []byte { return append([]byte{0, 1}, make([]byte, 14)...) }

func pointAt(offset int64, d digest.Digest) *api.Point {
	sum := d.Sum.Bytes()
	return &api.Point{Offset: offset, Count: d.Count, Sum: sum[:]}
}

// held is a request of a replica whose states are those given, newest first.
func held(at []model, offsets ...int64) *api.ResumeRequest {
	m := &api.ResumeRequest{Incarnation: incarnation(), LeaderEpoch: -1}
	for _, offset := range offsets {
		m.Points = append(m.Points, pointAt(offset, at[offset].digest()))
	}
	return m
}

// trimTo makes the keyframer trim all it can, and waits for the delta start offset of each partition, and for its table. It takes two seconds of the
// clock, however long it waits: a lease that is not revoked is held on.
func (n *node) trimTo(deltaStart int64, settings keyframer.Settings) {
	n.t.Helper()
	settings.DeltaRetentionMs = 0
	n.clock.ms.Add(2000)
	topic, ok := n.k.Topic(topicName)
	require.True(n.t, ok)
	require.NoError(n.t, n.k.Configure(topicName, settings))
	behind := func(p *keyframer.Partition) bool {
		tab, err := p.Table()
		require.NoError(n.t, err)
		return p.Bounds().DeltaStart < deltaStart || tab.Frames()[0].Cut < deltaStart
	}
	for late := time.After(time.Minute); ; {
		changed := topic.Changed()
		if !slices.ContainsFunc(topic.Partitions(), behind) {
			return
		}
		select {
		case <-changed:
		case <-late:
			require.Fail(n.t, "not trimmed", "to %d", deltaStart)
		}
	}
}

func TestResumeAnswers(t *testing.T) {
	n := newNode(t, 1, nil)
	got, err := n.resume(&api.ResumeRequest{LeaderEpoch: -1})
	require.NoError(t, err)
	require.Equal(t, api.Answer_ANSWER_CONTINUE, got.Answer, "nothing was ever cut: begin empty")
	require.Zero(t, got.From)
	require.Nil(t, got.Lease)

	at := changed(n, 100)
	n.cut()
	for i := int64(101); i <= 150; i++ {
		n.logs[0].Append(memlog.Put("later", fmt.Sprint(i)))
		m := at[i-1].clone()
		m["later"] = modelRow{fmt.Sprint(i), i - 1}
		at = append(at, m)
	}
	n.cut()
	drifted := at[100].clone()
	drifted["key1"] = modelRow{"other", 1}
	wrong := func(offset int64) *api.ResumeRequest {
		return &api.ResumeRequest{Incarnation: incarnation(), LeaderEpoch: -1, Points: []*api.Point{pointAt(offset, drifted.digest())}}
	}
	check := func(name string, m *api.ResumeRequest, answer api.Answer, why api.Reason, from, since, cut int64) *api.ResumeResponse {
		t.Helper()
		got, err := n.resume(m)
		require.NoError(t, err, name)
		require.Equal(t, answer, got.Answer, "%s: %s", name, got.Why)
		require.Equal(t, why, got.Reason, name)
		require.Equal(t, []int64{from, since}, []int64{got.From, got.Since}, name)
		require.NotEmpty(t, got.Why)
		if cut < 0 {
			require.Nil(t, got.Frame, name)
			require.Nil(t, got.Lease, name)
			return got
		}
		require.Equal(t, cut, got.Frame.Cut, name)
		require.Equal(t, cut, got.Lease.Cut, name)
		require.Equal(t, n.clock.ms.Load()+30_000, got.Lease.ExpiresMs)
		require.Len(t, got.Lease.Id, 16)
		return got
	}
	check("no state", &api.ResumeRequest{LeaderEpoch: -1}, api.Answer_ANSWER_FRAME, 0, 150, 0, 150)
	check("all in the log", held(at, 7), api.Answer_ANSWER_CONTINUE, 0, 7, 0, -1)
	check("at the end", held(at, 150, 100), api.Answer_ANSWER_CONTINUE, 0, 150, 0, -1)
	check("a verified point differs", &api.ResumeRequest{Incarnation: incarnation(), LeaderEpoch: -1,
		Points: []*api.Point{pointAt(120, drifted.digest()), pointAt(100, drifted.digest())}}, api.Answer_ANSWER_REPAIR, 0, 150, 120, 150)
	check("the newest common point decides", &api.ResumeRequest{Incarnation: incarnation(), LeaderEpoch: -1,
		Points: []*api.Point{pointAt(150, at[150].digest()), pointAt(100, drifted.digest())}}, api.Answer_ANSWER_CONTINUE, 0, 150, 0, -1)
	otherStart := wrong(100)
	otherStart.Points[0].Start = 3
	check("another log start is not comparable", otherStart, api.Answer_ANSWER_CONTINUE, 0, 100, 0, -1)
	check("differs at the cut", wrong(150), api.Answer_ANSWER_REPAIR, 0, 150, 150, 150)
	other := held(at, 7)
	other.Incarnation = make([]byte, 16)
	check("another incarnation", other, api.Answer_ANSWER_RESET, api.Reason_REASON_OTHER_INCARNATION, 150, 0, 150)
	future := held(at, 150)
	future.Points[0].Offset = 151
	check("the future", future, api.Answer_ANSWER_RESET, api.Reason_REASON_FUTURE_POSITION, 150, 0, 150)

	// Deltas below 100 go; then the tombstones below them.
	require.NoError(t, n.leases.DropTopic([16]byte{7}))
	n.logs[0].Append(memlog.Put("end", "x"))
	n.trimTo(100, calm())
	require.EqualValues(t, 150, n.logs[0].Bounds().DeltaStart)
	check("trimmed", held(at, 60), api.Answer_ANSWER_DELTA, 0, 150, 60, 150)
	from, since, _ := n.leases.Held([16]byte{7}, 0)
	require.Equal(t, []int64{150, 60}, []int64{from, since}, "what changed since is held")
	check("trimmed, and differs", wrong(100), api.Answer_ANSWER_DELTA, 0, 150, 100, 150) // no frame is left to compare with
	check("trimmed, to be repaired", withRepair(held(at, 60), 60), api.Answer_ANSWER_REPAIR, 0, 150, 60, 150)
	require.NoError(t, n.leases.DropTopic([16]byte{7}))
	expiring := calm()
	expiring.DeleteRetentionMs = 0
	require.Eventually(t, func() bool {
		n.clock.ms.Add(2000)
		_ = n.k.Configure(topicName, expiring)
		return partitionDescription(t, n).Horizon > 60
	}, time.Minute, time.Millisecond)
	check("below the horizon", held(at, 60), api.Answer_ANSWER_FRAME, 0, 150, 0, 150)
	check("below the horizon, to be repaired", withRepair(held(at, 60), 60), api.Answer_ANSWER_FRAME, 0, 150, 0, 150)
}

func withRepair(m *api.ResumeRequest, at int64) *api.ResumeRequest {
	m.RepairAt = &at
	return m
}

func partitionDescription(t *testing.T, n *node) *api.Partition {
	got, err := n.resume(&api.ResumeRequest{LeaderEpoch: -1, Replica: "looks"})
	require.NoError(t, err)
	if got.Lease != nil {
		require.NoError(t, n.renew(got.Lease.Id, -1, true))
	}
	return got.Partition
}

// A log that lost its end and went on otherwise is another log from there on.
func TestResumeDiverged(t *testing.T) {
	n := newNode(t, 1, nil)
	l := n.logs[0]
	l.SetEpoch(3)
	l.Append(memlog.Put("a", "1"), memlog.Put("b", "1"))
	l.SetEpoch(5)
	l.Append(memlog.Put("a", "2"), memlog.Put("b", "2"))
	at := []model{{}, {}, {}, {}, {}}
	for _, c := range []struct {
		epoch    int32
		position int64
		want     api.Answer
	}{
		{3, 2, api.Answer_ANSWER_CONTINUE}, {3, 3, api.Answer_ANSWER_RESET}, {4, 3, api.Answer_ANSWER_RESET}, {5, 4, api.Answer_ANSWER_CONTINUE},
		{6, 4, api.Answer_ANSWER_RESET}, {-1, 4, api.Answer_ANSWER_CONTINUE},
	} {
		m := held(at, c.position)
		m.LeaderEpoch = c.epoch
		got, err := n.resume(m)
		require.NoError(t, err)
		require.Equal(t, c.want, got.Answer, "%+v: %s", c, got.Why)
		if c.want == api.Answer_ANSWER_RESET {
			require.Equal(t, api.Reason_REASON_DIVERGED, got.Reason)
			require.Nil(t, got.Frame, "there is none")
		}
	}
}

// A repair gets a frame at or above the position: one that is there, or one that all share.
func TestRepairCutsOneFrame(t *testing.T) {
	n := newNode(t, 1, nil)
	at := changed(n, 100)
	n.cut()
	n.logs[0].Append(memlog.Put("later", "x"))
	at = append(at, at[100])
	_, err := n.resume(withRepair(held(at, 101), 102))
	_, why, _ := reason(t, err)
	require.Equal(t, api.Reason_REASON_ABOVE_LAST_STABLE, why)
	frames := n.folds("frame")
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			m := withRepair(held(at, 101), int64(101-i%2)) // at or above the position in any case
			m.Replica = fmt.Sprint("r", i)
			got, err := n.resume(m)
			if err != nil || got.Answer != api.Answer_ANSWER_REPAIR || got.Frame.Cut != 101 || got.Lease.From != 101 {
				t.Errorf("%v: %v", got, err)
			}
		})
	}
	all.Wait()
	require.Equal(t, frames+1, n.folds("frame"))
	got, err := n.resume(withRepair(held(at, 50), 60))
	require.NoError(t, err)
	require.EqualValues(t, 101, got.Frame.Cut)
	require.EqualValues(t, 50, got.Lease.From, "it follows the log up to the frame")
	require.Equal(t, frames+1, n.folds("frame"))
	cut, err := n.client.Cut(context.Background(), connect.NewRequest(&api.CutRequest{Topic: topicName, Partition: ptr(int32(0)), MinOffset: 101}))
	require.NoError(t, err)
	require.EqualValues(t, 101, cut.Msg.Frames[0].Cut)
	n.dispute(101)
	_, err = n.resume(withRepair(held(at, 50), 60))
	_, why, _ = reason(t, err)
	require.Equal(t, api.Reason_REASON_DISPUTED, why)
	naming := withRepair(held(at, 50), 60)
	naming.Naming = true
	got, err = n.resume(naming)
	require.NoError(t, err, "to tell what differs is none either")
	require.EqualValues(t, 101, got.Frame.Cut)
	require.True(t, got.Partition.Disputed)
	got, err = n.resume(held(at, 50))
	require.NoError(t, err, "to follow is no repair")
	require.True(t, got.Partition.Disputed, "who would load a frame in place of what he has must know")
	_, err = n.client.ClearDispute(context.Background(), connect.NewRequest(&api.ClearDisputeRequest{Topic: topicName}))
	require.NoError(t, err)
	got, err = n.resume(held(at, 50))
	require.NoError(t, err)
	require.False(t, got.Partition.Disputed)
}

// folds is how many folds ended with a result.
func (n *node) folds(result string) (count float64) {
	families, err := n.registry.Gather()
	require.NoError(n.t, err)
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == "keyframe_folds_total" && m.Label[0].GetValue() == result {
				count += m.GetCounter().GetValue()
			}
		}
	}
	return count
}

// blockReads is how many blocks of tables were read, by whom ever: Pebble's own statistics of a new table read a few.
func (n *node) blockReads() int64 {
	cache := n.pdb.Metrics().BlockCache
	return cache.Hits + cache.Misses
}

// After a restart 1,000 replicas come at once: nothing is folded, cut or read for them, what is kept of them is small, and the leases from before hold.
func TestManyResumeAfterARestart(t *testing.T) {
	n := newNode(t, 1, nil)
	at := changed(n, 1000)
	n.cut()
	before, err := n.resume(&api.ResumeRequest{LeaderEpoch: -1, Replica: "before"})
	require.NoError(t, err)
	n.logs[0].Append(memlog.Put("tail", "x"))
	require.NoError(t, n.k.Close())
	n.fold(1, calm())
	n.serve(n.config(nil))
	require.NoError(t, n.renew(before.Lease.Id, -1, false))
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	partition, err := n.k.Partition(topicName, 0)
	require.NoError(t, err)
	require.NoError(t, partition.WaitApplied(t.Context(), 1001))
	base, reads := heap(), n.blockReads()
	var all sync.WaitGroup
	for worker := range 50 {
		all.Go(func() {
			for i := range 20 {
				m, want := held(at, 1000, 500), api.Answer_ANSWER_CONTINUE
				if i%2 == 0 {
					m, want = &api.ResumeRequest{LeaderEpoch: -1}, api.Answer_ANSWER_FRAME
				}
				m.Replica = fmt.Sprint("r", worker*20+i)
				if got, err := n.resume(m); err != nil || got.Answer != want {
					t.Errorf("%v: %v", got, err)
				}
			}
		})
	}
	all.Wait()
	require.Len(t, n.leases.Leases(), 501)
	require.Less(t, heap()-base, int64(16<<20), "501 leases, and 50 connections")
	require.Less(t, n.blockReads()-reads, int64(500), "no table is read for any of the 1,000")
	require.Equal(t, []int64{1000}, framesOf(t, n))
	for _, result := range []string{"frame", "fold", "error"} {
		require.Zero(t, n.folds(result), result)
	}
}

func framesOf(t *testing.T, n *node) (cuts []int64) {
	p, err := n.k.Partition(topicName, 0)
	require.NoError(t, err)
	table, err := p.Table()
	require.NoError(t, err)
	for _, f := range table.Frames() {
		cuts = append(cuts, f.Cut)
	}
	return cuts
}

// manyPoints are of one state, at so many offsets.
func manyPoints(n int) *api.ResumeRequest {
	m := &api.ResumeRequest{LeaderEpoch: -1, Incarnation: incarnation()}
	for i := range n {
		m.Points = append(m.Points, pointAt(int64(n-i), digest.Digest{}))
	}
	return m
}

func TestResumeRefusals(t *testing.T) {
	n := newNode(t, 1, nil)
	at := changed(n, 10)
	for name, m := range map[string]*api.ResumeRequest{
		"a long name":              {Replica: strings.Repeat("x", 250)},
		"a terminal's name":        {Replica: "a\x1b[2J"},
		"an instance":              {Instance: []byte{1}},
		"an incarnation":           {Incarnation: []byte{1}, Points: held(at, 1).Points},
		"no position":              {Incarnation: incarnation()},
		"no incarnation":           {Points: held(at, 1).Points},
		"too many points":          manyPoints(17),
		"newest first":             held(at, 1, 2),
		"two points at one offset": held(at, 1, 1),
		"no sum":                   {Incarnation: incarnation(), Points: []*api.Point{{Offset: 1}}},
		"nothing to repair":        {RepairAt: ptr(int64(1))},
		"a negative offset":        {Incarnation: incarnation(), Points: []*api.Point{{Offset: -1, Sum: make([]byte, 32)}}},
	} {
		_, err := n.resume(m)
		require.Equal(t, connect.CodeInvalidArgument, connect.CodeOf(err), name)
	}
	_, err := n.resume(manyPoints(16))
	require.NoError(t, err)
	_, err = n.resume(&api.ResumeRequest{Partition: 7, LeaderEpoch: -1})
	_, why, _ := reason(t, err)
	require.Equal(t, api.Reason_REASON_UNKNOWN_PARTITION, why)
	settings := calm()
	settings.Paused = true
	require.NoError(t, n.k.Configure(topicName, settings))
	_, err = n.resume(&api.ResumeRequest{LeaderEpoch: -1})
	_, why, _ = reason(t, err)
	require.Equal(t, api.Reason_REASON_NOT_KEY_FRAMED, why)
}

package kafka_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/kafka"
	"github.com/keyframelog/keyframe/broker/raw"
)

// forever is longer than a connection of a test lives: whoever has an answer did not wait for so long.
const forever = 600_000

// TestFetchSessionGoesOnElsewhere: a request that waits is told that its session has gone on without it.
func TestFetchSessionGoesOnElsewhere(t *testing.T) {
	b := startOwn(t, options{})
	c, other := b.Dial(t), b.Dial(t)
	tp := raw.CreateTopic(c, 1)
	s, _ := raw.BeginSession(c, 12, tp, 0, 0)
	req := s.Request()
	req.MaxWaitMillis = forever
	c.Send(req)
	s.C, s.Epoch = other, s.Epoch+1
	require.Eventually(t, func() bool { // c's request is there
		resp := raw.Do[*kmsg.FetchResponse](other, s.Request())
		if resp.ErrorCode == 0 {
			s.Epoch++
		}
		return resp.ErrorCode == 0
	}, time.Minute, time.Millisecond)
	resp, _ := c.Receive(req)
	require.Equal(t, int16(71), resp.(*kmsg.FetchResponse).ErrorCode)
	require.Equal(t, s.ID, resp.(*kmsg.FetchResponse).SessionID)
	s.Fetch(nil)
}

// TestFetchSessionSlots: a full cache gives a new client none, unless a session was idle for long, or is smaller and not young.
func TestFetchSessionSlots(t *testing.T) {
	now := &clock{at: time.Now()}
	c := startOwn(t, options{kafka: func(cfg *kafka.Config) { cfg.FetchSessions, cfg.Now = 2, now.now }}).Dial(t)
	tp := raw.CreateTopic(c, 3)
	begin := func(partitions ...int32) int32 {
		req := raw.FetchFrom(tp, 0, 12)
		req.SessionEpoch = 0
		req.Topics[0].Partitions = nil
		for _, p := range partitions {
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, raw.FetchPartition(p, 0))
		}
		resp := raw.Do[*kmsg.FetchResponse](c, req)
		require.Zero(t, resp.ErrorCode)
		require.Equal(t, partitions, raw.PartitionsIn(resp))
		return resp.SessionID
	}
	small := &raw.Session{C: c, Version: 12, ID: begin(0), Epoch: 1}
	large := &raw.Session{C: c, Version: 12, ID: begin(0, 1), Epoch: 1}
	alive := func(s *raw.Session) bool {
		code := raw.Do[*kmsg.FetchResponse](c, s.Request()).ErrorCode
		if code == 0 {
			s.Epoch++
		}
		return code == 0
	}
	require.Zero(t, begin(0, 1, 2), "both are young")
	now.add(2*time.Minute + time.Second)
	require.True(t, alive(small))
	require.True(t, alive(large))
	require.Zero(t, begin(1), "no larger than the smallest")
	third := &raw.Session{C: c, Version: 12, ID: begin(1, 2), Epoch: 1}
	require.NotZero(t, third.ID)
	require.False(t, alive(small))
	require.True(t, alive(large))
	now.add(time.Minute)
	require.True(t, alive(third))
	now.add(time.Minute + time.Second)
	require.NotZero(t, begin(0), "large was not used for two minutes")
	require.False(t, alive(large))
	require.True(t, alive(third))
}

// TestFetchSessionMemory: sessions of many partitions are as many as there is memory for.
func TestFetchSessionMemory(t *testing.T) {
	const partitions = 100
	c := startOwn(t, options{kafka: func(cfg *kafka.Config) { cfg.FetchSessionBytes = 3 * partitions * 400 }}).Dial(t)
	tp := raw.CreateTopic(c, partitions)
	req := raw.FetchFrom(tp, 0, 12)
	req.SessionEpoch = 0
	req.Topics[0].Partitions = nil
	for p := range int32(partitions) {
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, raw.FetchPartition(p, 0))
	}
	begun := 0
	for range 10 {
		if raw.Do[*kmsg.FetchResponse](c, req).SessionID != 0 {
			begun++
		}
	}
	require.Equal(t, 3, begun)
	// One that grows beyond it ends.
	req.Topics[0].Partitions = req.Topics[0].Partitions[:1]
	small := raw.Do[*kmsg.FetchResponse](c, req)
	require.NotZero(t, small.SessionID)
	s := &raw.Session{C: c, Version: 12, ID: small.SessionID, Epoch: 1}
	grown := s.Request()
	for p := range int32(partitions) {
		raw.At(tp, p, 0)(grown)
	}
	require.Equal(t, int16(70), raw.Do[*kmsg.FetchResponse](c, grown).ErrorCode)
	require.Equal(t, int16(70), raw.Do[*kmsg.FetchResponse](c, s.Request()).ErrorCode)
}

// clock is a time that a test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// TestFetchSessionServesWhoWaitsFirst: partitions that had no room come before those that were served, also while all of them grow and
// so have news each time.
func TestFetchSessionServesWhoWaitsFirst(t *testing.T) {
	c := startOwn(t, options{}).Dial(t)
	const n = 4
	tp := raw.CreateTopic(c, n)
	s, _ := raw.BeginSession(c, 12, tp, 0, 0, 1, 2, 3)
	seen := map[int32]int{}
	for range 2 * n {
		for p := range int32(n) {
			raw.ProduceAs(c, raw.ProduceTo(tp, p, 9, raw.Seal(raw.NewBatch(raw.KV("a", string(make([]byte, 10_000)))))))
		}
		for _, p := range s.Fetch(func(req *kmsg.FetchRequest) { req.MaxBytes = 1 }).Topics[0].Partitions {
			if len(p.RecordBatches) > 0 {
				seen[p.Partition]++
			}
		}
	}
	require.Equal(t, map[int32]int{0: 2, 1: 2, 2: 2, 3: 2}, seen)
}

// TestFetchSessionOfAnotherIsolation: what a reader of committed records has not seen, another one has to see in the same session.
func TestFetchSessionOfAnotherIsolation(t *testing.T) {
	b := startOwn(t, options{})
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1)
	b.txns(t, tp.Name).put(7, raw.KV("a", "1"))
	req := committedFrom(tp, 0)
	req.SessionEpoch = 0
	full := raw.Do[*kmsg.FetchResponse](c, req)
	require.Empty(t, full.Topics[0].Partitions[0].RecordBatches, "the transaction is open")
	s := &raw.Session{C: c, Version: 12, ID: full.SessionID, Epoch: 1}
	committed := func(req *kmsg.FetchRequest) { req.IsolationLevel = 1 }
	require.Empty(t, s.Fetch(committed).Topics)
	require.Equal(t, []int32{0}, raw.PartitionsIn(s.Fetch(nil)))
	require.Empty(t, s.Fetch(committed).Topics)
}

// TestFetchSessionIsWokenByTheMarker: the end of a transaction ends the wait of a reader of committed records.
func TestFetchSessionIsWokenByTheMarker(t *testing.T) {
	b := startOwn(t, options{})
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1)
	x := b.txns(t, tp.Name)
	x.put(7, raw.KV("a", "1"))
	req := committedFrom(tp, 0)
	req.SessionEpoch = 0
	s := &raw.Session{C: c, Version: 12, ID: raw.Do[*kmsg.FetchResponse](c, req).SessionID, Epoch: 1}
	committed := func(req *kmsg.FetchRequest) { req.IsolationLevel = 1 }
	require.Empty(t, s.Fetch(committed).Topics)
	waiting := s.Request()
	committed(waiting)
	waiting.MaxWaitMillis = forever
	c.Send(waiting)
	x.end(7, true)
	resp, _ := c.Receive(waiting)
	require.Len(t, raw.BatchesOf(c, resp.(*kmsg.FetchResponse).Topics[0].Partitions[0].RecordBatches), 2)
}

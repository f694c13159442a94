package kafka_test

import (
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/kafka"
)

// session is the client's side of a fetch session.
type session struct {
	c       *conn
	version int16
	id      int32
	epoch   int32
}

// beginSession fetches all of the topic's partitions from the offset on, and expects a session.
func beginSession(c *conn, version int16, tp topic, offset int64, partitions ...int32) (*session, *kmsg.FetchResponse) {
	c.t.Helper()
	req := fetchFrom(tp, offset, version)
	req.SessionEpoch = 0
	req.Topics[0].Partitions = nil
	for _, p := range partitions {
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, fetchPartition(p, offset))
	}
	resp := do[*kmsg.FetchResponse](c, req)
	require.Zero(c.t, resp.ErrorCode)
	require.Positive(c.t, resp.SessionID)
	return &session{c: c, version: version, id: resp.SessionID, epoch: 1}, resp
}

// request is the session's next one, without any change.
func (s *session) request() *kmsg.FetchRequest {
	req := fetchFrom(topic{}, 0, s.version)
	req.Topics, req.SessionID, req.SessionEpoch = nil, s.id, s.epoch
	return req
}

// fetch sends the session's next request, after a change to it.
func (s *session) fetch(change func(*kmsg.FetchRequest)) *kmsg.FetchResponse {
	s.c.t.Helper()
	req := s.request()
	if change != nil {
		change(req)
	}
	resp := do[*kmsg.FetchResponse](s.c, req)
	require.Zero(s.c.t, resp.ErrorCode)
	s.epoch++
	return resp
}

// at asks for a partition at an offset.
func at(tp topic, partition int32, offset int64) func(*kmsg.FetchRequest) {
	return func(req *kmsg.FetchRequest) {
		req.Topics = append(req.Topics, kmsg.FetchRequestTopic{Topic: tp.name, TopicID: tp.id,
			Partitions: []kmsg.FetchRequestTopicPartition{fetchPartition(partition, offset)}})
	}
}

// partitionsIn returns the partitions of a response in its order.
func partitionsIn(resp *kmsg.FetchResponse) (indexes []int32) {
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			indexes = append(indexes, p.Partition)
		}
	}
	return indexes
}

// TestFetchSessionGoesOnElsewhere: a request that waits is told that its session has gone on without it.
func TestFetchSessionGoesOnElsewhere(t *testing.T) {
	b := startOwn(t, options{})
	c, other := b.dial(t), b.dial(t)
	tp := createTopic(c, 1)
	s, _ := beginSession(c, 12, tp, 0, 0)
	req := s.request()
	req.MaxWaitMillis = 30_000
	c.send(req)
	s.c, s.epoch = other, s.epoch+1
	require.Eventually(t, func() bool { // c's request is there
		resp := do[*kmsg.FetchResponse](other, s.request())
		if resp.ErrorCode == 0 {
			s.epoch++
		}
		return resp.ErrorCode == 0
	}, 10*time.Second, time.Millisecond)
	started := time.Now()
	resp, _ := c.receive(req)
	require.Less(t, time.Since(started), 10*time.Second)
	require.Equal(t, int16(71), resp.(*kmsg.FetchResponse).ErrorCode)
	require.Equal(t, s.id, resp.(*kmsg.FetchResponse).SessionID)
	s.fetch(nil)
}

// TestFetchSessionSlots: a full cache gives a new client none, unless a session was idle for long, or is smaller and not young.
func TestFetchSessionSlots(t *testing.T) {
	now := &clock{at: time.Now()}
	c := startOwn(t, options{kafka: func(cfg *kafka.Config) { cfg.FetchSessions, cfg.Now = 2, now.now }}).dial(t)
	tp := createTopic(c, 3)
	begin := func(partitions ...int32) int32 {
		req := fetchFrom(tp, 0, 12)
		req.SessionEpoch = 0
		req.Topics[0].Partitions = nil
		for _, p := range partitions {
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, fetchPartition(p, 0))
		}
		resp := do[*kmsg.FetchResponse](c, req)
		require.Zero(t, resp.ErrorCode)
		require.Equal(t, partitions, partitionsIn(resp))
		return resp.SessionID
	}
	small := &session{c: c, version: 12, id: begin(0), epoch: 1}
	large := &session{c: c, version: 12, id: begin(0, 1), epoch: 1}
	alive := func(s *session) bool {
		code := do[*kmsg.FetchResponse](c, s.request()).ErrorCode
		if code == 0 {
			s.epoch++
		}
		return code == 0
	}
	require.Zero(t, begin(0, 1, 2), "both are young")
	now.add(2*time.Minute + time.Second)
	require.True(t, alive(small))
	require.True(t, alive(large))
	require.Zero(t, begin(1), "no larger than the smallest")
	third := &session{c: c, version: 12, id: begin(1, 2), epoch: 1}
	require.NotZero(t, third.id)
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
	c := startOwn(t, options{kafka: func(cfg *kafka.Config) { cfg.FetchSessionBytes = 3 * partitions * 400 }}).dial(t)
	tp := createTopic(c, partitions)
	req := fetchFrom(tp, 0, 12)
	req.SessionEpoch = 0
	req.Topics[0].Partitions = nil
	for p := range int32(partitions) {
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, fetchPartition(p, 0))
	}
	begun := 0
	for range 10 {
		if do[*kmsg.FetchResponse](c, req).SessionID != 0 {
			begun++
		}
	}
	require.Equal(t, 3, begun)
	// One that grows beyond it ends.
	req.Topics[0].Partitions = req.Topics[0].Partitions[:1]
	small := do[*kmsg.FetchResponse](c, req)
	require.NotZero(t, small.SessionID)
	s := &session{c: c, version: 12, id: small.SessionID, epoch: 1}
	grown := s.request()
	for p := range int32(partitions) {
		at(tp, p, 0)(grown)
	}
	require.Equal(t, int16(70), do[*kmsg.FetchResponse](c, grown).ErrorCode)
	require.Equal(t, int16(70), do[*kmsg.FetchResponse](c, s.request()).ErrorCode)
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
	c := startOwn(t, options{}).dial(t)
	const n = 4
	tp := createTopic(c, n)
	s, _ := beginSession(c, 12, tp, 0, 0, 1, 2, 3)
	seen := map[int32]int{}
	for range 2 * n {
		for p := range int32(n) {
			produceAs(c, produceTo(tp, p, 9, seal(newBatch(kv("a", string(make([]byte, 10_000)))))))
		}
		for _, p := range s.fetch(func(req *kmsg.FetchRequest) { req.MaxBytes = 1 }).Topics[0].Partitions {
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
	c := b.dial(t)
	tp := createTopic(c, 1)
	b.txns(t, tp.name).put(7, kv("a", "1"))
	req := committedFrom(tp, 0)
	req.SessionEpoch = 0
	full := do[*kmsg.FetchResponse](c, req)
	require.Empty(t, full.Topics[0].Partitions[0].RecordBatches, "the transaction is open")
	s := &session{c: c, version: 12, id: full.SessionID, epoch: 1}
	committed := func(req *kmsg.FetchRequest) { req.IsolationLevel = 1 }
	require.Empty(t, s.fetch(committed).Topics)
	require.Equal(t, []int32{0}, partitionsIn(s.fetch(nil)))
	require.Empty(t, s.fetch(committed).Topics)
}

// TestFetchSessionIsWokenByTheMarker: the end of a transaction ends the wait of a reader of committed records.
func TestFetchSessionIsWokenByTheMarker(t *testing.T) {
	b := startOwn(t, options{})
	c := b.dial(t)
	tp := createTopic(c, 1)
	x := b.txns(t, tp.name)
	x.put(7, kv("a", "1"))
	req := committedFrom(tp, 0)
	req.SessionEpoch = 0
	s := &session{c: c, version: 12, id: do[*kmsg.FetchResponse](c, req).SessionID, epoch: 1}
	committed := func(req *kmsg.FetchRequest) { req.IsolationLevel = 1 }
	require.Empty(t, s.fetch(committed).Topics)
	waiting := s.request()
	committed(waiting)
	waiting.MaxWaitMillis = 30_000
	c.send(waiting)
	started := time.Now()
	x.end(7, true)
	resp, _ := c.receive(waiting)
	require.Less(t, time.Since(started), 10*time.Second)
	require.Len(t, batchesOf(c, resp.(*kmsg.FetchResponse).Topics[0].Partitions[0].RecordBatches), 2)
}

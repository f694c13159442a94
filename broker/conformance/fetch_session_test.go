package conformance_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
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

func forget(tp topic, partitions ...int32) func(*kmsg.FetchRequest) {
	return func(req *kmsg.FetchRequest) {
		req.ForgottenTopics = append(req.ForgottenTopics, kmsg.FetchRequestForgottenTopic{Topic: tp.name, TopicID: tp.id, Partitions: partitions})
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

// eachSessionVersion runs a test with topics by name and by id.
func eachSessionVersion(t *testing.T, test func(t *testing.T, c *conn, version int16)) {
	for _, version := range []int16{7, 12, 13, 18} {
		c := start(t).dial(t)
		t.Run("v"+string(rune('0'+version/10))+string(rune('0'+version%10)), func(t *testing.T) {
			c.t = t
			test(t, c, version)
		})
	}
}

func produceOn(c *conn, tp topic, partition int32, records ...testRecord) {
	c.t.Helper()
	p := produceAs(c, produceTo(tp, partition, 9, seal(newBatch(records...))))
	requireCode(c.t, 0, p.ErrorCode, p.ErrorMessage)
}

// TestFetchSessionTellsOnlyWhatChanged: a full answer, then nothing, then the partition that has news.
func TestFetchSessionTellsOnlyWhatChanged(t *testing.T) {
	eachSessionVersion(t, func(t *testing.T, c *conn, version int16) {
		tp := createTopic(c, 3)
		s, full := beginSession(c, version, tp, 0, 0, 1, 2)
		require.ElementsMatch(t, []int32{0, 1, 2}, partitionsIn(full))
		for range 2 {
			resp := s.fetch(nil)
			require.Empty(t, resp.Topics)
			require.Equal(t, s.id, resp.SessionID)
		}
		produceOn(c, tp, 1, kv("a", "1"))
		for range 2 { // as long as the client does not ask for what comes after
			resp := s.fetch(nil)
			require.Equal(t, []int32{1}, partitionsIn(resp))
			require.Equal(t, int64(1), resp.Topics[0].Partitions[0].HighWatermark)
			require.Len(t, batchesOf(c, resp.Topics[0].Partitions[0].RecordBatches), 1)
		}
		require.Empty(t, s.fetch(at(tp, 1, 1)).Topics)
		require.Equal(t, []int32{1}, partitionsIn(s.fetch(at(tp, 1, 0))), "back again")
	})
}

// TestFetchSessionTellsBoundsAndErrors: of a partition without records in the answer, too.
func TestFetchSessionTellsBoundsAndErrors(t *testing.T) {
	eachSessionVersion(t, func(t *testing.T, c *conn, version int16) {
		tp := createTopic(c, 2)
		s, _ := beginSession(c, version, tp, 0, 0, 1)
		produceOn(c, tp, 0, kv("a", "1"))
		resp := s.fetch(at(tp, 0, 1)) // the client knows the offset from elsewhere
		require.Equal(t, []int32{0}, partitionsIn(resp))
		require.Empty(t, resp.Topics[0].Partitions[0].RecordBatches)
		require.Equal(t, int64(1), resp.Topics[0].Partitions[0].HighWatermark)
		require.Empty(t, s.fetch(nil).Topics)

		for range 2 {
			resp = s.fetch(at(tp, 1, 77))
			require.Equal(t, []int32{1}, partitionsIn(resp))
			require.Equal(t, int16(1), resp.Topics[0].Partitions[0].ErrorCode)
		}
		resp = s.fetch(at(tp, 1, 0))
		require.Equal(t, []int32{1}, partitionsIn(resp), "that the error is over is news")
		require.Zero(t, resp.Topics[0].Partitions[0].ErrorCode)
		require.Empty(t, s.fetch(nil).Topics)
	})
}

func TestFetchSessionForgetsTopics(t *testing.T) {
	eachSessionVersion(t, func(t *testing.T, c *conn, version int16) {
		tp := createTopic(c, 2)
		s, _ := beginSession(c, version, tp, 0, 0, 1)
		require.Empty(t, s.fetch(forget(tp, 0)).Topics)
		produceOn(c, tp, 0, kv("a", "1"))
		require.Empty(t, s.fetch(nil).Topics)
		require.Equal(t, []int32{0}, partitionsIn(s.fetch(at(tp, 0, 0))), "added again")
		require.Equal(t, []int32{0}, partitionsIn(s.fetch(nil)))

		resp := s.fetch(forget(tp, 0, 1))
		require.Zero(t, resp.SessionID, "a session of nothing is none")
		require.Empty(t, resp.Topics)
		require.Equal(t, int16(70), do[*kmsg.FetchResponse](c, s.request()).ErrorCode)
	})
}

func TestFetchSessionEpochs(t *testing.T) {
	eachSessionVersion(t, func(t *testing.T, c *conn, version int16) {
		tp := createTopic(c, 1)
		s, _ := beginSession(c, version, tp, 0, 0)
		for _, wrong := range []int32{2, 77, math.MaxInt32, -2} {
			req := s.request()
			req.SessionEpoch = wrong
			resp := do[*kmsg.FetchResponse](c, req)
			require.Equal(t, int16(71), resp.ErrorCode)
			require.Zero(t, resp.SessionID)
			require.Empty(t, resp.Topics)
		}
		s.fetch(nil)
		req := s.request()
		req.SessionEpoch-- // sent twice
		require.Equal(t, int16(71), do[*kmsg.FetchResponse](c, req).ErrorCode)
		s.fetch(nil)

		req = s.request()
		req.SessionID ^= 1
		require.Equal(t, int16(70), do[*kmsg.FetchResponse](c, req).ErrorCode)
	})
}

// TestFetchSessionEnds with the final epoch, and with another full fetch.
func TestFetchSessionEnds(t *testing.T) {
	eachSessionVersion(t, func(t *testing.T, c *conn, version int16) {
		tp := createTopic(c, 1)
		s, _ := beginSession(c, version, tp, 0, 0)
		req := s.request()
		req.SessionEpoch = -1
		at(tp, 0, 0)(req)
		resp := do[*kmsg.FetchResponse](c, req)
		require.Zero(t, resp.ErrorCode)
		require.Zero(t, resp.SessionID)
		require.Equal(t, []int32{0}, partitionsIn(resp))
		require.Equal(t, int16(70), do[*kmsg.FetchResponse](c, s.request()).ErrorCode)

		s, _ = beginSession(c, version, tp, 0, 0)
		req = s.request()
		req.SessionEpoch = 0
		at(tp, 0, 0)(req)
		resp = do[*kmsg.FetchResponse](c, req)
		require.Positive(t, resp.SessionID)
		require.NotEqual(t, s.id, resp.SessionID)
		require.Equal(t, int16(70), do[*kmsg.FetchResponse](c, s.request()).ErrorCode)
	})
}

// TestFetchSessionOutlivesItsConnection: whoever knows id and epoch goes on with it.
func TestFetchSessionOutlivesItsConnection(t *testing.T) {
	b := start(t)
	c := b.dial(t)
	tp := createTopic(c, 1)
	s, _ := beginSession(c, 12, tp, 0, 0)
	require.NoError(t, c.Close())
	s.c = b.dial(t)
	require.Empty(t, s.fetch(nil).Topics)
	mustProduce(s.c, tp, kv("a", "1"))
	require.Equal(t, []int32{0}, partitionsIn(s.fetch(nil)))
}

// TestFetchSessionKeepsToItsKindOfTopics: names or ids.
func TestFetchSessionKeepsToItsKindOfTopics(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1)
	for version, other := range map[int16]int16{12: 13, 13: 12, 18: 7} {
		s, _ := beginSession(c, version, tp, 0, 0)
		req := s.request()
		req.Version = other
		resp := do[*kmsg.FetchResponse](c, req)
		require.Equal(t, int16(106), resp.ErrorCode)
		require.Zero(t, resp.SessionID)
		s.fetch(nil)
	}
}

// TestFetchSessionOfATopicThatIsReplaced: by name the session goes on with the new one, by id it does not.
func TestFetchSessionOfATopicThatIsReplaced(t *testing.T) {
	for version, codes := range map[int16][2]int16{12: {3, 0}, 18: {3, 103}} {
		c := start(t).dial(t)
		tp := createTopic(c, 1)
		s, _ := beginSession(c, version, tp, 0, 0)
		s.fetch(nil)
		deleteTopic(c, tp)
		for range 2 {
			require.Equal(t, codes[0], firstCode(s.fetch(nil)), "v%d", version)
		}
		createNamed(c, tp.name, 1)
		require.Eventually(t, func() bool { return firstCode(s.fetch(nil)) == codes[1] }, 10*time.Second, time.Millisecond, "v%d", version)
		if codes[1] == 0 {
			require.Empty(t, s.fetch(nil).Topics)
		} else {
			require.Equal(t, codes[1], firstCode(s.fetch(nil)))
		}
	}
}

// TestFetchSessionOfUnknownTopics: they are told each time, until they are there.
func TestFetchSessionOfUnknownTopics(t *testing.T) {
	c := start(t).dial(t)
	known := createTopic(c, 1)
	for version, code := range map[int16]int16{12: 3, 18: 100} {
		tp := topic{name: topicName(t), id: [16]byte{1, 2, byte(version), 14: 3}}
		s, full := beginSession(c, version, tp, 0, 0)
		require.Equal(t, code, firstCode(full))
		for range 2 {
			require.Equal(t, code, firstCode(s.fetch(nil)))
		}
		s.fetch(at(known, 0, 0))
		if version == 12 {
			createNamed(c, tp.name, 1)
			require.Eventually(t, func() bool { return firstCode(s.fetch(nil)) == 0 }, 10*time.Second, time.Millisecond)
			require.Empty(t, s.fetch(nil).Topics)
		}
	}
}

func firstCode(resp *kmsg.FetchResponse) int16 {
	if len(resp.Topics) == 0 {
		return 0
	}
	return resp.Topics[0].Partitions[0].ErrorCode
}

func deleteTopic(c *conn, tp topic) {
	c.t.Helper()
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version, req.TimeoutMillis, req.TopicNames = 5, 10_000, []string{tp.name}
	require.Zero(c.t, do[*kmsg.DeleteTopicsResponse](c, req).Topics[0].ErrorCode)
	require.Eventually(c.t, func() bool { return describe(c, tp.name).ErrorCode == 3 }, 10*time.Second, time.Millisecond)
}

// TestFetchSessionWakes: what comes while a request waits ends its wait, whichever partition it is for.
func TestFetchSessionWakes(t *testing.T) {
	b := start(t)
	c, producer := b.dial(t), b.dial(t)
	tp := createTopic(c, 3)
	s, _ := beginSession(c, 12, tp, 0, 0, 1, 2)
	s.fetch(nil) // all of them are idle now
	for p := range int32(3) {
		req := s.request()
		req.MaxWaitMillis = 30_000
		c.send(req)
		started := time.Now()
		produceOn(producer, tp, p, kv("a", "1"))
		resp, _ := c.receive(req)
		require.Less(t, time.Since(started), 10*time.Second)
		require.Equal(t, []int32{p}, partitionsIn(resp.(*kmsg.FetchResponse)))
		s.epoch++
		s.fetch(at(tp, p, 1))
	}
	req := s.request()
	req.MaxWaitMillis = 30_000
	c.send(req)
	started := time.Now()
	deleteTopic(producer, tp)
	resp, _ := c.receive(req)
	require.Less(t, time.Since(started), 10*time.Second)
	require.NotZero(t, firstCode(resp.(*kmsg.FetchResponse)))
}

// TestFetchSessionWaitsForMinBytes over all of its partitions.
func TestFetchSessionWaitsForMinBytes(t *testing.T) {
	b := start(t)
	c, producer := b.dial(t), b.dial(t)
	tp := createTopic(c, 2)
	s, _ := beginSession(c, 12, tp, 0, 0, 1)
	s.fetch(nil)
	req := s.request()
	req.MaxWaitMillis, req.MinBytes = 30_000, 20_000
	c.send(req)
	big := kv("a", string(make([]byte, 15_000)))
	produceOn(producer, tp, 0, big)
	produceOn(producer, tp, 1, big)
	started := time.Now()
	resp, _ := c.receive(req)
	require.Less(t, time.Since(started), 10*time.Second)
	require.ElementsMatch(t, []int32{0, 1}, partitionsIn(resp.(*kmsg.FetchResponse)))
}

// TestFetchSessionRotates: with room for one partition in a response, each has its turn.
func TestFetchSessionRotates(t *testing.T) {
	eachSessionVersion(t, func(t *testing.T, c *conn, version int16) {
		const n = 4
		tp := createTopic(c, n)
		s, _ := beginSession(c, version, tp, 0, 0, 1, 2, 3)
		for p := range int32(n) {
			produceOn(c, tp, p, kv("a", string(make([]byte, 10_000))))
		}
		s.fetch(func(req *kmsg.FetchRequest) { req.MaxBytes = 1 }) // the high watermarks are told
		seen := map[int32]int{}
		for range 2 * n {
			resp := s.fetch(func(req *kmsg.FetchRequest) { req.MaxBytes = 1 })
			require.Len(t, partitionsIn(resp), 1)
			seen[partitionsIn(resp)[0]]++
		}
		require.Equal(t, map[int32]int{0: 2, 1: 2, 2: 2, 3: 2}, seen)
	})
}

// TestFetchSessionIsolation: another isolation level sees another end, so that every partition is looked at again.
func TestFetchSessionIsolation(t *testing.T) {
	c := start(t).dial(t)
	tp := createTopic(c, 1)
	s, _ := beginSession(c, 12, tp, 0, 0)
	committed := func(req *kmsg.FetchRequest) { req.IsolationLevel = 1 }
	require.Empty(t, s.fetch(committed).Topics)
	mustProduce(c, tp, kv("a", "1"))
	require.Equal(t, []int32{0}, partitionsIn(s.fetch(committed)))
	require.Equal(t, []int32{0}, partitionsIn(s.fetch(nil)))
}

// TestFetchSessionTellsTheLogStart although there is nothing else to tell; and whoever asks for what was deleted is told: 1.
func TestFetchSessionTellsTheLogStart(t *testing.T) {
	eachSessionVersion(t, func(t *testing.T, c *conn, version int16) {
		tp := createTopic(c, 1)
		for range 3 {
			mustProduce(c, tp, kv("a", "1"))
		}
		s, _ := beginSession(c, version, tp, 3, 0)
		require.Empty(t, s.fetch(nil).Topics)
		requireDeleted(c, 0, 2, deleteRecords(c, 2, tp, 0, 2))
		resp := s.fetch(nil)
		require.Equal(t, []int32{0}, partitionsIn(resp))
		require.Equal(t, int64(2), resp.Topics[0].Partitions[0].LogStartOffset)
		require.Empty(t, s.fetch(nil).Topics)
		require.Equal(t, int16(1), firstCode(s.fetch(at(tp, 0, 1))))
		require.Equal(t, []int32{0}, partitionsIn(s.fetch(at(tp, 0, 2))))
	})
}

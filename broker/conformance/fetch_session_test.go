package conformance_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/raw"
)

// eachSessionVersion runs a test with topics by name and by id.
func eachSessionVersion(t *testing.T, test func(t *testing.T, c *raw.Conn, version int16)) {
	for _, version := range []int16{7, 12, 13, 18} {
		c := start(t).Dial(t)
		t.Run("v"+string(rune('0'+version/10))+string(rune('0'+version%10)), func(t *testing.T) {
			c.T = t
			test(t, c, version)
		})
	}
}

func produceOn(c *raw.Conn, tp raw.Topic, partition int32, records ...raw.Record) {
	c.T.Helper()
	p := raw.ProduceAs(c, raw.ProduceTo(tp, partition, 9, raw.Seal(raw.NewBatch(records...))))
	raw.RequireCode(c.T, 0, p.ErrorCode, p.ErrorMessage)
}

// TestFetchSessionTellsOnlyWhatChanged: a full answer, then nothing, then the partition that has news.
func TestFetchSessionTellsOnlyWhatChanged(t *testing.T) {
	eachSessionVersion(t, func(t *testing.T, c *raw.Conn, version int16) {
		tp := raw.CreateTopic(c, 3)
		s, full := raw.BeginSession(c, version, tp, 0, 0, 1, 2)
		require.ElementsMatch(t, []int32{0, 1, 2}, raw.PartitionsIn(full))
		for range 2 {
			resp := s.Fetch(nil)
			require.Empty(t, resp.Topics)
			require.Equal(t, s.ID, resp.SessionID)
		}
		produceOn(c, tp, 1, raw.KV("a", "1"))
		for range 2 { // as long as the client does not ask for what comes after
			resp := s.Fetch(nil)
			require.Equal(t, []int32{1}, raw.PartitionsIn(resp))
			require.Equal(t, int64(1), resp.Topics[0].Partitions[0].HighWatermark)
			require.Len(t, raw.BatchesOf(c, resp.Topics[0].Partitions[0].RecordBatches), 1)
		}
		require.Empty(t, s.Fetch(raw.At(tp, 1, 1)).Topics)
		require.Equal(t, []int32{1}, raw.PartitionsIn(s.Fetch(raw.At(tp, 1, 0))), "back again")
	})
}

// TestFetchSessionTellsBoundsAndErrors: of a partition without records in the answer, too.
func TestFetchSessionTellsBoundsAndErrors(t *testing.T) {
	eachSessionVersion(t, func(t *testing.T, c *raw.Conn, version int16) {
		tp := raw.CreateTopic(c, 2)
		s, _ := raw.BeginSession(c, version, tp, 0, 0, 1)
		produceOn(c, tp, 0, raw.KV("a", "1"))
		resp := s.Fetch(raw.At(tp, 0, 1)) // the client knows the offset from elsewhere
		require.Equal(t, []int32{0}, raw.PartitionsIn(resp))
		require.Empty(t, resp.Topics[0].Partitions[0].RecordBatches)
		require.Equal(t, int64(1), resp.Topics[0].Partitions[0].HighWatermark)
		require.Empty(t, s.Fetch(nil).Topics)

		for range 2 {
			resp = s.Fetch(raw.At(tp, 1, 77))
			require.Equal(t, []int32{1}, raw.PartitionsIn(resp))
			require.Equal(t, int16(1), resp.Topics[0].Partitions[0].ErrorCode)
		}
		resp = s.Fetch(raw.At(tp, 1, 0))
		require.Equal(t, []int32{1}, raw.PartitionsIn(resp), "that the error is over is news")
		require.Zero(t, resp.Topics[0].Partitions[0].ErrorCode)
		require.Empty(t, s.Fetch(nil).Topics)
	})
}

func TestFetchSessionForgetsTopics(t *testing.T) {
	eachSessionVersion(t, func(t *testing.T, c *raw.Conn, version int16) {
		tp := raw.CreateTopic(c, 2)
		s, _ := raw.BeginSession(c, version, tp, 0, 0, 1)
		require.Empty(t, s.Fetch(raw.Forget(tp, 0)).Topics)
		produceOn(c, tp, 0, raw.KV("a", "1"))
		require.Empty(t, s.Fetch(nil).Topics)
		require.Equal(t, []int32{0}, raw.PartitionsIn(s.Fetch(raw.At(tp, 0, 0))), "added again")
		require.Equal(t, []int32{0}, raw.PartitionsIn(s.Fetch(nil)))

		resp := s.Fetch(raw.Forget(tp, 0, 1))
		require.Zero(t, resp.SessionID, "a session of nothing is none")
		require.Empty(t, resp.Topics)
		require.Equal(t, int16(70), raw.Do[*kmsg.FetchResponse](c, s.Request()).ErrorCode)
	})
}

func TestFetchSessionEpochs(t *testing.T) {
	eachSessionVersion(t, func(t *testing.T, c *raw.Conn, version int16) {
		tp := raw.CreateTopic(c, 1)
		s, _ := raw.BeginSession(c, version, tp, 0, 0)
		for _, wrong := range []int32{2, 77, math.MaxInt32, -2} {
			req := s.Request()
			req.SessionEpoch = wrong
			resp := raw.Do[*kmsg.FetchResponse](c, req)
			require.Equal(t, int16(71), resp.ErrorCode)
			require.Zero(t, resp.SessionID)
			require.Empty(t, resp.Topics)
		}
		s.Fetch(nil)
		req := s.Request()
		req.SessionEpoch-- // sent twice
		require.Equal(t, int16(71), raw.Do[*kmsg.FetchResponse](c, req).ErrorCode)
		s.Fetch(nil)

		req = s.Request()
		req.SessionID ^= 1
		require.Equal(t, int16(70), raw.Do[*kmsg.FetchResponse](c, req).ErrorCode)
	})
}

// TestFetchSessionEnds with the final epoch, and with another full fetch.
func TestFetchSessionEnds(t *testing.T) {
	eachSessionVersion(t, func(t *testing.T, c *raw.Conn, version int16) {
		tp := raw.CreateTopic(c, 1)
		s, _ := raw.BeginSession(c, version, tp, 0, 0)
		req := s.Request()
		req.SessionEpoch = -1
		raw.At(tp, 0, 0)(req)
		resp := raw.Do[*kmsg.FetchResponse](c, req)
		require.Zero(t, resp.ErrorCode)
		require.Zero(t, resp.SessionID)
		require.Equal(t, []int32{0}, raw.PartitionsIn(resp))
		require.Equal(t, int16(70), raw.Do[*kmsg.FetchResponse](c, s.Request()).ErrorCode)

		s, _ = raw.BeginSession(c, version, tp, 0, 0)
		req = s.Request()
		req.SessionEpoch = 0
		raw.At(tp, 0, 0)(req)
		resp = raw.Do[*kmsg.FetchResponse](c, req)
		require.Positive(t, resp.SessionID)
		require.NotEqual(t, s.ID, resp.SessionID)
		require.Equal(t, int16(70), raw.Do[*kmsg.FetchResponse](c, s.Request()).ErrorCode)
	})
}

// TestFetchSessionOutlivesItsConnection: whoever knows id and epoch goes on with it.
func TestFetchSessionOutlivesItsConnection(t *testing.T) {
	b := start(t)
	c := b.Dial(t)
	tp := raw.CreateTopic(c, 1)
	s, _ := raw.BeginSession(c, 12, tp, 0, 0)
	require.NoError(t, c.Close())
	s.C = b.Dial(t)
	require.Empty(t, s.Fetch(nil).Topics)
	raw.MustProduce(s.C, tp, raw.KV("a", "1"))
	require.Equal(t, []int32{0}, raw.PartitionsIn(s.Fetch(nil)))
}

// TestFetchSessionKeepsToItsKindOfTopics: names or ids.
func TestFetchSessionKeepsToItsKindOfTopics(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	for version, other := range map[int16]int16{12: 13, 13: 12, 18: 7} {
		s, _ := raw.BeginSession(c, version, tp, 0, 0)
		req := s.Request()
		req.Version = other
		resp := raw.Do[*kmsg.FetchResponse](c, req)
		require.Equal(t, int16(106), resp.ErrorCode)
		require.Zero(t, resp.SessionID)
		s.Fetch(nil)
	}
}

// TestFetchSessionOfATopicThatIsReplaced: by name the session goes on with the new one, by id it does not.
func TestFetchSessionOfATopicThatIsReplaced(t *testing.T) {
	for version, codes := range map[int16][2]int16{12: {3, 0}, 18: {3, 103}} {
		c := start(t).Dial(t)
		tp := raw.CreateTopic(c, 1)
		s, _ := raw.BeginSession(c, version, tp, 0, 0)
		s.Fetch(nil)
		deleteTopic(c, tp)
		for range 2 {
			require.Equal(t, codes[0], firstCode(s.Fetch(nil)), "v%d", version)
		}
		raw.CreateNamed(c, tp.Name, 1)
		require.Eventually(t, func() bool { return firstCode(s.Fetch(nil)) == codes[1] }, time.Minute, time.Millisecond, "v%d", version)
		if codes[1] == 0 {
			require.Empty(t, s.Fetch(nil).Topics)
		} else {
			require.Equal(t, codes[1], firstCode(s.Fetch(nil)))
		}
	}
}

// TestFetchSessionOfUnknownTopics: they are told each time, until they are there.
func TestFetchSessionOfUnknownTopics(t *testing.T) {
	c := start(t).Dial(t)
	known := raw.CreateTopic(c, 1)
	for version, code := range map[int16]int16{12: 3, 18: 100} {
		tp := raw.Topic{Name: raw.TopicName(t), ID: [16]byte{1, 2, byte(version), 14: 3}}
		s, full := raw.BeginSession(c, version, tp, 0, 0)
		require.Equal(t, code, firstCode(full))
		for range 2 {
			require.Equal(t, code, firstCode(s.Fetch(nil)))
		}
		s.Fetch(raw.At(known, 0, 0))
		if version == 12 {
			raw.CreateNamed(c, tp.Name, 1)
			require.Eventually(t, func() bool { return firstCode(s.Fetch(nil)) == 0 }, time.Minute, time.Millisecond)
			require.Empty(t, s.Fetch(nil).Topics)
		}
	}
}

func firstCode(resp *kmsg.FetchResponse) int16 {
	if len(resp.Topics) == 0 {
		return 0
	}
	return resp.Topics[0].Partitions[0].ErrorCode
}

func deleteTopic(c *raw.Conn, tp raw.Topic) {
	c.T.Helper()
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Version, req.TimeoutMillis, req.TopicNames = 5, 10_000, []string{tp.Name}
	require.Zero(c.T, raw.Do[*kmsg.DeleteTopicsResponse](c, req).Topics[0].ErrorCode)
	require.Eventually(c.T, func() bool { return raw.DescribeTopic(c, tp.Name).ErrorCode == 3 }, time.Minute, time.Millisecond)
}

// TestFetchSessionWakes: what comes while a request waits ends its wait, whichever partition it is for.
func TestFetchSessionWakes(t *testing.T) {
	b := start(t)
	c, producer := b.Dial(t), b.Dial(t)
	tp := raw.CreateTopic(c, 3)
	s, _ := raw.BeginSession(c, 12, tp, 0, 0, 1, 2)
	s.Fetch(nil) // all of them are idle now
	for p := range int32(3) {
		req := s.Request()
		req.MaxWaitMillis = forever
		c.Send(req)
		produceOn(producer, tp, p, raw.KV("a", "1"))
		resp, _ := c.Receive(req)
		require.Equal(t, []int32{p}, raw.PartitionsIn(resp.(*kmsg.FetchResponse)))
		s.Epoch++
		s.Fetch(raw.At(tp, p, 1))
	}
	req := s.Request()
	req.MaxWaitMillis = forever
	c.Send(req)
	deleteTopic(producer, tp)
	resp, _ := c.Receive(req)
	require.NotZero(t, firstCode(resp.(*kmsg.FetchResponse)))
}

// TestFetchSessionWaitsForMinBytes over all of its partitions.
func TestFetchSessionWaitsForMinBytes(t *testing.T) {
	b := start(t)
	c, producer := b.Dial(t), b.Dial(t)
	tp := raw.CreateTopic(c, 2)
	s, _ := raw.BeginSession(c, 12, tp, 0, 0, 1)
	s.Fetch(nil)
	req := s.Request()
	req.MaxWaitMillis, req.MinBytes = forever, 20_000
	c.Send(req)
	big := raw.KV("a", string(make([]byte, 15_000)))
	produceOn(producer, tp, 0, big)
	produceOn(producer, tp, 1, big)
	resp, _ := c.Receive(req)
	require.ElementsMatch(t, []int32{0, 1}, raw.PartitionsIn(resp.(*kmsg.FetchResponse)))
}

// TestFetchSessionRotates: with room for one partition in a response, each has its turn.
func TestFetchSessionRotates(t *testing.T) {
	eachSessionVersion(t, func(t *testing.T, c *raw.Conn, version int16) {
		const n = 4
		tp := raw.CreateTopic(c, n)
		s, _ := raw.BeginSession(c, version, tp, 0, 0, 1, 2, 3)
		for p := range int32(n) {
			produceOn(c, tp, p, raw.KV("a", string(make([]byte, 10_000))))
		}
		s.Fetch(func(req *kmsg.FetchRequest) { req.MaxBytes = 1 }) // the high watermarks are told
		seen := map[int32]int{}
		for range 2 * n {
			resp := s.Fetch(func(req *kmsg.FetchRequest) { req.MaxBytes = 1 })
			require.Len(t, raw.PartitionsIn(resp), 1)
			seen[raw.PartitionsIn(resp)[0]]++
		}
		require.Equal(t, map[int32]int{0: 2, 1: 2, 2: 2, 3: 2}, seen)
	})
}

// TestFetchSessionIsolation: another isolation level sees another end, so that every partition is looked at again.
func TestFetchSessionIsolation(t *testing.T) {
	c := start(t).Dial(t)
	tp := raw.CreateTopic(c, 1)
	s, _ := raw.BeginSession(c, 12, tp, 0, 0)
	committed := func(req *kmsg.FetchRequest) { req.IsolationLevel = 1 }
	require.Empty(t, s.Fetch(committed).Topics)
	raw.MustProduce(c, tp, raw.KV("a", "1"))
	require.Equal(t, []int32{0}, raw.PartitionsIn(s.Fetch(committed)))
	require.Equal(t, []int32{0}, raw.PartitionsIn(s.Fetch(nil)))
}

// TestFetchSessionTellsTheLogStart although there is nothing else to tell; and whoever asks for what was deleted is told: 1.
func TestFetchSessionTellsTheLogStart(t *testing.T) {
	eachSessionVersion(t, func(t *testing.T, c *raw.Conn, version int16) {
		tp := raw.CreateTopic(c, 1)
		for range 3 {
			raw.MustProduce(c, tp, raw.KV("a", "1"))
		}
		s, _ := raw.BeginSession(c, version, tp, 3, 0)
		require.Empty(t, s.Fetch(nil).Topics)
		requireDeleted(c, 0, 2, raw.DeleteRecords(c, 2, tp, 0, 2))
		resp := s.Fetch(nil)
		require.Equal(t, []int32{0}, raw.PartitionsIn(resp))
		require.Equal(t, int64(2), resp.Topics[0].Partitions[0].LogStartOffset)
		require.Empty(t, s.Fetch(nil).Topics)
		require.Equal(t, int16(1), firstCode(s.Fetch(raw.At(tp, 0, 1))))
		require.Equal(t, []int32{0}, raw.PartitionsIn(s.Fetch(raw.At(tp, 0, 2))))
	})
}

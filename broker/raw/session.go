package raw

import (
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Session is the client's side of a fetch session.
type Session struct {
	C       *Conn // a session outlives its connection
	Version int16
	ID      int32
	Epoch   int32
}

// BeginSession fetches all of the topic's partitions from the offset on, and expects a session.
func BeginSession(c *Conn, version int16, tp Topic, offset int64, partitions ...int32) (*Session, *kmsg.FetchResponse) {
	c.T.Helper()
	req := FetchFrom(tp, offset, version)
	req.SessionEpoch = 0
	req.Topics[0].Partitions = nil
	for _, p := range partitions {
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, FetchPartition(p, offset))
	}
	resp := Do[*kmsg.FetchResponse](c, req)
	require.Zero(c.T, resp.ErrorCode)
	require.Positive(c.T, resp.SessionID)
	return &Session{C: c, Version: version, ID: resp.SessionID, Epoch: 1}, resp
}

// Request is the session's next one, without any change.
func (s *Session) Request() *kmsg.FetchRequest {
	req := FetchFrom(Topic{}, 0, s.Version)
	req.Topics, req.SessionID, req.SessionEpoch = nil, s.ID, s.Epoch
	return req
}

// Fetch sends the session's next request, after a change to it.
func (s *Session) Fetch(change func(*kmsg.FetchRequest)) *kmsg.FetchResponse {
	s.C.T.Helper()
	req := s.Request()
	if change != nil {
		change(req)
	}
	resp := Do[*kmsg.FetchResponse](s.C, req)
	require.Zero(s.C.T, resp.ErrorCode)
	s.Epoch++
	return resp
}

// At asks for a partition at an offset.
func At(tp Topic, partition int32, offset int64) func(*kmsg.FetchRequest) {
	return func(req *kmsg.FetchRequest) {
		req.Topics = append(req.Topics, kmsg.FetchRequestTopic{Topic: tp.Name, TopicID: tp.ID,
			Partitions: []kmsg.FetchRequestTopicPartition{FetchPartition(partition, offset)}})
	}
}

// Forget leaves partitions out from now on.
func Forget(tp Topic, partitions ...int32) func(*kmsg.FetchRequest) {
	return func(req *kmsg.FetchRequest) {
		req.ForgottenTopics = append(req.ForgottenTopics, kmsg.FetchRequestForgottenTopic{Topic: tp.Name, TopicID: tp.ID, Partitions: partitions})
	}
}

// PartitionsIn returns the partitions of a response in its order.
func PartitionsIn(resp *kmsg.FetchResponse) (indexes []int32) {
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			indexes = append(indexes, p.Partition)
		}
	}
	return indexes
}

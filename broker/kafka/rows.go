package kafka

import (
	"context"

	"github.com/keyframelog/keyframe/broker/keyframer"
	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/broker/wire"
)

// RowSource gives Kafka consumers what is left below a partition's delta start offset N1: rows, as record batches.
type RowSource interface {
	// Rows appends whole batches of rows with offsets in [from, N1) to dst, at least one and otherwise at most maxBytes, and
	// returns the offset to go on from: N1 at the end, where nothing may have been appended. keyframer.ErrStaleFetch refuses
	// a fetch below the tombstone horizon; ctx carries the connection's keyframer.Session.
	Rows(ctx context.Context, t *topics.Topic, p *topics.Partition, from int64, maxBytes int, dst []byte) (_ []byte, next int64, err error)
	// EachRow calls visit for the rows with offsets in [from, N1), in offset order, until it returns false, and returns N1. It is for
	// look-ups: nobody is given the rows, so nothing is stale.
	EachRow(ctx context.Context, t *topics.Topic, p *topics.Partition, from int64, visit func(offset, timestamp int64) (more bool)) (n1 int64, err error)
	// RowBytes is the size of the keys and values of the rows below N1.
	RowBytes(t *topics.Topic, p *topics.Partition) int64
}

// sessionKey is where a connection keeps its keyframer.Session.
type sessionKey struct{}

// sessionOf returns the connection's memory of what it has read from the log start on without a gap.
func sessionOf(c *wire.Conn) *keyframer.Session {
	if s, ok := c.Local().Load(sessionKey{}); ok {
		return s.(*keyframer.Session)
	}
	s, _ := c.Local().LoadOrStore(sessionKey{}, &keyframer.Session{})
	return s.(*keyframer.Session)
}

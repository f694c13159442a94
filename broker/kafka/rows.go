package kafka

import (
	"context"

	"github.com/keyframelog/keyframe/broker/topics"
)

// RowSource gives Kafka consumers what is left below a partition's delta start offset N1: rows, as record batches. See
// CONTRACTS, "What Kafka consumers see on a key-framed topic".
type RowSource interface {
	// Rows appends whole batches of rows with offsets in [from, N1) to dst, at least one and otherwise at most maxBytes, and
	// returns the offset to go on from: N1 at the end. ErrStaleFetch refuses a fetch below the tombstone horizon.
	Rows(ctx context.Context, t *topics.Topic, p *topics.Partition, from int64, maxBytes int, dst []byte) (_ []byte, next int64, err error)
}

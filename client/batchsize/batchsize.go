// Package batchsize says how large a producer's batches may be. franz-go bounds a batch as it is before it is compressed, and refuses a record that has no
// room in one; a topic (max.message.bytes) bounds it as it arrives. So a client that makes batches as large as the topic admits is never refused a record
// for its neighbours, but refuses one itself that only compressed is small enough: such a record needs a larger bound, and a batch for itself.
package batchsize

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/fold"
)

const (
	// Useful has room for the largest row: there is no reason to make larger batches of rows, however large the topic admits them.
	Useful = fold.RowBytesMax + around

	least       = 512                   // of franz-go
	prefix      = 4                     // in front of a batch, which franz-go counts with it
	around      = batch.HeaderSize + 64 // the batch's header, the record's lengths, and a header that names the op
	aroundOther = 10                    // the lengths of any header
)

// Client is kgo.ProducerBatchMaxBytes where batches have at most so many bytes.
func Client(bytes int) int32 { return int32(max(bytes, least) + prefix) }

// Exceed tells whether batches for which kgo.ProducerBatchMaxBytes is that may have more bytes.
func Exceed(client int32, bytes int) bool { return int(client) > bytes+prefix }

// AtMost is what a batch with a record alone has at most, not compressed, in bytes.
func AtMost(r *kgo.Record) int {
	n := around + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		n += aroundOther + len(h.Key) + len(h.Value)
	}
	return n
}

package load

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Fetch sizes of a consumer that is after throughput.
const (
	fetchBytes          = 64 << 20
	fetchPartitionBytes = 8 << 20
)

// ConsumerOptions are those of a client that reads whole partitions as fast as they come, with the option that says which, outside any group.
func ConsumerOptions(what kgo.Opt) []kgo.Opt {
	return []kgo.Opt{what, kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxBytes(fetchBytes), kgo.FetchMaxPartitionBytes(fetchPartitionBytes)}
}

// Ends are the offsets at which partitions end.
type Ends map[int32]int64

// Read polls until every partition has been read up to its end, and hands each batch of records on. A partition of which nothing is left to read counts
// as read. Errors: those of the fetches, of each, and the context's.
func Read(ctx context.Context, cl *kgo.Client, ends Ends, each func([]*kgo.Record) error) error {
	left := 0
	for _, end := range ends {
		if end > 0 {
			left++
		}
	}
	reached := map[int32]bool{}
	for left > 0 {
		fetches := cl.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return err
		}
		for _, e := range fetches.Errors() {
			return fmt.Errorf("partition %d: %w", e.Partition, e.Err)
		}
		var failed error
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			n := len(p.Records)
			if n == 0 || failed != nil {
				return
			}
			failed = each(p.Records)
			if end := ends[p.Partition]; p.Records[n-1].Offset+1 >= end && !reached[p.Partition] {
				reached[p.Partition] = true
				left--
			}
		})
		if failed != nil {
			return failed
		}
	}
	return nil
}

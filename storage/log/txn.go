package log

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"
)

// Marker ends a transaction: a control record in each of its partitions.
type Marker struct {
	ProducerID       int64
	ProducerEpoch    int16
	CoordinatorEpoch int32
	Commit           bool // false: abort
}

// AbortedTxn is a transaction of one partition whose records readers of committed records skip.
type AbortedTxn struct {
	ProducerID  int64
	FirstOffset int64 // of its first record
	LastOffset  int64 // of its marker
}

// OpenTxn is a transaction of one partition that has no marker yet. It holds the last stable offset at FirstOffset.
type OpenTxn struct {
	ProducerID  int64
	Epoch       int16
	FirstOffset int64
	SinceMs     int64 // append time of its first batch
}

var errNoTxns = errors.New("transactions are not yet supported")

// AppendMarkers ends a transaction in all its partitions, with one Pebble batch that also takes what extra writes (nil: nothing): a
// crash leaves all of it or none. partitions may be empty. Appended completes when the batch is durable and every partition's high
// watermark and last stable offset have moved.
func (s *Store) AppendMarkers(_ []*Partition, _ Marker, _ func(*pebble.Batch) error) (*Appended, error) {
	return nil, errNoTxns
}

// Aborted returns the aborted transactions that overlap [from, end), in the order of their markers.
func (p *Partition) Aborted(_, _ int64) ([]AbortedTxn, error) { return nil, nil }

// OpenTxns returns the transactions that are open at this moment, oldest first.
func (p *Partition) OpenTxns() []OpenTxn { return nil }

package proxy

import (
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/proto/batch"
)

// Fault is something that goes wrong in one partition on its way. Make one with Lose, Change, HideAbort or Swallow, and Inject it.
type Fault struct {
	topic     string
	partition int32
	fetched   func(*kmsg.FetchResponseTopicPartition) (hit bool, err error) // nil: it is no fault of fetches
	swallow   bool
	base      int64 // offset with which what is swallowed is acknowledged

	once sync.Once
	done chan struct{}
	at   time.Time
}

func newFault(topic string, partition int32) *Fault {
	return &Fault{topic: topic, partition: partition, done: make(chan struct{})}
}

// Done is closed once the fault has happened: its answer is on its way to the client.
func (f *Fault) Done() <-chan struct{} { return f.done }

// Time is when it happened, the first time. To be called once Done is closed.
func (f *Fault) Time() time.Time { return f.at }

// Base is the offset with which what is swallowed is acknowledged.
func (f *Fault) Base() int64 { return f.base }

func (f *Fault) happened() {
	f.once.Do(func() {
		f.at = time.Now()
		close(f.done)
	})
}

// Lose takes the records with offsets in [from, to) out of what consumers are given. A batch keeps its first and last offset, as one that was
// compacted does; a batch with no offset outside of the range is lost as a whole.
func Lose(topic string, partition int32, from, to int64) *Fault {
	f := newFault(topic, partition)
	f.fetched = func(p *kmsg.FetchResponseTopicPartition) (bool, error) {
		return editBatches(p, func(b batch.Batch) (batch.Batch, bool, error) {
			switch {
			case b.LastOffset() < from || b.BaseOffset() >= to || b.IsControl():
				return b, false, nil
			case from <= b.BaseOffset() && b.LastOffset() < to:
				return nil, true, nil
			}
			return rebuild(b, func(r *batch.Record) bool { return r.Offset < from || r.Offset >= to })
		})
	}
	return f
}

// Change gives the records with offsets in [from, to) other values.
func Change(topic string, partition int32, from, to int64, change func(value []byte) []byte) *Fault {
	f := newFault(topic, partition)
	f.fetched = func(p *kmsg.FetchResponseTopicPartition) (bool, error) {
		return editBatches(p, func(b batch.Batch) (batch.Batch, bool, error) {
			if b.LastOffset() < from || b.BaseOffset() >= to || b.IsControl() {
				return b, false, nil
			}
			return rebuild(b, func(r *batch.Record) bool {
				if from <= r.Offset && r.Offset < to {
					r.Value = change(slices.Clone(r.Value))
				}
				return true
			})
		})
	}
	return f
}

// HideAbort leaves out of fetches that the transaction whose first record is at an offset was aborted.
func HideAbort(topic string, partition int32, first int64) *Fault {
	f := newFault(topic, partition)
	f.fetched = func(p *kmsg.FetchResponseTopicPartition) (bool, error) {
		n := len(p.AbortedTransactions)
		p.AbortedTransactions = slices.DeleteFunc(p.AbortedTransactions, func(t kmsg.FetchResponseTopicPartitionAbortedTransaction) bool {
			return t.FirstOffset == first
		})
		return len(p.AbortedTransactions) < n, nil
	}
	return f
}

// Swallow acknowledges the next produce request for the partition, with base for the offset of its first record, and does not pass it on. An
// idempotent producer that sends more after it is told of a hole in its sequence by the broker; the last request of one is not missed by anybody.
func Swallow(topic string, partition int32, base int64) *Fault {
	f := newFault(topic, partition)
	f.swallow, f.base = true, base
	return f
}

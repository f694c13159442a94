package txn

import (
	"math"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/keyframelog/keyframe/storage/catalog"
)

// lastUsableEpoch is the highest epoch that a producer gets: one more is left to fence it.
const lastUsableEpoch = math.MaxInt16 - 1

// Txn is one transactional id as a state machine: every method is a step that takes the time and an event and returns what is to be
// done. It has no goroutine, lock or clock. After each step the owner arranges that Tick is called at Deadline.
type Txn struct {
	id         string
	expiration time.Duration

	state    State
	producer Producer
	// previousID had this transactional id before its epochs were used up; -1: none.
	previousID int64
	// lastEpoch is what the producer may still name when it repeats its last request; -1: none.
	lastEpoch int16
	// perTxn: the last end raised the epoch, and a request with the epoch before is a repetition (KIP-890).
	perTxn  bool
	timeout time.Duration
	start   time.Time // of the transaction, or of the last one; zero: none
	updated time.Time

	partitions []Partition
	index      map[Partition]struct{} // of partitions, where there are many; else nil
	groups     []string
	additions  int // that the store has of the transaction; -1: it has to be saved before the first

	inFlight int  // appends and offset commits that have begun and are not in the log yet
	end      *end // of the transaction, while it is being ended

	fx Effects
}

// end is how a transaction is going to end.
type end struct {
	ticket Ticket // 0: nobody waits
	commit bool
	marker Producer
	after  after
	asked  bool // the owner was told
}

// after is what an end changes besides the state.
type after struct {
	producer   Producer
	previousID int64
	lastEpoch  int16
	perTxn     bool
}

// New is a transactional id that has no epoch yet: Init gives it its first.
func New(id string, producerID int64, expiration time.Duration) *Txn {
	return &Txn{id: id, expiration: expiration, producer: Producer{producerID, -1}, previousID: -1, lastEpoch: -1}
}

// Restore is a transactional id as it was saved. What was being ended is ongoing, since no end is durable in part.
func Restore(t *catalog.Transaction, expiration time.Duration) *Txn {
	x := &Txn{
		id: t.ID, expiration: expiration, state: stateOf(t.State), producer: Producer{t.ProducerID, t.Epoch}, previousID: t.PreviousProducerID,
		lastEpoch: t.LastEpoch, perTxn: t.EpochPerTxn, timeout: time.Duration(t.TimeoutMs) * time.Millisecond,
		updated: time.UnixMilli(t.UpdateMs), additions: t.Additions,
	}
	if t.StartMs >= 0 {
		x.start = time.UnixMilli(t.StartMs)
	}
	for _, p := range t.Partitions { // twice, if an addition could not be stored and all was saved again
		if tp := (Partition{Topic: p.Topic, Index: p.Partition, Ordinal: p.Ordinal}); !x.has(tp) {
			x.join(tp)
		}
	}
	for _, g := range t.Groups {
		if !slices.Contains(x.groups, g) {
			x.groups = append(x.groups, g)
		}
	}
	return x
}

// Record is what of the transactional id is durable.
func (x *Txn) Record() catalog.Transaction {
	t := catalog.Transaction{
		ID: x.id, ProducerID: x.producer.ID, PreviousProducerID: x.previousID, Epoch: x.producer.Epoch, LastEpoch: x.lastEpoch,
		State: x.state.durable(), EpochPerTxn: x.perTxn, TimeoutMs: int32(x.timeout.Milliseconds()), StartMs: x.startMs(), UpdateMs: x.updated.UnixMilli(),
		Groups: slices.Clone(x.groups), Additions: x.additions,
	}
	t.Partitions = stored(x.partitions)
	return t
}

func stored(partitions []Partition) (list []catalog.TxnPartition) {
	for _, p := range partitions {
		list = append(list, catalog.TxnPartition{Topic: p.Topic, Partition: p.Index, Ordinal: p.Ordinal})
	}
	return list
}

// State is where the transactional id is.
func (x *Txn) State() State { return x.state }

// take ends a step.
func (x *Txn) take() Effects {
	fx := x.fx
	x.fx = Effects{}
	return fx
}

func (x *Txn) save(now time.Time) {
	x.updated, x.additions = now, max(x.additions, 0)
	t := x.Record()
	x.fx.Save = &t
}

// check is the test that every request of a producer in a transaction has to pass.
func (x *Txn) check(p Producer) *kerr.Error {
	switch {
	case x.state == Dead, p.ID != x.producer.ID:
		return kerr.InvalidProducerIDMapping
	case x.state.preparing():
		if p.Epoch == x.producer.Epoch || p == x.end.after.producer {
			return kerr.ConcurrentTransactions
		}
		return kerr.ProducerFenced
	case p.Epoch != x.producer.Epoch:
		return kerr.ProducerFenced
	}
	return nil
}

// exhausted says that the producer has to get another id, since its epochs are used up.
func (x *Txn) exhausted() bool { return x.producer.Epoch >= lastUsableEpoch }

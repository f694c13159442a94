package txn

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// Init is an InitProducerId: the producer gets the next epoch, and with it the ones before are fenced. A transaction that is open is
// aborted first, and the client asks again.
func (x *Txn) Init(now time.Time, r InitRequest) (Reply, Effects) {
	refuse := func(err *kerr.Error) (Reply, Effects) { return Reply{Err: err, Producer: NoProducer()}, x.take() }
	switch {
	case x.state == Dead:
		return refuse(kerr.CoordinatorNotAvailable)
	case x.state.preparing():
		if r.Expected != nil && !x.owns(*r.Expected) && r.Expected.ID != x.end.after.producer.ID {
			return refuse(kerr.ProducerFenced)
		}
		return refuse(kerr.ConcurrentTransactions)
	case r.Expected != nil && !x.owns(*r.Expected):
		return refuse(kerr.ProducerFenced)
	case x.state == Ongoing:
		// Of a producer that recovers (KIP-360) only the id is looked at here, as Kafka does: its epoch decides, once the transaction has
		// been aborted, whether it goes on or is fenced. An older instance that comes late costs a newer one its transaction, and no more:
		// that one is told, and recovers with its own epoch.
		x.fence(now)
		return refuse(kerr.ConcurrentTransactions)
	}
	if err := x.nextEpoch(r); err != nil {
		return refuse(err)
	}
	x.state, x.timeout, x.start, x.perTxn = Empty, r.Timeout, time.Time{}, false
	x.save(now)
	return Reply{Producer: x.producer}, x.take()
}

// owns says whether a producer that names its id and epoch may be this one (KIP-360): a new transactional id takes any, and one whose
// epochs were used up may repeat the request that gave it another id.
func (x *Txn) owns(p Producer) bool {
	return x.producer.Epoch < 0 || p.ID == x.producer.ID || p.ID == x.previousID && p.Epoch >= lastUsableEpoch
}

// nextEpoch gives the producer its next epoch, or, to a client that repeats itself, the one that it did not hear of.
func (x *Txn) nextEpoch(r InitRequest) *kerr.Error {
	e := r.Expected
	known := e != nil && x.producer.Epoch >= 0
	switch {
	case known && *e == x.producer:
		// It goes on after an error, and nobody has come in between.
	case known && e.Epoch == x.lastEpoch && x.producer.Epoch <= lastUsableEpoch:
		return nil // repeated: nothing has changed since
	case known && e.Epoch != x.lastEpoch:
		return kerr.ProducerFenced
	}
	last := int16(-1)
	if known {
		last = e.Epoch
	}
	if x.exhausted() {
		x.previousID, x.producer = x.producer.ID, Producer{r.SpareID, -1}
	}
	x.producer.Epoch++
	x.lastEpoch = last
	return nil
}

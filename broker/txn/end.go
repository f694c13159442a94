package txn

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// End is an EndTxn. Its answer is in the effects of this step, or of Ended.
func (x *Txn) End(now time.Time, t Ticket, r EndRequest) Effects {
	reply, wait := x.decideEnd(now, t, r)
	if !wait {
		reply.Ticket = t
		if reply.Err != nil {
			reply.Producer = NoProducer()
		}
		x.fx.Replies = append(x.fx.Replies, reply)
	}
	return x.take()
}

func (x *Txn) decideEnd(now time.Time, t Ticket, r EndRequest) (reply Reply, wait bool) {
	if x.state == Dead {
		return Reply{Err: kerr.InvalidProducerIDMapping}, false
	}
	// With an epoch for each transaction the epoch tells a repeated request from the next one.
	repeated := r.EpochPerTxn && x.repeats(r.Producer)
	switch {
	case r.Producer.ID != x.producer.ID && !repeated:
		return Reply{Err: kerr.InvalidProducerIDMapping}, false
	case x.state.preparing():
		return Reply{Err: x.endingError(r)}, false
	case r.Producer.Epoch != x.producer.Epoch && !repeated:
		return Reply{Err: kerr.ProducerFenced}, false
	case repeated && !x.state.ended():
		return Reply{Err: kerr.ProducerFenced}, false
	case x.state == Ongoing:
		x.prepare(now, t, r)
		return reply, true
	case repeated || !r.EpochPerTxn:
		// Nothing is open: what is asked for has happened, or it is wrong.
		if x.state == CompleteCommit && r.Commit || x.state == CompleteAbort && !r.Commit {
			return Reply{Producer: x.producer}, false
		}
		return Reply{Err: kerr.InvalidTxnState}, false
	case r.Commit:
		return Reply{Err: kerr.InvalidTxnState}, false
	}
	// A client that does not know whether its transaction began aborts it, and gets another epoch.
	x.start = now
	x.prepare(now, t, r)
	return reply, true
}

// repeats says whether a producer names the epoch that its last end has replaced.
func (x *Txn) repeats(p Producer) bool {
	if !x.perTxn {
		return false
	}
	return p.ID == x.producer.ID && p.Epoch == x.producer.Epoch-1 ||
		p.ID == x.previousID && p.Epoch == lastUsableEpoch && x.producer.Epoch == 0
}

// endingError answers who asks while the transaction is being ended.
func (x *Txn) endingError(r EndRequest) *kerr.Error {
	switch {
	case r.Producer.Epoch != x.producer.Epoch && r.Producer != x.end.after.producer:
		return kerr.ProducerFenced
	case r.Commit != x.end.commit:
		return kerr.InvalidTxnState
	}
	return kerr.ConcurrentTransactions
}

// prepare ends the transaction for a client.
func (x *Txn) prepare(now time.Time, t Ticket, r EndRequest) {
	e := &end{ticket: t, commit: r.Commit, marker: x.producer, after: after{x.producer, x.previousID, x.lastEpoch, false}}
	if r.EpochPerTxn {
		// The marker carries the epoch that comes next, so that what is on its way with this one is refused in each partition.
		e.marker.Epoch++
		e.after = after{e.marker, x.previousID, x.producer.Epoch, true}
		if x.exhausted() {
			e.after = after{Producer{r.SpareID, 0}, x.producer.ID, x.producer.Epoch, true}
		}
	}
	x.beginEnd(now, e)
}

// fence aborts the transaction of a producer that is gone, or has been silent for too long, and raises its epoch.
func (x *Txn) fence(now time.Time) {
	marker := Producer{x.producer.ID, x.producer.Epoch + 1}
	x.beginEnd(now, &end{marker: marker, after: after{marker, x.previousID, x.producer.Epoch, true}})
}

func (x *Txn) beginEnd(now time.Time, e *end) {
	x.state, x.updated, x.end = PrepareAbort, now, e
	if e.commit {
		x.state = PrepareCommit
	}
	x.askEnd()
}

// askEnd has the end written once nothing of the transaction is on its way into the log: no batch comes behind its marker.
func (x *Txn) askEnd() {
	if x.end == nil || x.end.asked || x.inFlight > 0 {
		return
	}
	x.end.asked = true
	done := *x
	done.complete()
	x.fx.End = &End{Marker: x.end.marker, Bumped: x.end.marker != x.producer, Commit: x.end.commit, ProducerID: x.producer.ID, Partitions: x.partitions,
		Groups: x.groups, Additions: max(x.additions, 0), After: done.Record()}
}

// complete makes the end's outcome the state.
func (x *Txn) complete() {
	e := x.end
	x.state = CompleteAbort
	if e.commit {
		x.state = CompleteCommit
	}
	x.producer, x.previousID, x.lastEpoch, x.perTxn = e.after.producer, e.after.previousID, e.after.lastEpoch, e.after.perTxn
	x.partitions, x.index, x.groups, x.additions, x.end = nil, nil, nil, 0, nil
}

// Ended reports that the end is durable; or that it was not written, so that the transaction is open still and its end can be asked
// for again.
func (x *Txn) Ended(written bool) Effects {
	reply := Reply{Ticket: x.end.ticket}
	if written {
		x.complete()
		reply.Producer = x.producer
	} else {
		x.state, x.end = Ongoing, nil
		reply.Err, reply.Producer = kerr.CoordinatorNotAvailable, NoProducer()
	}
	if reply.Ticket != 0 {
		x.fx.Replies = append(x.fx.Replies, reply)
	}
	return x.take()
}

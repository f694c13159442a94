package txn

import (
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/keyframelog/keyframe/storage/catalog"
)

// Add is an AddPartitionsToTxn: the transaction begins, if there is none, and writes to these partitions, too.
func (x *Txn) Add(now time.Time, p Producer, partitions []Partition) (*kerr.Error, Effects) {
	if err := x.check(p); err != nil {
		return err, x.take()
	}
	began, before := x.begin(now), len(x.partitions)
	for _, tp := range partitions {
		if !x.has(tp) {
			x.join(tp)
		}
	}
	x.saveJoined(now, began, x.partitions[before:], nil)
	return nil, x.take()
}

// saveJoined saves what has come into the transaction: all of it when it begins, and then each addition alone, since there may be as many as
// there are partitions.
func (x *Txn) saveJoined(now time.Time, began bool, partitions []Partition, groups []string) {
	joined := len(partitions)+len(groups) > 0
	switch {
	case began, joined && x.additions < 0:
		x.save(now)
	case joined:
		x.fx.Addition = &catalog.TxnAddition{ID: x.id, ProducerID: x.producer.ID, Number: x.additions, Partitions: stored(partitions), Groups: groups}
		x.additions++
	}
}

// indexFrom is how many partitions are looked through one by one.
const indexFrom = 32

// has says whether the partition is in the transaction.
func (x *Txn) has(tp Partition) bool {
	if x.index == nil {
		return slices.Contains(x.partitions, tp)
	}
	_, ok := x.index[tp]
	return ok
}

func (x *Txn) join(tp Partition) {
	x.partitions = append(x.partitions, tp)
	switch {
	case x.index != nil:
		x.index[tp] = struct{}{}
	case len(x.partitions) > indexFrom:
		x.index = make(map[Partition]struct{}, 2*indexFrom)
		for _, p := range x.partitions {
			x.index[p] = struct{}{}
		}
	}
}

// groupsMax bounds the groups of a transaction. Clients have one. Partitions are bounded by the topics that there are, but a group need not
// exist, and they are looked through one by one.
const groupsMax = 1000

// AddGroup is an AddOffsetsToTxn: offsets are going to be committed to the group in the transaction.
func (x *Txn) AddGroup(now time.Time, p Producer, group string) (*kerr.Error, Effects) {
	if err := x.check(p); err != nil {
		return err, x.take()
	}
	known := slices.Contains(x.groups, group)
	if !known && len(x.groups) >= groupsMax {
		return kerr.InvalidRequest, x.take()
	}
	began, before := x.begin(now), len(x.groups)
	if !known {
		x.groups = append(x.groups, group)
	}
	x.saveJoined(now, began, nil, slices.Clone(x.groups[before:]))
	return nil, x.take()
}

// begin begins a transaction, if there is none.
func (x *Txn) begin(now time.Time) bool {
	if x.state == Ongoing {
		return false
	}
	x.state, x.start = Ongoing, now
	return true
}

// Verify says whether the partition is in the producer's transaction.
func (x *Txn) Verify(p Producer, tp Partition) *kerr.Error {
	if err := x.check(p); err != nil {
		return err
	}
	if x.state != Ongoing || !x.has(tp) {
		return kerr.TransactionAbortable
	}
	return nil
}

// Begin is the begin of an append to a partition. The partition has to be in the transaction, or comes into it with implicit
// (KIP-890). Without an error the transaction is not ended before Done.
func (x *Txn) Begin(now time.Time, p Producer, tp Partition, implicit bool) (*kerr.Error, Effects) {
	var fx Effects
	err := x.check(p)
	switch {
	case err != nil:
	case implicit:
		err, fx = x.Add(now, p, []Partition{tp})
	default:
		err = x.Verify(p, tp)
	}
	if err == nil {
		x.inFlight++
	}
	return err, fx
}

// BeginGroup is the begin of an offset commit to a group, as Begin is of an append.
func (x *Txn) BeginGroup(now time.Time, p Producer, group string, implicit bool) (*kerr.Error, Effects) {
	var fx Effects
	err := x.check(p)
	switch {
	case err != nil:
	case implicit:
		err, fx = x.AddGroup(now, p, group)
	case x.state != Ongoing || !slices.Contains(x.groups, group):
		err = kerr.TransactionAbortable
	}
	if err == nil {
		x.inFlight++
	}
	return err, fx
}

// Done is the end of what Begin or BeginGroup began: it is in the log, or was refused.
func (x *Txn) Done() Effects {
	x.inFlight--
	x.askEnd()
	return x.take()
}

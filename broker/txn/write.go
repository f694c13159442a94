package txn

import (
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/storage/log"
)

// writeEnd writes the end of a transaction, and waits until it is durable. Nothing of the transaction is on its way any more.
func (c *Coordinator) writeEnd(e *entry, end *End) {
	write, finish := func(*pebble.Batch) error { return nil }, func(bool) {}
	if c.cfg.Groups != nil && len(end.Groups) > 0 {
		write, finish = c.cfg.Groups.EndOffsets(end.ProducerID, end.Groups, end.Commit)
	}
	err := c.cfg.Markers.WriteMarkers(end, func(pb *pebble.Batch) error {
		return errors.Join(c.cfg.Store.SetTransaction(pb, &end.After), write(pb))
	})
	finish(err == nil)
	if err != nil {
		c.cfg.Logger.Error("cannot end a transaction", "transactional_id", e.id, "producer_id", end.ProducerID, "error", err)
	} else {
		c.metrics.ended(end.Commit)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if err != nil {
		e.retryAt = c.cfg.Now().Add(retryAfter)
	}
	c.applyLocked(e, e.txn.Ended(err == nil))
}

// Log writes markers into the partitions of a log.
type Log struct {
	Store *log.Store
	// Find returns a partition of a topic, if there is one.
	Find func(topic string, index int32) (*log.Partition, bool)
	// Epoch is the coordinator's, which every marker carries: that of this run.
	Epoch int32
}

// WriteMarkers is for Markers. A partition that was deleted gets none.
func (l Log) WriteMarkers(end *End, extra func(*pebble.Batch) error) error {
	var partitions []*log.Partition
	for _, tp := range end.Partitions {
		if p, ok := l.Find(tp.Topic, tp.Index); ok && p.ID() == log.PartitionID(tp.Ordinal) {
			partitions = append(partitions, p)
		}
	}
	a, err := l.Store.AppendMarkers(partitions, log.Marker{ProducerID: end.Marker.ID, ProducerEpoch: end.Marker.Epoch, CoordinatorEpoch: l.Epoch,
		Commit: end.Commit, Bumped: end.Bumped}, extra)
	if err != nil {
		return err
	}
	<-a.Done()
	return a.Err()
}

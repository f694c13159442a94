package txn

import (
	"errors"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/broker/deadline"
	"github.com/keyframelog/keyframe/storage/log"
)

const (
	endWriters = 256  // ends that are written at the same time; they share syncs
	endBacklog = 1024 // ends that may wait for a writer before time-outs make no more of them
)

// ends are the ends that are to be written, in the order in which they were asked for. Any number of transactions may time out at the same
// moment, most of all when the broker starts after a long time: they cost a place in the queue, and not a goroutine each. Guarded by
// Coordinator.mu.
type ends struct {
	queue   []queuedEnd
	running int
	behind  bool           // the timer waits for room in the queue
	writers sync.WaitGroup // added to under an entry's lock, while the coordinator is not closed
}

type queuedEnd struct {
	e   *entry
	end *End
}

func (c *Coordinator) enqueueEnd(e *entry, end *End) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ends.queue = append(c.ends.queue, queuedEnd{e, end})
	if c.ends.running < endWriters {
		c.ends.running++
		c.ends.writers.Go(c.writeEnds)
	}
}

// writeEnds writes ends until none is left.
func (c *Coordinator) writeEnds() {
	for {
		c.mu.Lock()
		if len(c.ends.queue) == 0 {
			c.ends.queue = nil
			c.ends.running--
			c.mu.Unlock()
			return
		}
		next := c.ends.queue[0]
		c.ends.queue[0] = queuedEnd{}
		c.ends.queue = c.ends.queue[1:]
		if c.ends.behind && len(c.ends.queue) < endBacklog {
			c.ends.behind = false
			deadline.Wake(c.wake)
		}
		c.mu.Unlock()
		c.writeEnd(next.e, next.end)
	}
}

// timersWaitLocked says that too many ends wait for time-outs to make more of them; the timer is woken when that has changed.
func (c *Coordinator) timersWaitLocked() bool {
	c.ends.behind = len(c.ends.queue) >= endBacklog
	return c.ends.behind
}

// writeEnd writes the end of a transaction, and waits until it is durable. Nothing of the transaction is on its way any more.
func (c *Coordinator) writeEnd(e *entry, end *End) {
	write, finish := func(*pebble.Batch) error { return nil }, func(bool) {}
	if c.cfg.Groups != nil && len(end.Groups) > 0 {
		write, finish = c.cfg.Groups.EndOffsets(end.ProducerID, end.Groups, end.Commit)
	}
	err := c.cfg.Markers.WriteMarkers(end, func(pb *pebble.Batch) error {
		return errors.Join(c.cfg.Store.EndTransaction(pb, &end.After, end.ProducerID, end.Additions), write(pb))
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
	} else {
		e.unsaved = false
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

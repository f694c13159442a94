package group

import (
	"cmp"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/keyframelog/keyframe/storage/catalog"
)

// pending are the offsets of a group that were committed in transactions which are open still, by producer id.
type pending map[int64]map[topicPartition]Offset

// has says whether a transaction is going to change the partition's offset, maybe (KIP-447).
func (p pending) has(key topicPartition) bool {
	for _, offsets := range p {
		if _, ok := offsets[key]; ok {
			return true
		}
	}
	return false
}

// droppedBy are writes that remove offsets.
func (p pending) droppedBy(drop func(topicPartition) bool) (writes []pendingWrite) {
	for id, offsets := range p {
		w := pendingWrite{producerID: id}
		for key := range offsets {
			if drop(key) {
				w.commits = append(w.commits, catalog.OffsetCommit{Topic: key.topic, Partition: key.partition, Delete: true})
			}
		}
		if len(w.commits) > 0 {
			writes = append(writes, w)
		}
	}
	return writes
}

// of returns a producer's offsets as they are stored, in the order of their partitions.
func (p pending) of(producerID int64) (commits []catalog.OffsetCommit) {
	for key, o := range p[producerID] {
		commits = append(commits, catalog.OffsetCommit{Topic: key.topic, Partition: key.partition, Offset: o.Offset, LeaderEpoch: o.LeaderEpoch,
			Metadata: o.Metadata, CommitMs: o.CommitMs})
	}
	slices.SortFunc(commits, func(a, b catalog.OffsetCommit) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return commits
}

// pendingWrite is a change of the offsets of an open transaction.
type pendingWrite struct {
	producerID int64
	commits    []catalog.OffsetCommit
}

func (e *entry) pendingOf(w write) []pendingWrite {
	switch {
	case w.pending != nil:
		return []pendingWrite{*w.pending}
	case w.drop != nil:
		return e.pending.droppedBy(w.drop)
	}
	return nil
}

// publishPending makes durable pending offsets known.
func (e *entry) publishPending(writes []pendingWrite) {
	for _, w := range writes {
		for _, o := range w.commits {
			e.setPending(w.producerID, o)
		}
	}
}

func (e *entry) setPending(producerID int64, o catalog.OffsetCommit) {
	key, offsets := topicPartition{o.Topic, o.Partition}, e.pending[producerID]
	switch {
	case o.Delete:
		delete(offsets, key)
		if len(offsets) == 0 {
			delete(e.pending, producerID)
		}
	case offsets == nil:
		e.pending[producerID] = map[topicPartition]Offset{key: offsetOf(o)}
	default:
		offsets[key] = offsetOf(o)
	}
}

// restorePending loads the offsets of open transactions. Before the timer runs nobody else looks at c.
func (c *Coordinator) restorePending(name string, e *entry) error {
	all, err := c.cfg.Store.Pending(name)
	if err != nil {
		return err
	}
	for id, commits := range all {
		for _, o := range commits {
			if c.cfg.TopicExists != nil && !c.cfg.TopicExists(o.Topic) {
				o.Delete = true
				if err := c.cfg.Store.PutPending(name, id, []catalog.OffsetCommit{o}); err != nil {
					return err
				}
				continue
			}
			e.setPending(id, o)
		}
	}
	return nil
}

// CommitInTxn stores offsets that become the group's when the producer's transaction is committed (TxnOffsetCommit); their CommitMs is
// set here. done is called once, when they are durable, with one error per offset in their order. The caller sees to it that the
// transaction does not end before.
func (c *Coordinator) CommitInTxn(name string, ref MemberRef, producerID int64, offsets []PartitionOffset, done func([]*kerr.Error)) {
	c.commit(name, ref, &producerID, offsets, done)
}

func (c *Coordinator) txnCommitCheckLocked(name string, ref MemberRef, now time.Time) *kerr.Error {
	if c.closed {
		return kerr.CoordinatorNotAvailable
	}
	e := c.groupLocked(name)
	if e == nil {
		if !validName(name) {
			return kerr.InvalidGroupID
		}
		if ref.Generation >= 0 {
			return kerr.IllegalGeneration
		}
		e = c.createLocked(name, now)
	}
	err := e.group.CommitInTxn(now, ref)
	c.setTimerLocked(e)
	return err
}

// CommitInTxn says whether an offset commit in a transaction by this sender is accepted, and keeps its session. One that names no
// member is of a client from before KIP-447, and is always. Unlike a plain commit it may come between the answers to JoinGroup and
// SyncGroup.
func (g *Group) CommitInTxn(now time.Time, ref MemberRef) *kerr.Error {
	switch {
	case g.state == Dead:
		return kerr.CoordinatorNotAvailable
	case ref.Generation < 0 && g.state == Empty, ref.Generation < 0 && ref.MemberID == "" && ref.InstanceID == "":
		return nil
	}
	if err := g.check(ref); err != nil {
		return err
	}
	if !g.isAt(g.byID[ref.MemberID], ref.Generation) {
		return kerr.IllegalGeneration
	}
	g.renew(now, g.byID[ref.MemberID])
	return nil
}

// Unstable says whether a transaction that is open may change the partition's offset.
func (c *Coordinator) Unstable(name, topic string, partition int32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.groupLocked(name)
	return e != nil && e.pending.has(topicPartition{topic, partition})
}

// UnstableOffsets are the partitions that Unstable holds for, without their offsets, in no order.
func (c *Coordinator) UnstableOffsets(name string) (list []PartitionOffset) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.groupLocked(name)
	if e == nil {
		return nil
	}
	seen := map[topicPartition]bool{}
	for _, offsets := range e.pending {
		for key := range offsets {
			if !seen[key] {
				seen[key] = true
				list = append(list, PartitionOffset{Topic: key.topic, Partition: key.partition})
			}
		}
	}
	return list
}

// hold keeps the writer of a group, while its offsets are written by somebody else.
type hold struct {
	kept     sync.WaitGroup // of all groups
	released chan struct{}
}

// keep is called by a group's writer in its turn.
func (h *hold) keep() {
	h.kept.Done()
	<-h.released
}

// EndOffsets ends a transaction's offsets in all groups that it committed to. It returns when no other write to these groups is under
// way, and none begins before finish is called: what is in memory and what is durable change in one order. The holds of one call stand
// in all queues before those of the next, so that two ends do not wait for each other.
func (c *Coordinator) EndOffsets(producerID int64, groups []string, commit bool) (put func(*pebble.Batch) error, finish func(durable bool)) {
	h := &hold{released: make(chan struct{})}
	var held []*entry
	c.mu.Lock()
	for _, name := range groups {
		if e := c.groupLocked(name); e != nil {
			held = append(held, e)
			h.kept.Add(1)
			c.enqueueLocked(e, write{hold: h})
		}
	}
	c.mu.Unlock()
	h.kept.Wait()

	type ended struct {
		e                *entry
		life             int
		pending, commits []catalog.OffsetCommit
	}
	var all []ended
	c.mu.Lock()
	for _, e := range held {
		x := ended{e: e, life: e.life, pending: e.pending.of(producerID)}
		if len(x.pending) == 0 {
			continue // nothing was stored, be it that the store has refused it
		}
		if commit && e.group != nil {
			x.commits = e.overriddenBy(x.pending)
		}
		all = append(all, x)
	}
	c.mu.Unlock()
	put = func(pb *pebble.Batch) (err error) {
		for _, x := range all {
			err = errors.Join(err, c.cfg.Store.EndOffsets(pb, storeName(x.e.name), producerID, x.pending, x.commits))
		}
		return err
	}
	finish = func(durable bool) {
		c.mu.Lock()
		for _, x := range all {
			if durable && x.e.group != nil && x.e.life == x.life { // a group that was deleted since is not the one that is there now
				x.e.publish(x.commits)
				delete(x.e.pending, producerID)
				c.metrics.commits.Add(float64(len(x.commits)))
			}
		}
		c.mu.Unlock()
		close(h.released)
	}
	return put, finish
}

// overriddenBy are those of the offsets that are not older than what was committed outside of the transaction since.
func (e *entry) overriddenBy(commits []catalog.OffsetCommit) (newer []catalog.OffsetCommit) {
	for _, o := range commits {
		if now, ok := e.offsets[topicPartition{o.Topic, o.Partition}]; !ok || now.CommitMs <= o.CommitMs {
			newer = append(newer, o)
		}
	}
	return newer
}

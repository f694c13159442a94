package group

import (
	"errors"
	"strings"

	"github.com/keyframelog/keyframe/storage/catalog"
	"github.com/keyframelog/keyframe/storage/engine"
)

// write is one change to a group's durable state. Exactly one of save, keep, commits, pending, drop, hold and remove is set.
type write struct {
	save    *Save
	keep    bool // a consumer group's metadata, as it is when the write's turn comes
	commits []catalog.OffsetCommit
	drop    func(topicPartition) bool // removes these offsets, also those of open transactions, as they are when the write's turn comes
	pending *pendingWrite             // offsets of an open transaction
	hold    *hold                     // somebody else writes
	remove  bool                      // removes the group and its offsets
	done    func(error)               // may be nil; called without the lock
}

// writersMax bounds the groups that are written to at the same time: enough to share syncs.
const writersMax = 256

// enqueueLocked gives a write to the group's queue. Writes of one group happen in the order of this call, one at a time,
// so that what is in memory and what is durable agree; those of different groups share the store's group commit. The
// queue holds at most what the requests under way hold. Groups whose turn has not come cost no goroutine: a topic that is deleted, or a
// retention that is over, is a write to each of them.
func (c *Coordinator) enqueueLocked(e *entry, w write) {
	e.queue = append(e.queue, w)
	if !e.writing {
		e.writing = true
		c.ready = append(c.ready, e)
		c.startWriterLocked()
	}
}

func (c *Coordinator) startWriterLocked() {
	if len(c.ready) > 0 && c.running < writersMax {
		c.running++
		c.writers.Go(c.work)
	}
}

// work writes to one group after the other, until no writes are left.
func (c *Coordinator) work() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.ready) > 0 && c.running <= writersMax {
		e := c.ready[0]
		c.ready[0], c.ready = nil, c.ready[1:]
		c.mu.Unlock()
		c.write(e)
		c.mu.Lock()
		if len(e.queue) > 0 { // the others first
			c.ready = append(c.ready, e)
			continue
		}
		e.writing, e.queue = false, nil
		if e.group == nil {
			delete(c.entries, e.name)
		}
	}
	c.running--
}

// write does the first writes of a group that can be done at once.
func (c *Coordinator) write(e *entry) {
	c.mu.Lock()
	run := e.takeRun()
	if h := run[0].hold; h != nil {
		// Whoever holds the group may wait for others: it is no writer meanwhile.
		c.running--
		c.startWriterLocked()
		c.mu.Unlock()
		h.keep()
		c.mu.Lock()
		c.running++
		c.mu.Unlock()
		return
	}
	var commits []catalog.OffsetCommit
	for _, w := range run {
		commits = append(commits, w.commits...)
	}
	if run[0].drop != nil {
		commits = e.droppedBy(run[0].drop)
	}
	pending := e.pendingOf(run[0])
	life := e.life
	var metadata []byte
	if m := e.consumer(); m != nil && run[0].keep {
		metadata = m.Append(nil)
	}
	c.mu.Unlock()

	err := c.perform(storeName(e.name), run[0], commits, pending, metadata)
	if err != nil && !errors.Is(err, engine.ErrDiskFull) { // a full disk shows in metrics and readiness, clients try again in a loop
		c.cfg.Logger.Error("cannot make a group's state durable", "group", e.name, "error", err)
	}

	c.mu.Lock()
	var out outbox
	if err == nil && e.life == life && e.group != nil {
		e.publish(commits)
		e.publishPending(pending)
	}
	if save := run[0].save; save != nil && e.group == machine(save.of) {
		now := c.cfg.Now()
		c.stepLocked(e, save.of, now, func(g *Group) Effects { return g.Saved(now, save.Seq, err) }, &out)
	}
	if run[0].keep {
		e.keeps -= len(run)
		if m := e.consumer(); m != nil && err != nil {
			m.unsaved = true
		}
	}
	c.mu.Unlock()
	out.deliver()
	for _, w := range run {
		if w.done != nil {
			w.done(err)
		}
	}
}

// takeRun takes the writes off the queue that can be done at once: all commits in front, or all of a consumer group's metadata, else
// one write.
func (e *entry) takeRun() []write {
	n, first := 1, e.queue[0]
	for n < len(e.queue) && (first.commits != nil && e.queue[n].commits != nil || first.keep && e.queue[n].keep) {
		n++
	}
	run := e.queue[:n:n]
	e.queue = e.queue[n:]
	return run
}

func (c *Coordinator) perform(name string, w write, commits []catalog.OffsetCommit, pending []pendingWrite, metadata []byte) error {
	for _, p := range pending {
		if err := c.cfg.Store.PutPending(name, p.producerID, p.commits); err != nil {
			return err
		}
	}
	switch {
	case len(metadata) > 0:
		return c.cfg.Store.PutGroup(name, metadata)
	case w.save != nil:
		return c.cfg.Store.PutGroup(name, w.save.Metadata.Append(nil))
	case w.remove:
		return c.cfg.Store.DeleteGroup(name)
	case len(commits) > 0:
		return c.cfg.Store.PutOffsets(name, commits)
	}
	return nil
}

// publish makes durable offsets visible.
func (e *entry) publish(commits []catalog.OffsetCommit) {
	for _, o := range commits {
		key := topicPartition{o.Topic, o.Partition}
		if o.Delete {
			delete(e.offsets, key)
		} else {
			e.offsets[key] = offsetOf(o)
		}
	}
}

func (e *entry) droppedBy(drop func(topicPartition) bool) (gone []catalog.OffsetCommit) {
	for key := range e.offsets {
		if drop(key) {
			gone = append(gone, catalog.OffsetCommit{Topic: key.topic, Partition: key.partition, Delete: true})
		}
	}
	return gone
}

// emptyName stands in the store for the group "", which consumers without a group id of the early days commit to.
const emptyName = "\x01"

// storable says whether the store can keep a group of this name.
func storable(name string) bool { return name != emptyName && strings.IndexByte(name, 0) < 0 }

func storeName(name string) string {
	if name == "" {
		return emptyName
	}
	return name
}

// nameInStore is the inverse of storeName.
func nameInStore(stored string) string {
	if stored == emptyName {
		return ""
	}
	return stored
}

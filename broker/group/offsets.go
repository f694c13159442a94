package group

import (
	"errors"
	"time"
	"unicode/utf16"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/keyframelog/keyframe/storage/catalog"
	"github.com/keyframelog/keyframe/storage/engine"
)

// Offset is a committed offset.
type Offset struct {
	Offset      int64
	LeaderEpoch int32 // -1: unknown
	Metadata    string
	CommitMs    int64 // Unix milliseconds
}

func offsetOf(o catalog.OffsetCommit) Offset {
	return Offset{Offset: o.Offset, LeaderEpoch: o.LeaderEpoch, Metadata: o.Metadata, CommitMs: o.CommitMs}
}

// PartitionOffset is an offset and where it belongs.
type PartitionOffset struct {
	Topic     string
	Partition int32
	Offset
}

// Commit stores offsets; their CommitMs is set here. done is called once, when they are durable, with one error per
// offset in their order. For a group that does not exist the error is GROUP_ID_NOT_FOUND, except that a commit without a
// generation creates the group.
func (c *Coordinator) Commit(name string, ref MemberRef, offsets []PartitionOffset, done func([]*kerr.Error)) {
	c.commit(name, ref, nil, offsets, done)
}

// commit is Commit, or CommitInTxn of a producer.
func (c *Coordinator) commit(name string, ref MemberRef, producerID *int64, offsets []PartitionOffset, done func([]*kerr.Error)) {
	errs := make([]*kerr.Error, len(offsets))
	all := func(err *kerr.Error) {
		for i := range errs {
			errs[i] = err
		}
		done(errs)
	}
	check := c.commitCheckLocked
	if producerID != nil {
		check = c.txnCommitCheckLocked
	}
	c.mu.Lock()
	now := c.cfg.Now()
	if err := check(name, ref, now); err != nil {
		c.mu.Unlock()
		all(err)
		return
	}
	e := c.entries[name]
	commits := c.acceptLocked(e.group.stale(ref, producerID != nil), now, offsets, errs)
	if len(commits) == 0 {
		c.mu.Unlock()
		done(errs)
		return
	}
	w := write{commits: commits}
	if producerID != nil {
		w = write{pending: &pendingWrite{producerID: *producerID, commits: commits}}
	}
	w.done = func(err error) {
		if err != nil {
			all(commitRefusal(err, producerID != nil))
			return
		}
		if producerID == nil {
			c.metrics.commits.Add(float64(len(commits)))
		}
		done(errs)
	}
	c.enqueueLocked(e, w)
	c.mu.Unlock()
}

// commitRefusal is what a client is told of a commit that could not be stored. Kafka has no error for a disk that is full. Most clients try
// COORDINATOR_NOT_AVAILABLE again for a minute or for ever and do not say why; KAFKA_STORAGE_ERROR they hand to the application at once, and
// what commits from time to time goes on with the next commit. A transactional producer of Java's would be lost with it, and waits instead.
func commitRefusal(err error, transactional bool) *kerr.Error {
	if errors.Is(err, engine.ErrDiskFull) && !transactional {
		return kerr.KafkaStorageError
	}
	return kerr.CoordinatorNotAvailable
}

// acceptLocked returns the offsets to be stored, as of now, and sets the errors of the others. stale may be nil.
func (c *Coordinator) acceptLocked(stale func(string, int32) *kerr.Error, now time.Time, offsets []PartitionOffset, errs []*kerr.Error) []catalog.OffsetCommit {
	commits := make([]catalog.OffsetCommit, 0, len(offsets))
	for i, o := range offsets {
		if tooLong(o.Metadata, c.cfg.MaxOffsetMetadata) {
			errs[i] = kerr.OffsetMetadataTooLarge
			continue
		}
		if stale != nil {
			if errs[i] = stale(o.Topic, o.Partition); errs[i] != nil {
				continue
			}
		}
		if c.cfg.TopicExists != nil && !c.cfg.TopicExists(o.Topic) {
			// It went after the request had found it, and DropTopic may have been here already.
			errs[i] = kerr.UnknownTopicOrPartition
			continue
		}
		commits = append(commits, catalog.OffsetCommit{
			Topic: o.Topic, Partition: o.Partition, Offset: o.Offset.Offset,
			LeaderEpoch: o.LeaderEpoch, Metadata: o.Metadata, CommitMs: now.UnixMilli(),
		})
	}
	return commits
}

func (c *Coordinator) commitCheckLocked(name string, ref MemberRef, now time.Time) *kerr.Error {
	if c.closed {
		return kerr.CoordinatorNotAvailable
	}
	e := c.groupLocked(name)
	if e == nil {
		if !storable(name) {
			return kerr.InvalidGroupID
		}
		if ref.Generation >= 0 {
			return kerr.GroupIDNotFound
		}
		e = c.createLocked(name, now)
	}
	err := e.group.Commit(now, ref)
	c.setTimerLocked(e)
	return err
}

// tooLong counts in UTF-16 units, as Kafka does.
func tooLong(s string, most int) bool {
	if len(s) <= most {
		return false
	}
	n := 0
	for _, r := range s {
		n += utf16.RuneLen(r)
	}
	return n > most
}

// Offset is the committed offset of one partition; false if there is none, or no such group.
func (c *Coordinator) Offset(name, topic string, partition int32) (Offset, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.groupLocked(name)
	if e == nil {
		return Offset{}, false
	}
	o, ok := e.offsets[topicPartition{topic, partition}]
	return o, ok
}

// Offsets are all committed offsets of a group in no order; none if there is no such group.
func (c *Coordinator) Offsets(name string) []PartitionOffset {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.groupLocked(name)
	if e == nil {
		return nil
	}
	all := make([]PartitionOffset, 0, len(e.offsets))
	for key, o := range e.offsets {
		all = append(all, PartitionOffset{Topic: key.topic, Partition: key.partition, Offset: o})
	}
	return all
}

// DropTopic forgets the offsets of a deleted topic in all groups. It returns before that is durable: what a crash leaves
// behind is dropped at the next start.
func (c *Coordinator) DropTopic(topic string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	is := func(key topicPartition) bool { return key.topic == topic }
	for _, e := range c.entries {
		if e.group != nil && (e.writing || len(e.droppedBy(is)) > 0 || len(e.pending.droppedBy(is)) > 0) {
			c.enqueueLocked(e, write{drop: is})
		}
	}
}

package kafka

import (
	"math"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/topics"
)

// Session epochs with a meaning of their own (KIP-227). Every other one is of a session that goes on.
const (
	sessionEpochNew  = 0  // all partitions are named, and a session may begin
	sessionEpochNone = -1 // all partitions are named, and no session is wanted
)

// nextSessionEpoch is the epoch after one of a session.
func nextSessionEpoch(epoch int32) int32 {
	if epoch == math.MaxInt32 {
		return 1
	}
	return epoch + 1
}

// fetchSession is what a client and the broker remember of the client's fetches (KIP-227): a request names the partitions that have
// changed for the client, a response those that have changed for the broker. It belongs to no connection.
//
// Most partitions of a session are idle: the client has seen all there is. Those cost a request nothing. The rest are active,
// each in the place in which it is served: a partition that was answered goes behind those that had to wait. The log wakes an idle
// partition, once, and the next request makes it active.
type fetchSession struct {
	id        int32
	byID      bool // topics are named by id, in all of its requests
	createdMs int64
	h         *Handler

	mu     sync.Mutex
	closed bool // removed from the cache
	epoch  int32
	// isolation is that of the last request: another one sees another end of every partition.
	isolation int8
	topics    map[fetchTopic]*sessionTopic
	size      int // partitions
	bytes     int // about what it takes in memory
	active    []*sessionPartition

	// The committer's part, which waits for nothing that reads.
	wakeMu sync.Mutex
	woken  []*sessionPartition
	waiter chan<- struct{} // of the request that waits; room for one
}

// sessionTopic is a topic of a session. Its name is known once it was found, also of one that is named by id.
type sessionTopic struct {
	fetchTopic
	found      string
	partitions map[int32]*sessionPartition
}

// sessionPartition is one partition of a session. All but awake is guarded by the session's mu.
type sessionPartition struct {
	s     *fetchSession
	topic *sessionTopic
	req   fetchPosition
	index int32
	// What the client was told.
	highWatermark, logStart int64

	p       *topics.Partition // that is watched
	unwatch func()
	active  bool
	awake   bool // it is in woken; guarded by the session's wakeMu
}

// fetchPosition is what a client asks of a partition.
type fetchPosition struct {
	offset                        int64
	maxBytes, epoch, fetchedEpoch int32
}

func positionOf(r *kmsg.FetchRequestTopicPartition) fetchPosition {
	return fetchPosition{r.FetchOffset, r.PartitionMaxBytes, r.CurrentLeaderEpoch, r.LastFetchedEpoch}
}

// What a session takes in memory, about.
const (
	sessionTopicBytes     = 256
	sessionPartitionBytes = 384
)

// newSession begins a session with the partitions of a full fetch, as they were answered.
func newSession(f *fetching, id int32, nowMs int64) *fetchSession {
	s := &fetchSession{id: id, byID: f.req.Version >= 13, createdMs: nowMs, h: f.h, epoch: 1, isolation: f.req.IsolationLevel,
		topics: map[fetchTopic]*sessionTopic{}}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, fp := range f.asked {
		sp := s.addLocked(fp.topic, fp.req.Partition)
		sp.req = positionOf(&fp.req)
		sp.told(fp)
		if fp.t != nil {
			sp.topic.found = fp.t.Name
		}
	}
	return s
}

// addLocked finds or makes a partition. A new one is active until it was found to be idle.
func (s *fetchSession) addLocked(topic fetchTopic, index int32) *sessionPartition {
	st := s.topics[topic]
	if st == nil {
		st = &sessionTopic{fetchTopic: topic, partitions: map[int32]*sessionPartition{}}
		s.topics[topic] = st
		s.bytes += sessionTopicBytes + 2*len(topic.name)
	}
	sp := st.partitions[index]
	if sp == nil {
		sp = &sessionPartition{s: s, topic: st, index: index, highWatermark: -1, logStart: -1}
		st.partitions[index] = sp
		s.size++
		s.bytes += sessionPartitionBytes
		s.activateLocked(sp)
	}
	return sp
}

func (s *fetchSession) activateLocked(sp *sessionPartition) {
	if !sp.active {
		sp.active = true
		s.active = append(s.active, sp)
	}
}

// forgetLocked drops a partition that the client no longer wants.
func (s *fetchSession) forgetLocked(topic fetchTopic, index int32) {
	st := s.topics[topic]
	if st == nil || st.partitions[index] == nil {
		return
	}
	sp := st.partitions[index]
	sp.watch(nil)
	sp.topic = nil // it may be among the active or the woken ones
	delete(st.partitions, index)
	s.size--
	s.bytes -= sessionPartitionBytes
	if len(st.partitions) == 0 {
		delete(s.topics, topic)
		s.bytes -= sessionTopicBytes + 2*len(topic.name)
	}
}

// resume takes what a request changes, and gives it the partitions that are active. The code says why the session does not go on.
func (s *fetchSession) resume(f *fetching) int16 {
	s.mu.Lock()
	switch {
	case s.closed:
		s.mu.Unlock()
		return fetchSessionIDNotFound
	case s.epoch != f.req.SessionEpoch:
		s.mu.Unlock()
		return invalidFetchSessionEpoch
	case s.byID != (f.req.Version >= 13):
		s.mu.Unlock()
		return fetchSessionTopicID
	}
	s.updateLocked(f.req)
	if s.size == 0 {
		s.mu.Unlock()
		s.h.sessions.remove(s.id)
		f.all() // what the request names and forgets
		return none
	}
	s.epoch = nextSessionEpoch(s.epoch)
	f.session, f.epoch = s, s.epoch
	s.await(nil) // a request that waits has lost the session
	s.wakeLocked()
	for _, sp := range s.active {
		f.join(sp)
	}
	size, bytes := s.size, s.bytes
	s.mu.Unlock()
	if !s.h.sessions.touch(s, size, bytes) {
		return fetchSessionIDNotFound
	}
	return none
}

func (s *fetchSession) updateLocked(req *kmsg.FetchRequest) {
	for i := range req.Topics {
		rt := &req.Topics[i]
		for j := range rt.Partitions {
			rp := &rt.Partitions[j]
			sp := s.addLocked(fetchTopic{rt.Topic, rt.TopicID}, rp.Partition)
			sp.req = positionOf(rp)
			s.activateLocked(sp)
		}
	}
	for _, t := range req.ForgottenTopics {
		for _, index := range t.Partitions {
			s.forgetLocked(fetchTopic{t.Topic, t.TopicID}, index)
		}
	}
	if s.isolation != req.IsolationLevel {
		s.isolation = req.IsolationLevel
		for _, st := range s.topics {
			for _, sp := range st.partitions {
				s.activateLocked(sp)
			}
		}
	}
}

// wakeLocked makes the partitions active that the log has woken, and returns them.
func (s *fetchSession) wakeLocked() []*sessionPartition {
	s.wakeMu.Lock()
	woken := s.woken
	s.woken = nil
	for _, sp := range woken {
		sp.awake = false
	}
	s.wakeMu.Unlock()
	var activated []*sessionPartition
	for _, sp := range woken {
		if sp.topic != nil && !sp.active {
			s.activateLocked(sp)
			activated = append(activated, sp)
		}
	}
	return activated
}

// join adds an active partition of the session to the request.
func (f *fetching) join(sp *sessionPartition) {
	if sp.topic == nil {
		return
	}
	fp := &fetchPartition{topic: sp.topic.fetchTopic, cached: sp, counted: sp.req.offset}
	fp.req.Partition, fp.req.FetchOffset, fp.req.PartitionMaxBytes = sp.index, sp.req.offset, sp.req.maxBytes
	fp.req.CurrentLeaderEpoch, fp.req.LastFetchedEpoch = sp.req.epoch, sp.req.fetchedEpoch
	fp.t, fp.p, fp.code = sp.find()
	sp.watch(fp.p)
	f.partitions = append(f.partitions, fp)
}

// find looks the partition up. A topic that was found by its id, and is gone, is told by what is there under its name.
func (sp *sessionPartition) find() (*topics.Topic, *topics.Partition, int16) {
	st := sp.topic
	t, code := sp.s.h.lookup(topicRef{name: st.name, id: st.id, byID: sp.s.byID})
	switch {
	case code == none:
		st.found = t.Name
	case sp.s.byID && st.found != "":
		code = unknownTopicOrPartition
		if _, ok := sp.s.h.cfg.Registry.Get(st.found); ok {
			code = inconsistentTopicID
		}
	}
	p, code := partitionOf(t, code, sp.index)
	return t, p, code
}

// watch wakes the partition when something in p has changed. nil: nothing does.
func (sp *sessionPartition) watch(p *topics.Partition) {
	if sp.p == p {
		return
	}
	if sp.unwatch != nil {
		sp.unwatch()
		sp.unwatch = nil
	}
	if sp.p = p; p != nil {
		sp.unwatch = p.Log.Watch(sp.wake)
	}
}

// wake is called by the log's committer.
func (sp *sessionPartition) wake() {
	s := sp.s
	s.wakeMu.Lock()
	if !sp.awake {
		sp.awake = true
		s.woken = append(s.woken, sp)
	}
	s.tellWaiterLocked()
	s.wakeMu.Unlock()
}

func (s *fetchSession) tellWaiterLocked() {
	select {
	case s.waiter <- struct{}{}:
	default: // nobody waits, or it was told
	}
}

// await sets who is told when something has changed; a request that was told before is told that it is not any more.
func (s *fetchSession) await(waiter chan<- struct{}) {
	s.wakeMu.Lock()
	s.tellWaiterLocked()
	s.waiter = waiter
	s.wakeMu.Unlock()
}

// awaited ends what await began.
func (s *fetchSession) awaited(waiter chan<- struct{}) {
	s.wakeMu.Lock()
	if s.waiter == waiter {
		s.waiter = nil
	}
	s.wakeMu.Unlock()
}

// goesOn says whether the request is still the session's last.
func (s *fetchSession) goesOn(f *fetching) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch == f.epoch
}

// joined adds what was woken since to a request that waits, and says whether the request is still the session's last.
func (s *fetchSession) joined(f *fetching) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.epoch != f.epoch {
		return false
	}
	for _, sp := range s.wakeLocked() {
		f.join(sp)
	}
	return true
}

// answered returns the partitions that the client has to be told of, and notes that it was. The session may have gone on without
// the request: a client sends one at a time, so somebody else has its session.
func (s *fetchSession) answered(f *fetching) ([]*fetchPartition, int16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch != f.epoch {
		return nil, invalidFetchSessionEpoch
	}
	var changed []*fetchPartition
	var waiting, answered []*sessionPartition
	for _, fp := range f.partitions {
		sp := fp.cached
		told := sp.told(fp)
		if told {
			changed = append(changed, fp)
		}
		switch {
		case sp.topic == nil || f.idle(fp):
			sp.active = false
		case told && !fp.skipped:
			answered = append(answered, sp)
		default:
			waiting = append(waiting, sp)
		}
	}
	s.active = append(waiting, answered...)
	return changed, none
}

// told notes an answer, and says whether it has something that the client does not know.
func (sp *sessionPartition) told(fp *fetchPartition) bool {
	a := &fp.answer
	changed := fp.records.len() > 0 || a.ErrorCode != none || a.DivergingEpoch.Epoch >= 0 ||
		a.HighWatermark != sp.highWatermark || a.LogStartOffset != sp.logStart
	sp.highWatermark, sp.logStart = a.HighWatermark, a.LogStartOffset // -1 with an error: when it is over, that is news
	return changed
}

// idle says that there is nothing more for the client until the log wakes the partition or the client asks for something else.
func (f *fetching) idle(fp *fetchPartition) bool {
	a := &fp.answer
	end := a.HighWatermark
	if f.req.IsolationLevel == 1 {
		end = a.LastStableOffset
	}
	return a.ErrorCode == none && a.DivergingEpoch.Epoch < 0 && fp.req.FetchOffset >= end
}

// close forgets everything, and ends the wait of a request.
func (s *fetchSession) close() {
	s.mu.Lock()
	s.closed = true
	for _, st := range s.topics {
		for _, sp := range st.partitions {
			sp.watch(nil)
		}
	}
	s.mu.Unlock()
	s.await(nil)
}

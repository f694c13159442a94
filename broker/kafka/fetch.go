package kafka

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/keyframelog/keyframe/broker/quota"
	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/broker/wire"
)

// fetch reads batches from many partitions. When there is not enough, one waiter watches all of them in the connection's
// writer goroutine: no goroutine and no timer per partition, no polling.
//
// A fetch with the epoch 0 begins a session (KIP-227), one with a higher epoch goes on with it: fetch_session.go.
func (h *Handler) fetch(ctx context.Context, r *wire.Request, req *kmsg.FetchRequest) wire.Response {
	f, code := h.newFetch(r, req)
	if code != none {
		resp := req.ResponseKind().(*kmsg.FetchResponse)
		resp.ErrorCode = code
		return wire.Reply(resp)
	}
	wait := time.Duration(max(req.MaxWaitMillis, 0)) * time.Millisecond
	response := wire.Later(func(ctx context.Context) wire.Message {
		f.await(ctx, r.Conn.Draining(), wait-h.cfg.Now().Sub(r.Received))
		return f.read(ctx)
	})
	response.Done = f.release
	return response
}

// fetching is one fetch request in work.
type fetching struct {
	h          *Handler
	r          *wire.Request
	conn       *wire.Conn
	req        *kmsg.FetchRequest
	session    *fetchSession     // that the request goes on with; nil: it names all of its partitions
	epoch      int32             // of the session, for the next request; it is another's when the session has gone on without this one
	asked      []*fetchPartition // in the order of the request
	partitions []*fetchPartition // the same in the order in which they are served
	held       int64             // bytes counted in h.fetching
	buffers    []*[]byte         // of the answers' rows, given back when the response is out
	spare      *[]byte           // one of them whose rows were not given: the next read takes it
}

// fetchTopic is a topic as a request names it.
type fetchTopic struct {
	name string
	id   [16]byte
}

// fetchPartition is one partition of a fetch. p is nil when code says that it cannot be read.
type fetchPartition struct {
	topic  fetchTopic
	req    kmsg.FetchRequestTopicPartition
	t      *topics.Topic
	p      *topics.Partition
	code   int16
	cached *sessionPartition // of a fetch that goes on with a session

	counted   int64 // await has counted the bytes of [FetchOffset, counted)
	available int   // of them, at most PartitionMaxBytes
	skipped   bool  // had records, but the response was full
	answer    kmsg.FetchResponseTopicPartition
	records   records // of the answer
}

// newFetch finds the partitions of a request: all of them are in it, or its session knows the rest.
func (h *Handler) newFetch(r *wire.Request, req *kmsg.FetchRequest) (*fetching, int16) {
	f := &fetching{h: h, r: r, conn: r.Conn, req: req}
	if req.SessionEpoch == sessionEpochNone || req.SessionEpoch == sessionEpochNew {
		h.sessions.remove(req.SessionID) // a full fetch closes the session that it names
		f.all()
		f.rotate()
		return f, none
	}
	s := h.sessions.get(req.SessionID)
	if s == nil {
		return nil, fetchSessionIDNotFound
	}
	return f, s.resume(f)
}

// all takes each partition of the request once, as Kafka does, in its last entry: an entry of 16 bytes costs hundreds here, and a
// response would have the records as often as they are asked for.
func (f *fetching) all() {
	type asked struct {
		topic     topicRef
		partition int32
	}
	seen := map[asked]*fetchPartition{}
	for _, rt := range f.req.Topics {
		ref := topicRef{name: rt.Topic, id: rt.TopicID, byID: f.req.Version >= 13}
		t, code := f.h.lookup(ref)
		for _, rp := range rt.Partitions {
			if fp := seen[asked{ref, rp.Partition}]; fp != nil {
				fp.req, fp.counted = rp, rp.FetchOffset
				continue
			}
			fp := &fetchPartition{topic: fetchTopic{rt.Topic, rt.TopicID}, req: rp, t: t, counted: rp.FetchOffset}
			fp.p, fp.code = partitionOf(t, code, rp.Partition)
			f.asked = append(f.asked, fp)
			seen[asked{ref, rp.Partition}] = fp
		}
	}
	f.partitions = f.asked
}

// fetchStart is the connection's memory of where the last response ran full.
type fetchStart struct{}

type partitionKey struct {
	id        [16]byte
	partition int32
}

// rotate starts with the first partition that the last response of this connection had no room for, so that none starves.
// Without a session it is the client's part to rotate, and some do not.
func (f *fetching) rotate() {
	v, ok := f.conn.Local().Load(fetchStart{})
	if !ok {
		return
	}
	start := v.(partitionKey)
	for i, fp := range f.partitions {
		if fp.t != nil && fp.t.ID == start.id && fp.req.Partition == start.partition {
			f.partitions = slices.Concat(f.partitions[i:], f.partitions[:i])
			return
		}
	}
}

// remember notes where the next response of the connection starts.
func (f *fetching) remember() {
	for _, fp := range f.partitions {
		if fp.skipped {
			f.conn.Local().Store(fetchStart{}, partitionKey{id: fp.t.ID, partition: fp.req.Partition})
			return
		}
	}
	f.conn.Local().Delete(fetchStart{})
}

// read makes the response out of what is there now.
func (f *fetching) read(ctx context.Context) wire.Message {
	began := f.h.cfg.Now()
	budget := f.responseBytes()
	empty := true
	for _, fp := range f.partitions {
		fp.answer = emptyAnswer(fp.req.Partition)
		room := f.reserve(min(budget, int(fp.req.PartitionMaxBytes)))
		f.readPartition(ctx, fp, room, empty)
		n := fp.records.len()
		f.hold(fp.records.held() - room) // a chunk for each run, though one is read after the other: that bounds the files that runs hold open, too
		budget -= n
		empty = empty && n == 0
	}
	resp := &fetchResponse{FetchResponse: f.req.ResponseKind().(*kmsg.FetchResponse)}
	if f.throttleFetch(f.responseSize(), f.h.cfg.Now().Sub(began)) {
		return f.nothing(resp)
	}
	if f.session != nil {
		resp.SessionID = f.session.id
		if f.asked, resp.ErrorCode = f.session.answered(f); resp.ErrorCode != none {
			return resp
		}
	} else {
		f.remember()
		if f.req.SessionEpoch == sessionEpochNew {
			resp.SessionID = f.h.sessions.create(f)
		}
	}
	for _, fp := range f.asked {
		last := len(resp.Topics) - 1
		if last < 0 || resp.Topics[last].Topic != fp.topic.name || resp.Topics[last].TopicID != fp.topic.id {
			resp.Topics = append(resp.Topics, kmsg.FetchResponseTopic{Topic: fp.topic.name, TopicID: fp.topic.id})
			last++
		}
		resp.Topics[last].Partitions = append(resp.Topics[last].Partitions, fp.answer)
		resp.records = append(resp.records, fp.records)
		resp.bytes += fp.records.len()
	}
	return resp
}

// nothing answers a fetch that is over a quota: the session goes on as if it had not been asked (KIP-219).
func (f *fetching) nothing(resp *fetchResponse) wire.Message {
	if f.session == nil {
		return resp
	}
	resp.SessionID = f.session.id
	if !f.session.goesOn(f) {
		resp.ErrorCode = invalidFetchSessionEpoch
	}
	return resp
}

// responseSize is about how long the response will be.
func (f *fetching) responseSize() (size int) {
	const other = 64
	for _, fp := range f.partitions {
		size += other + fp.records.len()
	}
	return size
}

// responseBytes is the room for records in this response.
func (f *fetching) responseBytes() int {
	if f.req.Version < 3 {
		return f.h.cfg.FetchMaxBytes
	}
	most := min(f.h.cfg.FetchMaxBytes, int(f.req.MaxBytes))
	if q := f.h.cfg.Quotas; q != nil && q.Bounds(quota.Fetch) {
		if bytes, ok := q.Most(quota.Fetch, clientOf(f.r)); ok && bytes < float64(most) {
			most = int(bytes) // more would be over the quota by itself
		}
	}
	return most
}

// reserve takes up to n bytes of what all responses together may hold, before they are read: responses that are made at the
// same time would each see the same room. Slow readers hold what they do not take: when all of them hold too much, responses
// shrink to one batch.
func (f *fetching) reserve(n int) int {
	for {
		held := f.h.fetching.Load()
		take := max(min(int64(n), f.h.cfg.FetchOutstandingMax-held), 0)
		if take == 0 || f.h.fetching.CompareAndSwap(held, held+take) {
			f.held += take
			return int(take)
		}
	}
}

// hold counts what a partition took beyond what was reserved, or gives back what it did not.
func (f *fetching) hold(n int) {
	f.held += int64(n)
	f.h.fetching.Add(int64(n))
}

// fetchBuffers hold the rows of a partition's answer until they are sent; a partition's usual limit is 1 MiB.
var fetchBuffers = sync.Pool{New: func() any { return new([]byte) }}

const fetchBufferKeepBytes = 2 << 20

// buffer returns an empty buffer for one partition's rows.
func (f *fetching) buffer() *[]byte {
	b := f.spare
	if f.spare = nil; b == nil {
		b = fetchBuffers.Get().(*[]byte)
		f.buffers = append(f.buffers, b)
	}
	*b = (*b)[:0]
	return b
}

// release gives the response's bytes back once it is sent or dropped.
func (f *fetching) release() {
	f.h.fetching.Add(-f.held)
	f.held = 0
	for _, b := range f.buffers {
		if cap(*b) <= fetchBufferKeepBytes {
			fetchBuffers.Put(b)
		}
	}
	f.buffers, f.spare = nil, nil
	for _, fp := range f.partitions {
		if fp.records.run != nil {
			fp.records.run.Close()
		}
	}
}

// drop gives back what the records of a partition hold: they are not given.
func (f *fetching) drop(fp *fetchPartition) {
	if fp.records.run != nil {
		fp.records.run.Close()
	}
	if fp.records.buffer != nil {
		f.spare = fp.records.buffer
	}
	fp.records = records{}
}

func emptyAnswer(partition int32) kmsg.FetchResponseTopicPartition {
	a := kmsg.NewFetchResponseTopicPartition()
	a.Partition = partition
	a.HighWatermark, a.LastStableOffset, a.LogStartOffset = -1, -1, -1
	a.PreferredReadReplica = -1
	return a
}

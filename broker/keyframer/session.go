package keyframer

import (
	"context"
	"fmt"
	"sync"
)

// Session follows what one connection has fetched of key-framed partitions, to tell a consumer that reads from the start
// from one that comes back too late. Below the tombstone horizon deletes are missing; the former need not know of keys
// that it never saw, the latter would keep them for ever.
type Session struct {
	mu   sync.Mutex
	read map[sessionKey]progress // guarded by mu
}

type sessionKey struct {
	topic     [16]byte
	partition int32
}

// progress is a connection's reading of one partition without a gap from its log start.
type progress struct {
	next   int64 // the offset that goes on without a gap
	logEnd int64 // when the reading began
}

// sessionPartitions bounds what one connection makes us remember.
const sessionPartitions = 1 << 14

type sessionContextKey struct{}

// WithSession attaches a connection's session to the context of its fetches.
func WithSession(ctx context.Context, s *Session) context.Context {
	return context.WithValue(ctx, sessionContextKey{}, s)
}

func sessionOf(ctx context.Context) *Session {
	s, _ := ctx.Value(sessionContextKey{}).(*Session)
	return s
}

// Fetched notes that the connection was given everything of [from, next). logStart and logEnd are those of the moment.
func (s *Session) Fetched(topic [16]byte, partition int32, from, next, logStart, logEnd int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := sessionKey{topic, partition}
	p, known := s.read[key]
	switch {
	case from == logStart && (!known || p.next != from):
		if s.read == nil {
			s.read = map[sessionKey]progress{}
		}
		if len(s.read) < sessionPartitions || known {
			s.read[key] = progress{next: next, logEnd: logEnd}
		}
	case known && p.next == from:
		p.next = next
		s.read[key] = p
	case known:
		delete(s.read, key)
	}
}

// continues says whether a fetch at from goes on without a gap from the log start, and which log end it began at.
func (s *Session) continues(topic [16]byte, partition int32, from int64) (logEnd int64, ok bool) {
	if s == nil {
		return 0, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, known := s.read[sessionKey{topic, partition}]
	return p.logEnd, known && p.next == from
}

// stale says whether a fetch at from can miss deletes. A reading from the log start does not as long as every tombstone
// that expired was there when it began: what it has read so far shows no key as live whose delete it will not see.
func (p *Partition) stale(ctx context.Context, from, horizon int64) bool {
	if b := p.log.Bounds(); from >= horizon || from == b.LogStart {
		return false
	}
	logEnd, ok := sessionOf(ctx).continues(p.topic.ID, p.Index, from)
	return !ok || horizon > logEnd
}

func (p *Partition) checkStale(ctx context.Context, from, horizon int64) error {
	if !p.stale(ctx, from, horizon) {
		return nil
	}
	p.k.metrics.staleFetches.WithLabelValues(p.topic.Name, p.label()).Inc()
	if p.topic.Settings().StaleFetchError {
		return fmt.Errorf("%w: %s/%d: offset %d, horizon %d", ErrStaleFetch, p.topic.Name, p.Index, from, horizon)
	}
	return nil
}

// passed notes a fetch of rows in the connection's session.
func (p *Partition) passed(ctx context.Context, from, next int64) {
	if s := sessionOf(ctx); s != nil {
		b := p.log.Bounds()
		s.Fetched(p.topic.ID, p.Index, from, next, b.LogStart, b.LogEnd)
	}
}

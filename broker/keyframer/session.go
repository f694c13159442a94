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
	next       int64 // everything below was given
	deltaStart int64 // N1 when the reading began, or lower
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

// Fetched notes that the connection was given everything of [from, next): when it is certain that the answer goes out. logStart and
// deltaStart are those of a moment before the answer was read. What overlaps with what was given before is no gap; what leaves one
// does not count.
func (s *Session) Fetched(topic [16]byte, partition int32, from, next, logStart, deltaStart int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := sessionKey{topic, partition}
	p, known := s.read[key]
	switch {
	case from == logStart && !(known && p.deltaStart == deltaStart):
		p = progress{next: next, deltaStart: deltaStart} // a new reading, of other rows
	case known && from <= p.next:
		p.next = max(p.next, next)
	default:
		return
	}
	if s.read == nil {
		s.read = map[sessionKey]progress{}
	}
	if len(s.read) < sessionPartitions || known {
		s.read[key] = p
	}
}

// continues says whether a fetch at from goes on without a gap from the log start, and which N1 the reading began at.
func (s *Session) continues(topic [16]byte, partition int32, from int64) (deltaStart int64, ok bool) {
	if s == nil {
		return 0, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p, known := s.read[sessionKey{topic, partition}]
	return p.deltaStart, known && from <= p.next
}

// stale says whether a fetch at from can miss deletes. A reading from the log start does not as long as every tombstone that expired
// was folded when it began: no row that it was given shows a key as live that such a tombstone had deleted.
func (p *Partition) stale(ctx context.Context, from, horizon int64) bool {
	if b := p.log.Bounds(); from >= horizon || from == b.LogStart {
		return false
	}
	deltaStart, ok := sessionOf(ctx).continues(p.topic.ID, p.Index, from)
	return !ok || horizon > deltaStart
}

func (p *Partition) checkStale(ctx context.Context, from, horizon int64) error {
	if !p.stale(ctx, from, horizon) {
		return nil
	}
	p.counts.staleFetches.Add(1)
	if p.topic.Settings().StaleFetchError {
		return fmt.Errorf("%w: %s/%d: offset %d, horizon %d", ErrStaleFetch, p.topic.Name, p.Index, from, horizon)
	}
	return nil
}

package kafka

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// fetchSessions are the fetch sessions of all clients, in a bounded number of slots and bounded memory. A client that gets none has the
// session 0 in its answer and goes on with full fetches.
type fetchSessions struct {
	slotsMax int
	bytesMax int64
	now      func() time.Time

	mu       sync.Mutex
	sessions map[int32]*cachedSession
	bytes    int64
	size     int // partitions of all sessions
	evicted  int64
}

// cachedSession is a session's place in the cache.
type cachedSession struct {
	s          *fetchSession
	lastUsedMs int64
	size       int
	bytes      int
}

// sessionEvictionMs is how long a session keeps its place against a larger one, and against any one if it is not used: Kafka's.
const sessionEvictionMs = 120_000

func newFetchSessions(slotsMax int, bytesMax int64, now func() time.Time) *fetchSessions {
	return &fetchSessions{slotsMax: slotsMax, bytesMax: bytesMax, now: now, sessions: map[int32]*cachedSession{}}
}

func (c *fetchSessions) get(id int32) *fetchSession {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cs := c.sessions[id]; cs != nil {
		return cs.s
	}
	return nil
}

// create begins a session with what a full fetch was answered and returns its id, or 0 when there is no place for it.
func (c *fetchSessions) create(f *fetching) int32 {
	nowMs := c.now().UnixMilli()
	id, evicted := c.reserve(len(f.asked), nowMs)
	if evicted != nil {
		evicted.close()
	}
	if id == 0 {
		return 0
	}
	s := newSession(f, id, nowMs)
	c.mu.Lock()
	cs := c.sessions[id]
	cs.s = s
	fits := c.resizeLocked(cs, s.size, s.bytes)
	c.mu.Unlock()
	if !fits {
		c.remove(id)
		return 0
	}
	return id
}

// reserve takes a slot, if need be that of another session, which is returned.
func (c *fetchSessions) reserve(size int, nowMs int64) (id int32, evicted *fetchSession) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.sessions) >= c.slotsMax || c.bytes >= c.bytesMax {
		worst := c.evictableLocked(size, nowMs)
		if worst == nil {
			return 0, nil
		}
		evicted = worst.s
		c.removeLocked(worst.s.id)
		c.evicted++
	}
	for id == 0 || c.sessions[id] != nil {
		id = 1 + rand.Int32N(1<<31-1)
	}
	c.sessions[id] = &cachedSession{lastUsedMs: nowMs}
	return id, evicted
}

// evictableLocked returns the session whose slot a new one of size partitions may take: the one that was not used for longest, if that
// was long; else the smallest of those that are not young, if it is smaller than the new one.
func (c *fetchSessions) evictableLocked(size int, nowMs int64) *cachedSession {
	var oldest, smallest *cachedSession
	for _, cs := range c.sessions {
		if cs.s == nil { // about to begin
			continue
		}
		if oldest == nil || cs.lastUsedMs < oldest.lastUsedMs {
			oldest = cs
		}
		if nowMs-cs.s.createdMs > sessionEvictionMs && cs.size < size && (smallest == nil || cs.size < smallest.size) {
			smallest = cs
		}
	}
	if oldest != nil && nowMs-oldest.lastUsedMs > sessionEvictionMs {
		return oldest
	}
	return smallest
}

// resizeLocked notes what a session holds, and says whether there is memory for it.
func (c *fetchSessions) resizeLocked(cs *cachedSession, size, bytes int) bool {
	c.size += size - cs.size
	c.bytes += int64(bytes - cs.bytes)
	grown := bytes > cs.bytes
	cs.size, cs.bytes = size, bytes
	return !grown || c.bytes <= c.bytesMax
}

// touch notes that a session was used, and what it holds now. One that has grown beyond the memory of all is removed: false.
func (c *fetchSessions) touch(s *fetchSession, size, bytes int) bool {
	c.mu.Lock()
	cs := c.sessions[s.id]
	if cs == nil || cs.s != s { // removed in between
		c.mu.Unlock()
		return true
	}
	cs.lastUsedMs = c.now().UnixMilli()
	fits := c.resizeLocked(cs, size, bytes)
	c.mu.Unlock()
	if !fits {
		c.remove(s.id)
	}
	return fits
}

// remove ends a session, if there is one with the id.
func (c *fetchSessions) remove(id int32) {
	c.mu.Lock()
	s := c.removeLocked(id)
	c.mu.Unlock()
	if s != nil {
		s.close()
	}
}

func (c *fetchSessions) removeLocked(id int32) *fetchSession {
	cs := c.sessions[id]
	if cs == nil || cs.s == nil {
		return nil
	}
	delete(c.sessions, id)
	c.size -= cs.size
	c.bytes -= int64(cs.bytes)
	return cs.s
}

var (
	descSessions   = prometheus.NewDesc("keyframe_kafka_fetch_sessions", "Incremental fetch sessions (KIP-227).", nil, nil)
	descPartitions = prometheus.NewDesc("keyframe_kafka_fetch_session_partitions", "Partitions of all incremental fetch sessions.", nil, nil)
	descEvictions  = prometheus.NewDesc("keyframe_kafka_fetch_session_evictions_total",
		"Incremental fetch sessions that lost their place to another one.", nil, nil)
)

// Describe implements prometheus.Collector.
func (c *fetchSessions) Describe(ch chan<- *prometheus.Desc) {
	ch <- descSessions
	ch <- descPartitions
	ch <- descEvictions
}

// Collect implements prometheus.Collector.
func (c *fetchSessions) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	sessions, size, evicted := len(c.sessions), c.size, c.evicted
	c.mu.Unlock()
	ch <- prometheus.MustNewConstMetric(descSessions, prometheus.GaugeValue, float64(sessions))
	ch <- prometheus.MustNewConstMetric(descPartitions, prometheus.GaugeValue, float64(size))
	ch <- prometheus.MustNewConstMetric(descEvictions, prometheus.CounterValue, float64(evicted))
}

package replicas

import (
	"cmp"
	"container/list"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	api "github.com/keyframelog/keyframe/proto/state"
	"github.com/keyframelog/keyframe/storage/catalog"
)

// Config of a Registry. Find and Store are required; zero values of the rest mean the defaults.
type Config struct {
	// Find returns what the log of a partition says; false where there is none such.
	Find func(t Topic, partition int32) (Log, bool)
	// Store keeps disputes and settlements.
	Store Store
	// Interval is how often replicas are asked to report, whether anything happened or not. Default 5 s. Where they are many, they are asked
	// less often: all together ReportsPerSecond times.
	Interval         time.Duration
	ReportsPerSecond int // default 200
	// ForgetAfter is how long a silent replica is kept. Default 5 min.
	ForgetAfter time.Duration
	// ReplicasMax and BytesMax bound what is kept, by processes and by estimate. Defaults 10,000 and 64 MiB.
	ReplicasMax int
	BytesMax    int

	Now     func() time.Time
	Logger  *slog.Logger
	Metrics prometheus.Registerer // nil: not registered
}

// What one replica, and its copy of one partition, are taken to need of BytesMax beside their names: messages, claims, map entries.
const (
	replicaBytes   = 512
	partitionBytes = 3 << 9
	reasonBytesMax = 256 // of what is kept of a reason
)

// ErrFull is wrapped where there is no room for one more replica.
var ErrFull = errors.New("as many replicas report as the broker keeps")

func (c Config) withDefaults() Config {
	setDefault(&c.Interval, 5*time.Second)
	setDefault(&c.ReportsPerSecond, 200)
	setDefault(&c.ForgetAfter, 5*time.Minute)
	setDefault(&c.ReplicasMax, 10_000)
	setDefault(&c.BytesMax, 64<<20)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func setDefault[T int | time.Duration](v *T, value T) {
	if *v <= 0 {
		*v = value
	}
}

// Registry is safe for concurrent use. It has no goroutine.
type Registry struct {
	cfg     Config
	storing chan struct{} // has one place: of who writes to the store. A channel, because it is held across a sync

	mu sync.Mutex // guards the rest
	// unstored are where disputes or settlements have changed since they were stored.
	unstored map[catalog.DisputedPartition]bool
	changed  chan struct{} // closed when a dispute has begun, changed or ended since
	// topics have an entry from the first report until they are dropped: counters outlive those who were counted.
	topics  map[[16]byte]*topic
	order   *list.List // of *replica, that which reported longest ago first
	bytes   int
	refused uint64
}

type topic struct {
	Topic
	replicas map[string]*namesakes
	counts   map[int32]*counts
	disputes map[int32]*dispute
	settled  map[int32]settlement
	// claimants are the replicas that have made each of the claims that are kept, the first one first.
	claimants map[disagreement][]*replica
}

// replica is one process that reports under a name.
type replica struct {
	topic      *topic
	name, host string
	instance   string // drawn when it was opened; empty: by a client that draws none
	reported   time.Time
	due        time.Duration // after reported
	partitions map[int32]*part
	bytes      int
	place      *list.Element
}

// process is what tells the runs of a name apart.
func (rep *replica) process() string {
	if rep.instance == "" {
		return rep.host
	}
	return fmt.Sprintf("%s %x", rep.host, rep.instance)
}

// part is a replica's copy of one partition.
type part struct {
	last   *api.ReplicaPartition // as reported, without its lag
	judged said                  // the latest verdict, if it could be compared with the log; else it is looked at again when it is told again
	// claims are where it said that it differs, latest last, at most claimsMax; see dispute.go.
	claims    []claim
	overruled bool // an operator has decided for the log; until it is equal once
}

// Open returns a registry that knows of no replica, and of the disputes that are stored. Errors: the store's.
func Open(cfg Config) (*Registry, error) {
	r := &Registry{
		cfg: cfg.withDefaults(), topics: map[[16]byte]*topic{}, order: list.New(), storing: make(chan struct{}, 1),
		unstored: map[catalog.DisputedPartition]bool{}, changed: make(chan struct{}),
	}
	if err := r.load(); err != nil {
		return nil, err
	}
	if r.cfg.Metrics != nil {
		r.cfg.Metrics.MustRegister(&metrics{r})
	}
	return r, nil
}

// Report takes a report, whose form the caller has checked. A dispute is stored before anybody hears of it. Errors: ErrFull, and the store's.
func (r *Registry) Report(t Topic, m *api.ReportRequest) (*api.ReportResponse, error) {
	now := r.cfg.Now()
	seen := make([]sighting, 0, len(m.Partitions))
	for _, x := range m.Partitions {
		seen = append(seen, r.look(t, x))
	}
	var n news
	answer, err := r.take(t, m, seen, now, &n)
	if err == nil && (len(n.changed) > 0 || len(answer.Disputed) > 0) {
		err = r.store()
	}
	n.log(r.cfg.Logger)
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// take is the part of Report that holds the lock.
func (r *Registry) take(t Topic, m *api.ReportRequest, seen []sighting, now time.Time, n *news) (*api.ReportResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forgetLocked(now)
	answer := &api.ReportResponse{IntervalMs: r.intervalLocked().Milliseconds()}
	if known := r.topics[t.ID]; m.Leaving && len(seen) == 0 && (known == nil || known.find(m) == nil) {
		return answer, nil
	}
	rep, err := r.admitLocked(t, m, now)
	if err != nil {
		return nil, err
	}
	for i := range seen {
		r.seeLocked(rep, &seen[i], now, n)
	}
	if m.Leaving {
		r.removeLocked(rep)
	}
	r.shareLocked(rep.topic, rep.name, now, n)
	r.changedLocked(rep.topic, n)
	answer.Disputed = slices.Sorted(maps.Keys(rep.topic.disputes))
	return answer, nil
}

// admitLocked finds the replica or makes one, if there is room.
func (r *Registry) admitLocked(t Topic, m *api.ReportRequest, now time.Time) (*replica, error) {
	in := r.topicLocked(t)
	n, rep := in.replicas[m.Replica], in.find(m)
	if rep == nil && n != nil && !m.Leaving {
		rep = n.enter(string(m.Instance), now)
	}
	if rep == nil {
		rep = &replica{topic: in, name: m.Replica, instance: string(m.Instance), partitions: map[int32]*part{}}
	} else {
		r.order.MoveToBack(rep.place)
		rep.reported = now
	}
	bytes := replicaBytes + len(m.Replica) + len(m.Host) + partitionBytes*len(rep.partitions)
	came := map[int32]bool{}
	for _, x := range m.Partitions {
		if rep.partitions[x.Partition] == nil && !came[x.Partition] {
			came[x.Partition] = true
			bytes += partitionBytes
		}
	}
	if err := r.makeRoomLocked(rep, bytes, now); err != nil {
		r.refused++
		return nil, fmt.Errorf("%w: %d", err, r.order.Len())
	}
	r.bytes += bytes - rep.bytes
	rep.host, rep.bytes, rep.reported, rep.due = m.Host, bytes, now, 2*r.intervalLocked()
	if rep.place == nil {
		if n = in.replicas[rep.name]; n == nil { // making room may have taken it
			n = &namesakes{}
			in.replicas[rep.name] = n
		}
		n.all = slices.Insert(n.all, 0, rep)
		rep.place = r.order.PushBack(rep)
	}
	return rep, nil
}

// topicLocked finds the topic or makes an entry, in place of that of a former life: a report that was under way when the topic was dropped
// has left one.
func (r *Registry) topicLocked(t Topic) *topic {
	if in := r.topics[t.ID]; in != nil {
		return in
	}
	for _, other := range r.topics {
		if other.Name == t.Name {
			r.dropLocked(other)
		}
	}
	in := &topic{
		Topic: t, replicas: map[string]*namesakes{}, counts: map[int32]*counts{}, disputes: map[int32]*dispute{}, settled: map[int32]settlement{},
		claimants: map[disagreement][]*replica{},
	}
	r.topics[t.ID] = in
	return in
}

// makeRoomLocked forgets replicas that are overdue, until one of so many bytes has room.
func (r *Registry) makeRoomLocked(rep *replica, bytes int, now time.Time) error {
	for {
		newcomer := 0
		if rep.place == nil {
			newcomer = 1
		}
		if r.order.Len()+newcomer <= r.cfg.ReplicasMax && r.bytes-rep.bytes+bytes <= r.cfg.BytesMax {
			return nil
		}
		first := r.order.Front()
		if first == nil {
			return ErrFull
		}
		silent := first.Value.(*replica)
		if !silent.overdue(now) { // so it is not the one that reports
			return ErrFull
		}
		r.removeLocked(silent)
	}
}

func (rep *replica) overdue(now time.Time) bool { return now.Sub(rep.reported) > rep.due }

func (r *Registry) intervalLocked() time.Duration {
	return max(r.cfg.Interval, time.Duration(r.order.Len())*time.Second/time.Duration(r.cfg.ReportsPerSecond))
}

func (r *Registry) forgetLocked(now time.Time) {
	for e := r.order.Front(); e != nil; e = r.order.Front() {
		rep := e.Value.(*replica)
		if now.Sub(rep.reported) <= max(r.cfg.ForgetAfter, rep.due) {
			return
		}
		r.removeLocked(rep)
	}
}

func (r *Registry) removeLocked(rep *replica) {
	r.order.Remove(rep.place)
	n := rep.topic.replicas[rep.name]
	if n.all = slices.DeleteFunc(n.all, func(o *replica) bool { return o == rep }); len(n.all) == 0 {
		delete(rep.topic.replicas, rep.name)
	}
	for _, p := range rep.partitions {
		rep.unclaim(p, func(claim) bool { return true })
	}
	r.bytes -= rep.bytes
}

// seeLocked takes what a replica says of one partition.
func (r *Registry) seeLocked(rep *replica, s *sighting, now time.Time, n *news) {
	no := s.said.Partition
	p := rep.partitions[no]
	if p == nil {
		p = &part{}
		rep.partitions[no] = p
	}
	if rep.topic.heardLocked(no, rep.name, now, n) {
		p.overruled = true
	}
	rep.topic.countsOf(no).add(p.last, s.said)
	if v := verdict(s.said); p.judged != v {
		rep.topic.judgeLocked(rep, p, s, now, n)
		if p.judged = (said{}); s.comparable {
			p.judged = v
		}
	}
	p.last = s.said
}

// DropTopic forgets a topic that was deleted.
func (r *Registry) DropTopic(id [16]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t := r.topics[id]; t != nil {
		r.dropLocked(t)
	}
}

func (r *Registry) dropLocked(t *topic) {
	for _, n := range t.replicas {
		for _, rep := range slices.Clone(n.all) {
			r.removeLocked(rep)
		}
	}
	delete(r.topics, t.ID)
}

// Replicas lists what was reported of a topic, or of all if the name is empty, by topic, name and host, with the lag of this moment.
func (r *Registry) Replicas(topicName string) []*api.Replica {
	now := r.cfg.Now()
	r.mu.Lock()
	r.forgetLocked(now)
	var out []*api.Replica
	topics := map[*api.Replica]Topic{}
	for _, t := range r.topics {
		if topicName != "" && t.Name != topicName {
			continue
		}
		for _, n := range t.replicas {
			r.endLocked(n, now)
			for _, rep := range n.all {
				m := rep.message(len(n.all))
				out = append(out, m)
				topics[m] = t.Topic
			}
		}
	}
	r.mu.Unlock()
	for m, t := range topics {
		for i, x := range m.Partitions {
			m.Partitions[i] = proto.CloneOf(x) // what is kept is never written to
			r.lag(t, m.Partitions[i], now)
		}
	}
	slices.SortFunc(out, func(a, b *api.Replica) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Replica, b.Replica), cmp.Compare(a.Host, b.Host), slices.Compare(a.Instance, b.Instance))
	})
	return out
}

// message is the replica as it reported, one of so many of its name.
func (rep *replica) message(processes int) *api.Replica {
	m := &api.Replica{
		Topic: rep.topic.Name, Replica: rep.name, Host: rep.host, Instance: []byte(rep.instance), Processes: int32(processes), ReportedMs: rep.reported.UnixMilli(),
	}
	for _, no := range slices.Sorted(maps.Keys(rep.partitions)) {
		m.Partitions = append(m.Partitions, rep.partitions[no].last)
	}
	return m
}

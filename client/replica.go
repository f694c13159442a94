package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/keyframelog/keyframe/client/plane"
	"github.com/keyframelog/keyframe/proto/digest"
)

// Replica is a local copy of a topic's state that follows the log and proves itself against it. See the package
// documentation. All methods may be called beside each other.
type Replica struct {
	cfg      Config
	name     string
	instance [16]byte     // drawn anew whenever one is opened: a copied directory has a copied name
	plane    *plane.Plane // nil without a state plane
	tail     tail
	stores   stores

	numbers    []int32 // ascending
	partitions map[int32]*partition
	loading    chan struct{} // one token for each frame that is being loaded
	changed    notifier      // any partition
	metrics    *metrics
	reporter   *reporter // nil without a state plane

	cancel  context.CancelFunc
	done    <-chan struct{}
	running sync.WaitGroup
	closing sync.Once
	closed  error

	callbacks callbacks
	halting   halting

	mu sync.Mutex
	// Guarded by mu.
	orders   []order         // for the tail goroutine, which alone touches assignments
	wakeTail func()          // ends the poll that is under way
	failures map[int32]error // why a partition has no state yet
}

// order is an assignment of a partition to the tail, or its end.
type order struct {
	partition  int32
	offset     int64
	epoch      int32 // leader epoch of what lies before it; -1: not known
	generation int   // of the state that it is for
	remove     bool
}

// OpenReplica opens, bootstraps and follows. It returns once every partition has a state: that of a key frame, that of the
// directory, or none at the log's start; WaitFor waits for a later offset. Where one cannot have any, the error joins those of all partitions that have
// stopped. ctx bounds the opening only.
func OpenReplica(ctx context.Context, cfg Config) (*Replica, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	t, err := newKafkaTail(&cfg)
	if err != nil {
		return nil, err
	}
	return openReplica(ctx, cfg, t)
}

// openReplica takes over the tail.
func openReplica(ctx context.Context, cfg Config, t tail) (*Replica, error) {
	topic, err := t.describe(ctx)
	if err != nil {
		t.close()
		return nil, err
	}
	r := &Replica{
		cfg: cfg, tail: t, partitions: map[int32]*partition{}, loading: make(chan struct{}, cfg.BootstrapParallel),
		failures: map[int32]error{}, metrics: newMetrics(cfg.Metrics),
	}
	_, _ = rand.Read(r.instance[:]) // it never fails
	if cfg.StateURL != "" {
		r.plane = plane.New(cfg.HTTPClient, cfg.StateURL, cfg.Topic)
		r.reporter = newReporter(r)
	}
	if r.numbers, err = choosePartitions(cfg, topic); err == nil {
		r.stores, err = openStores(cfg, topic)
	}
	if err != nil {
		t.close()
		return nil, err
	}
	r.name = cmp.Or(cfg.Name, r.stores.name(), newName())
	for _, no := range r.numbers {
		r.partitions[no] = newPartition(r, no)
	}
	r.tellAside()
	r.begin()
	if err := r.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// tellAside tells what became of the partitions whose tables were set aside as the directory was opened.
func (r *Replica) tellAside() {
	d, ok := r.stores.(*dirStores)
	if !ok {
		return
	}
	for _, a := range d.aside {
		r.event(Event{Kind: CorruptionFound, Partition: a.no, Rows: a.rows, Err: a.err})
	}
}

func choosePartitions(cfg Config, topic topicInfo) ([]int32, error) {
	numbers := slices.Sorted(slices.Values(topic.partitions))
	if cfg.Partitions == nil {
		return numbers, nil
	}
	for _, no := range cfg.Partitions {
		if !slices.Contains(numbers, no) {
			return nil, fmt.Errorf("%w: topic %s has no partition %d", ErrNoPartition, cfg.Topic, no)
		}
	}
	return slices.Compact(slices.Sorted(slices.Values(cfg.Partitions))), nil
}

// checkPartitions returns ErrPartitions if a replica of all partitions would not be one of the topic as it is now.
func (r *Replica) checkPartitions(ctx context.Context) error {
	topic, err := r.tail.describe(ctx)
	if err != nil || r.cfg.Partitions != nil {
		return err
	}
	if numbers := slices.Sorted(slices.Values(topic.partitions)); !slices.Equal(numbers, r.numbers) {
		return fmt.Errorf("%w: %s has %d now, the replica was opened with %d", ErrPartitions, r.cfg.Topic, len(numbers), len(r.numbers))
	}
	return nil
}

// begin starts the goroutines: one to follow the frames, one for the tail, one for each partition.
func (r *Replica) begin() {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.done = cancel, ctx.Done()
	r.running.Go(func() {
		r.learnOnce(ctx) // so that stored states are checked before they are followed
		for _, p := range r.partitions {
			r.running.Go(func() { p.run(ctx) })
		}
		r.running.Go(func() { r.runTail(ctx) })
		r.running.Go(func() { r.reporter.run(ctx) })
		r.running.Go(func() { r.runScrub(ctx) })
		r.followFrames(ctx)
	})
}

// awaitReady waits for a state in every partition.
func (r *Replica) awaitReady(ctx context.Context) error {
	for _, no := range r.numbers {
		p := r.partitions[no]
		select {
		case <-p.ready:
		case <-p.stopped:
			if p.rows() == nil { // else it has halted since
				return r.Err()
			}
		case <-ctx.Done():
			r.mu.Lock()
			defer r.mu.Unlock()
			return fmt.Errorf("topic %s partition %d has no state yet: %w", r.cfg.Topic, no, errors.Join(ctx.Err(), r.failures[no], r.Err()))
		}
	}
	return nil
}

// Close ends following and waits for all goroutines, and on a Dir store for reads under way: it must not be called from within a
// loop over Scan or Watch. What a Dir store has applied is committed. What has happened by then is told before it returns; where it is called within
// a callback, after that has returned.
func (r *Replica) Close() error {
	r.closing.Do(func() {
		r.cancel()
		r.changed.notify()
		r.running.Wait()
		r.callbacks.end()
		r.tail.close()
		for _, p := range r.partitions {
			if s := p.rows(); s != nil {
				r.closed = errors.Join(r.closed, s.close())
			}
		}
		r.closed = errors.Join(r.closed, r.stores.close())
		r.cfg.HTTPClient.CloseIdleConnections()
	})
	if !r.callbacks.inside() {
		r.callbacks.running.Wait()
	}
	return r.closed
}

// Err joins the reasons why partitions are no longer followed; nil if all are.
func (r *Replica) Err() error {
	var errs []error
	for _, no := range r.numbers {
		errs = append(errs, r.partitions[no].failure())
	}
	return errors.Join(errs...)
}

// Name is the replica's name among the topic's replicas.
func (r *Replica) Name() string { return r.name }

// Partitions lists the partitions that the replica holds, ascending.
func (r *Replica) Partitions() []int32 { return slices.Clone(r.numbers) }

func (r *Replica) partition(no int32) (*partition, error) {
	p, ok := r.partitions[no]
	if !ok {
		return nil, fmt.Errorf("%w: %d of topic %s", ErrNoPartition, no, r.cfg.Topic)
	}
	return p, nil
}

// Position is how far a partition is: everything below its Offset is applied.
func (r *Replica) Position(partition int32) (Position, error) {
	p, err := r.partition(partition)
	if err != nil {
		return Position{}, err
	}
	return p.position(), nil
}

// Positions is how far every partition is.
func (r *Replica) Positions() Positions {
	out := make(Positions, len(r.numbers))
	for _, no := range r.numbers {
		out[no] = r.partitions[no].position()
	}
	return out
}

// WaitFor returns once everything below offset is applied to the partition. Errors: ErrNoPartition, ErrClosed, *PartitionError where it is no longer
// followed, ErrInCallback, ctx's.
func (r *Replica) WaitFor(ctx context.Context, partition int32, offset int64) error {
	p, err := r.partition(partition)
	if err != nil {
		return err
	}
	for {
		moved := p.moved.wait()
		if p.position().Offset >= offset {
			return nil
		}
		if r.callbacks.inside() {
			return fmt.Errorf("topic %s partition %d is at %d, not yet at %d: %w", r.cfg.Topic, partition, p.position().Offset, offset, ErrInCallback)
		}
		select {
		case <-moved:
		case <-p.stopped:
			if p.position().Offset >= offset {
				return nil
			}
			return errors.Join(p.failure(), r.closedErr())
		case <-r.done:
			return ErrClosed
		case <-ctx.Done():
			return fmt.Errorf("topic %s partition %d is at %d, not yet at %d: %w", r.cfg.Topic, partition, p.position().Offset, offset, ctx.Err())
		}
	}
}

func (r *Replica) closedErr() error {
	select {
	case <-r.done:
		return ErrClosed
	default:
		return nil
	}
}

// Digest is the sum of all partitions' digests: copies of a topic with equal digests hold the same keys and values, however they
// are partitioned.
func (r *Replica) Digest() (digest.Digest, error) {
	var sum digest.Digest
	for _, no := range r.numbers {
		p := r.partitions[no]
		p.mu.Lock()
		d, _, err := p.rows().digest()
		p.mu.Unlock()
		if err != nil {
			return sum, &PartitionError{r.cfg.Topic, no, p.position().Offset, err}
		}
		sum.Merge(d)
	}
	return sum, nil
}

// Verify compares every partition with the log, at the partition's own position. Verdicts are published as those of frames are, OnVerdict may come
// after it has returned.
func (r *Replica) Verify(ctx context.Context) []Verdict {
	r.awaitTold(ctx)
	out := make([]Verdict, len(r.numbers))
	var all sync.WaitGroup
	for i, no := range r.numbers {
		all.Go(func() {
			p := r.partitions[no]
			p.checks.Add(1)
			defer p.checked()
			out[i] = p.compareNow(ctx)
			p.publish(out[i])
		})
	}
	all.Wait()
	return out
}

// Scrub hashes the stored rows of every partition anew and compares with the digest that was kept while they were applied. A
// verdict of Drifted is damage of the rows here (memory, disk), whatever the log says; with the policy Repair they are fetched again. OnVerdict may
// come after it has returned.
func (r *Replica) Scrub(ctx context.Context) []Verdict {
	r.awaitTold(ctx)
	out := make([]Verdict, len(r.numbers))
	for i, no := range r.numbers {
		out[i] = r.partitions[no].scrub()
	}
	return out
}

// awaitTold lets nobody ask faster than he is told, but for who asks within a callback.
func (r *Replica) awaitTold(ctx context.Context) {
	if r.callbacks.inside() {
		return
	}
	for _, no := range r.numbers {
		r.callbacks.wait(no, toldBehind, ctx.Done())
	}
}

func (r *Replica) publishVerdict(v Verdict) {
	r.metrics.verdict(v)
	r.reporter.verdict(v)
	l := r.cfg.Logger.With("topic", v.Topic, "partition", v.Partition, "at", v.At, "outcome", v.Outcome.String())
	switch v.Outcome {
	case Equal:
		l.Debug("compared with the log")
	case Drifted:
		l.Error("the replica has drifted", "reason", v.Reason, "count", v.Ours.Count, "log_count", v.Logs.Count,
			"sum", fmt.Sprintf("%x", v.Ours.Sum.Bytes()), "log_sum", fmt.Sprintf("%x", v.Logs.Sum.Bytes()))
	default:
		l.Warn("could not compare with the log", "reason", v.Reason, "err", v.Err)
	}
	if r.cfg.OnVerdict != nil {
		r.callbacks.tell(v.Partition, func() { r.cfg.OnVerdict(v) })
	}
}

func (r *Replica) event(e Event) {
	e.Topic, e.Time = r.cfg.Topic, r.cfg.Now()
	r.metrics.event(e)
	r.reporter.event(e)
	l := r.cfg.Logger.With("topic", e.Topic, "partition", e.Partition, "offset", e.Offset)
	if e.Err != nil {
		l.Warn("replica: "+e.Kind.String(), "err", e.Err)
	} else {
		l.Info("replica: "+e.Kind.String(), "rows", e.Rows)
	}
	if r.cfg.OnEvent != nil {
		r.callbacks.tell(e.Partition, func() { r.cfg.OnEvent(e) })
	}
}

// fail remembers why a partition has no state yet, for who waits in OpenReplica.
func (r *Replica) fail(partition int32, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures[partition] = err
}

// retry runs fn until it succeeds, ctx ends, or forever, with growing pauses; each failure goes to onError.
func (r *Replica) retry(ctx context.Context, fn func() error, onError func(error)) error {
	for try := 0; ; try++ {
		began := r.cfg.Now()
		err := fn()
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		onError(err)
		if r.cfg.Now().Sub(began) > time.Minute {
			try = 0
		}
		if err := plane.Wait(ctx, r.cfg.Retry<<min(try, 5)); err != nil {
			return err
		}
	}
}

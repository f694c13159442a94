package keyframer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/table"
)

// Errors of this package. Partition-related errors are wrapped with topic, partition and offset.
var (
	ErrClosed           = errors.New("keyframer: closed")
	ErrUnknownTopic     = errors.New("keyframer: unknown topic")
	ErrUnknownPartition = errors.New("keyframer: unknown partition")
	ErrExists           = errors.New("keyframer: the topic is there already")
	// ErrNotKeyFramed: the topic was key-framed once; its rows are kept, but nothing is folded any more.
	ErrNotKeyFramed = errors.New("keyframer: the topic is not key-framed")
	// ErrReopening: the topic is key-framed again, and its tables are opened at this moment. Ask again.
	ErrReopening = errors.New("keyframer: the topic is being opened again")
	// ErrFailed: the partition cannot be folded; what happened is in the message.
	ErrFailed = errors.New("keyframer: partition failed")
	// ErrStaleFetch: the fetch is below the tombstone horizon and the topic says keyframe.stale.fetch=error.
	ErrStaleFetch = errors.New("keyframer: fetch below the tombstone horizon")
	// ErrAboveRows: the offset is at or above the delta start offset: read the raw batches.
	ErrAboveRows = errors.New("keyframer: offset is not below the delta start offset")
	// ErrUnknownCut: no cut has this name, or one of its frames is no longer retained.
	ErrUnknownCut = errors.New("there is no such cut")
	// ErrAboveStable: the offset lies above the last stable offset.
	ErrAboveStable = errors.New("keyframer: offset is above the last stable offset")
	// ErrDamaged: rows cannot be read back from disk, or are not what was folded.
	ErrDamaged = errors.New("keyframer: rows are damaged on this broker's disk")
)

// Config of a Keyframer. Tables is required; zero values of the rest mean the defaults.
type Config struct {
	Tables *table.DB
	// Workers apply deltas. Default 2.
	Workers int
	// MemoryBytes bounds the open intervals of all partitions. Default 256 MiB.
	MemoryBytes int64
	// Holds is asked what replicas hold before anything is trimmed, thinned or expired; nil: nothing.
	Holds Holds
	// MaxDecompressed bounds one decompressed batch in bytes. Default as in storage/live.
	MaxDecompressed int
	// ScrubRows is how many rows a second are read back in the background and hashed; 0: none.
	ScrubRows int
	// ScrubPause is how long it takes at least until a partition is scrubbed again. Default 10 min.
	ScrubPause time.Duration
	Now        func() time.Time
	Logger     *slog.Logger
	Metrics    prometheus.Registerer // nil: not registered
}

const (
	defaultWorkers     = 2
	defaultMemoryBytes = 256 << 20
)

func (c Config) withDefaults() Config {
	if c.Workers <= 0 {
		c.Workers = defaultWorkers
	}
	if c.MemoryBytes <= 0 {
		c.MemoryBytes = defaultMemoryBytes
	}
	if c.ScrubPause <= 0 {
		c.ScrubPause = scrubPause
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Holds == nil {
		c.Holds = noHolds{}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Keyframer folds the partitions of many topics. Its methods may be called concurrently.
type Keyframer struct {
	cfg     Config
	metrics *metrics
	steps   *queue // tail, fold, cut
	upkeep  *queue // thin, trim, settle, expire: one at a time, since trimming reads a whole frame
	folder  *folder
	memory  *memory
	mender  *mender

	ctx     context.Context // ends with Close
	stop    context.CancelFunc
	running sync.WaitGroup

	changes lock                              // serialises Add, Grow, Remove, Close, and opening anew
	topics  atomic.Pointer[map[string]*Topic] // replaced under changes, never modified
	closed  bool                              // guarded by changes
}

// New starts a Keyframer without partitions.
func New(cfg Config) *Keyframer {
	cfg = cfg.withDefaults()
	k := &Keyframer{cfg: cfg, steps: newQueue(), upkeep: newQueue(), changes: newLock(), mender: newMender()}
	k.ctx, k.stop = context.WithCancel(context.Background())
	k.topics.Store(&map[string]*Topic{})
	k.memory = newMemory(cfg.MemoryBytes)
	k.metrics = newMetrics(k)
	k.folder = newFolder(cfg.Tables, k.metrics, cfg.Now)
	for range cfg.Workers {
		k.running.Go(func() { k.steps.work(k.ctx) })
	}
	k.running.Go(func() { k.upkeep.work(k.ctx) })
	k.running.Go(func() { k.folder.run(k.ctx) })
	k.running.Go(func() { k.mend(k.ctx) })
	for _, q := range []*queue{k.steps, k.upkeep} {
		k.running.Go(func() { q.clock(k.ctx, k.nowMs) })
	}
	if cfg.ScrubRows > 0 {
		k.running.Go(func() { k.scrub(k.ctx) })
	}
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(k.metrics)
	}
	return k
}

func (k *Keyframer) nowMs() int64 { return k.cfg.Now().UnixMilli() }

// Close stops all work and waits for it. Folds under way are finished; what is not folded is read from the log again.
func (k *Keyframer) Close() error {
	k.changes.Lock()
	defer k.changes.Unlock()
	if k.closed {
		return nil
	}
	k.closed = true
	for _, t := range *k.topics.Load() {
		t.stop(ErrClosed)
	}
	k.stop()
	k.steps.close()
	k.upkeep.close()
	k.running.Wait()
	if k.cfg.Metrics != nil {
		k.cfg.Metrics.Unregister(k.metrics)
	}
	return nil
}

// Add starts folding a topic. A partition that cannot be folded does not fail the call: it is there, and its Failure says
// why. Errors: ErrExists, ErrClosed.
func (k *Keyframer) Add(spec TopicSpec, settings Settings) error {
	k.changes.Lock()
	defer k.changes.Unlock()
	if k.closed {
		return ErrClosed
	}
	if _, ok := k.Topic(spec.Name); ok {
		return fmt.Errorf("%w: %s", ErrExists, spec.Name)
	}
	t := newTopic(k, spec, settings)
	t.start(k, spec.Partitions)
	k.publish(func(topics map[string]*Topic) { topics[spec.Name] = t })
	return nil
}

// Grow folds the partitions of a topic's spec that were not added yet. Errors: ErrUnknownTopic, ErrClosed.
func (k *Keyframer) Grow(spec TopicSpec) error {
	k.changes.Lock()
	defer k.changes.Unlock()
	if k.closed {
		return ErrClosed
	}
	t, ok := k.Topic(spec.Name)
	if !ok || t.ID != spec.ID {
		return fmt.Errorf("%w: %s", ErrUnknownTopic, spec.Name)
	}
	t.start(k, slices.DeleteFunc(slices.Clone(spec.Partitions), func(ps PartitionSpec) bool {
		_, err := t.Partition(ps.Index)
		return err == nil
	}))
	t.notify()
	return nil
}

// Configure changes the settings of a topic. ErrUnknownTopic.
func (k *Keyframer) Configure(name string, settings Settings) error {
	t, ok := k.Topic(name)
	if !ok {
		return fmt.Errorf("%w: %s", ErrUnknownTopic, name)
	}
	t.settings.Store(&settings)
	for _, p := range t.Partitions() {
		p.wake()
	}
	t.notify()
	return nil
}

// reopen closes a topic and adds it anew, with the tables that it has.
func (k *Keyframer) reopen(spec TopicSpec, settings Settings) error {
	k.changes.Lock()
	defer k.changes.Unlock()
	if k.closed {
		return ErrClosed
	}
	t, ok := k.Topic(spec.Name)
	if !ok {
		return fmt.Errorf("%w: %s", ErrUnknownTopic, spec.Name)
	}
	return k.reopenLocked(t, spec, settings, nil)
}

// reopenLocked is reopen for who has changes; between runs when nothing touches the tables. The topic is opened again whatever it returns.
func (k *Keyframer) reopenLocked(t *Topic, spec TopicSpec, settings Settings, between func() error) (err error) {
	t.stop(fmt.Errorf("%w: %s", ErrReopening, spec.Name))
	t.wait()
	for _, p := range t.Partitions() {
		k.memory.forget(p)
	}
	if between != nil {
		err = between()
	}
	t = newTopic(k, spec, settings)
	t.start(k, spec.Partitions)
	k.publish(func(topics map[string]*Topic) { topics[spec.Name] = t })
	return err
}

// Remove stops folding a topic and deletes its tables. It returns when nothing touches the topic's logs any more.
func (k *Keyframer) Remove(ctx context.Context, name string) error {
	k.changes.Lock()
	defer k.changes.Unlock()
	t, ok := k.Topic(name)
	if !ok {
		return fmt.Errorf("%w: %s", ErrUnknownTopic, name)
	}
	k.publish(func(topics map[string]*Topic) { delete(topics, name) })
	t.stop(fmt.Errorf("%w: %s was deleted", ErrUnknownTopic, name))
	t.wait()
	for _, p := range t.Partitions() {
		k.memory.forget(p)
		if err := k.cfg.Tables.Drop(ctx, p.ordinal); err != nil {
			return fmt.Errorf("drop the table of %s/%d: %w", name, p.Index, err)
		}
	}
	return nil
}

// Ordinals is what the catalog knows of the numbers of partitions. *catalog.Catalog is one.
type Ordinals interface {
	NextOrdinal() (int64, error)
	KeptOrdinals() ([]uint32, error)
	KeepOrdinals(ordinals []uint32) error
}

// Sweep drops the tables of partitions that were not added: of topics whose deletion a crash cut short. Those that the catalog has not
// given out have outlived the log that they come from. They are kept, as the only trace of it, and their ordinals with them, so that
// no new topic takes their place. Call it when all topics have been added.
func (k *Keyframer) Sweep(ctx context.Context, given Ordinals) error {
	k.changes.Lock()
	defer k.changes.Unlock()
	known := map[uint32]bool{}
	for _, t := range *k.topics.Load() {
		for _, p := range t.Partitions() {
			known[p.ordinal] = true
		}
	}
	ordinals, err := k.cfg.Tables.Ordinals()
	if err != nil {
		return err
	}
	kept, err := outlived(ordinals, given)
	if err != nil {
		return err
	}
	for _, ordinal := range ordinals {
		if known[ordinal] {
			continue
		}
		if slices.Contains(kept, ordinal) {
			k.cfg.Logger.Error("a table belongs to a topic that the log does not know: the end of the log is gone, and acknowledged records may be lost: "+
				damage.Advice, "ordinal", ordinal)
			continue
		}
		k.cfg.Logger.Info("dropping the table of a deleted partition", "ordinal", ordinal)
		var damaged *damage.Error
		err := k.cfg.Tables.Drop(ctx, ordinal)
		if errors.As(err, &damaged) {
			k.cfg.Logger.Error("the table of a deleted partition cannot be dropped, since what lies beside it cannot be told from it: that is tried again at the next start",
				"ordinal", ordinal, "error", err)
		} else if err != nil {
			return fmt.Errorf("drop the table of ordinal %d: %w", ordinal, err)
		}
	}
	return nil
}

// outlived returns the ordinals of tables that have outlived their log, and sees to it that they are remembered.
func outlived(ordinals []uint32, given Ordinals) (kept []uint32, err error) {
	next, err := given.NextOrdinal()
	if err != nil {
		return nil, err
	}
	above := slices.DeleteFunc(slices.Clone(ordinals), func(o uint32) bool { return int64(o) < next })
	if len(above) > 0 {
		if err := given.KeepOrdinals(above); err != nil {
			return nil, err
		}
	}
	return given.KeptOrdinals()
}

func (k *Keyframer) publish(change func(map[string]*Topic)) {
	topics := map[string]*Topic{}
	for name, t := range *k.topics.Load() {
		topics[name] = t
	}
	change(topics)
	k.topics.Store(&topics)
}

// Topic returns a topic that was added.
func (k *Keyframer) Topic(name string) (*Topic, bool) {
	t, ok := (*k.topics.Load())[name]
	return t, ok
}

// Partition returns a partition of a topic that was added. ErrUnknownTopic, ErrUnknownPartition.
func (k *Keyframer) Partition(topic string, index int32) (*Partition, error) {
	t, ok := k.Topic(topic)
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrUnknownTopic, topic)
	}
	return t.Partition(index)
}

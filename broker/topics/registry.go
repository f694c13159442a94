package topics

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/keyframelog/keyframe/storage/catalog"
	"github.com/keyframelog/keyframe/storage/log"
)

// Registry knows the topics of the broker. Readers work on an immutable view and never wait; changes are serial.
type Registry struct {
	opts Options
	view atomic.Pointer[view]

	defaults atomic.Pointer[Defaults] // of topics that set nothing

	changes sync.Mutex // one change at a time, its disk writes included; no reader takes it
	hooks   []Hooks    // guarded by changes
	closed  bool       // guarded by changes

	stop    context.CancelFunc
	stopped sync.WaitGroup
}

// view is one state of the registry; never changed once it is published.
type view struct {
	version uint64
	byName  map[string]*Topic
	byID    map[[16]byte]*Topic
	list    []*Topic // by name
}

// Open loads the topics of the catalog and opens their logs.
func Open(opts Options) (*Registry, error) {
	r := &Registry{opts: opts.withDefaults()}
	r.defaults.Store(&Defaults{})
	v := &view{byName: map[string]*Topic{}, byID: map[[16]byte]*Topic{}}
	for _, ct := range r.opts.Catalog.List() {
		t, err := r.open(ct)
		if err != nil {
			return nil, fmt.Errorf("open topic %q: %w", ct.Name, err)
		}
		v.byName[t.Name], v.byID[t.ID] = t, t
	}
	v.list = sortedTopics(v.byName)
	r.view.Store(v)
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	if r.opts.RetentionCheck > 0 {
		r.stopped.Go(func() { r.retain(ctx) })
	}
	return r, nil
}

// Close stops the retention loop and refuses further changes. The logs stay open; their store closes them.
func (r *Registry) Close() error {
	r.stop()
	r.stopped.Wait()
	r.changes.Lock()
	defer r.changes.Unlock()
	r.closed = true
	return nil
}

// Get returns the topic with the name.
func (r *Registry) Get(name string) (*Topic, bool) {
	t, ok := r.view.Load().byName[name]
	return t, ok
}

// ByID returns the topic with the id.
func (r *Registry) ByID(id [16]byte) (*Topic, bool) {
	t, ok := r.view.Load().byID[id]
	return t, ok
}

// List returns all topics in the order of their names. The slice is shared: do not change it.
func (r *Registry) List() []*Topic { return r.view.Load().list }

// Version changes with every topic that is created or deleted, or gets partitions. It begins anew with the process.
func (r *Registry) Version() uint64 { return r.view.Load().version }

// AddHooks adds hooks and calls Created for every topic there is. After it every change reaches them.
func (r *Registry) AddHooks(h Hooks) {
	r.changes.Lock()
	defer r.changes.Unlock()
	r.hooks = append(r.hooks, h)
	if h.Created == nil {
		return
	}
	for _, t := range r.List() {
		h.Created(t)
	}
}

// Check validates a spec as Create would, without creating anything, and returns it with the defaults filled in and its
// effective configuration.
func (r *Registry) Check(spec Spec) (Spec, *Config, error) {
	if err := CheckName(spec.Name); err != nil {
		return spec, nil, err
	}
	if _, ok := r.Get(spec.Name); ok {
		return spec, nil, fmt.Errorf("%w: topic '%s' already exists", ErrExists, spec.Name)
	}
	if err := r.checkCollision(spec.Name); err != nil {
		return spec, nil, err
	}
	if spec.Partitions == -1 {
		spec.Partitions = r.opts.Partitions
	}
	if err := checkPartitions(spec.Partitions); err != nil {
		return spec, nil, err
	}
	spec.Configs = r.withFold(spec.Name, spec.Configs)
	cfg, err := ParseConfig(spec.Configs, *r.defaults.Load())
	if _, set := spec.Configs[foldConfig]; err == nil && set && !cfg.Compact { // later it may wait: see checkChange
		err = &ConfigError{Name: foldConfig, Reason: "Invalid configuration: keyframe.fold needs cleanup.policy=compact, which makes a topic key-framed"}
	}
	return spec, cfg, err
}

// CheckSpecConfigs validates a spec's configs alone; the error is a *ConfigError.
func (r *Registry) CheckSpecConfigs(spec Spec) error {
	_, err := ParseConfig(r.withFold(spec.Name, spec.Configs), *r.defaults.Load())
	return err
}

// withFold adds the fold that the broker's patterns give to a key-framed topic.
func (r *Registry) withFold(name string, configs map[string]string) map[string]string {
	kind, ok := r.opts.foldFor(name)
	if _, set := configs[foldConfig]; !ok || set || !strings.Contains(configs[policyConfig], "compact") {
		return configs
	}
	configs = maps.Clone(configs)
	configs[foldConfig] = kind.String()
	return configs
}

// mayChangeLocked says why there are no changes any more, or why this caller wants none.
func (r *Registry) mayChangeLocked(ctx context.Context) error {
	if r.closed {
		return ErrClosed
	}
	return ctx.Err()
}

// Create makes a topic durable and opens it. Errors: *NameError, *ConfigError, *PartitionsError, ErrExists, ErrClosed.
func (r *Registry) Create(ctx context.Context, spec Spec) (*Topic, error) {
	r.changes.Lock()
	defer r.changes.Unlock()
	if err := r.mayChangeLocked(ctx); err != nil {
		return nil, err
	}
	spec, cfg, err := r.Check(spec)
	if err != nil {
		return nil, err
	}
	ct, err := r.opts.Catalog.Create(catalog.Spec{
		Name: spec.Name, Partitions: int(spec.Partitions), Configs: catalogConfigs(cfg.set),
	})
	if errors.Is(err, catalog.ErrTopicExists) {
		return nil, fmt.Errorf("%w: topic '%s' already exists", ErrExists, spec.Name)
	} else if err != nil {
		return nil, err // its own text has the topic
	}
	t, err := r.open(ct)
	if err != nil {
		return nil, fmt.Errorf("create topic %q: %w", spec.Name, err)
	}
	r.publish(func(byName map[string]*Topic) { byName[t.Name] = t })
	r.opts.Logger.Info("topic created", "topic", t.Name, "partitions", len(t.Partitions), "key_framed", t.Config().KeyFramed)
	for _, h := range r.hooks {
		if h.Created != nil {
			h.Created(t)
		}
	}
	return t, nil
}

// Delete removes a topic and its records. Readers stop to find it first, then it is gone from disk, then the hooks run: what
// they delete belongs to a topic that no crash brings back. Errors: ErrNotFound, ErrClosed.
func (r *Registry) Delete(ctx context.Context, name string) error {
	r.changes.Lock()
	defer r.changes.Unlock()
	if err := r.mayChangeLocked(ctx); err != nil {
		return err
	}
	t, ok := r.Get(name)
	if !ok {
		return fmt.Errorf("%w: topic '%s'", ErrNotFound, name)
	}
	r.publish(func(byName map[string]*Topic) { delete(byName, name) })
	close(t.gone)
	size := int64(0)
	for _, p := range t.Partitions {
		size += p.Log.SizeBytes()
		if err := r.opts.Log.DropPartition(log.PartitionID(p.Ordinal)); err != nil {
			return fmt.Errorf("delete topic %q: partition %d: %w", name, p.Index, err)
		}
	}
	if err := r.opts.Catalog.Delete(name); err != nil {
		return fmt.Errorf("delete topic %q: %w", name, err)
	}
	r.opts.Log.Reclaim(size)
	r.opts.Logger.Info("topic deleted", "topic", name)
	for _, h := range r.hooks {
		if h.Deleted != nil {
			h.Deleted(t)
		}
	}
	return nil
}

// SetConfigs replaces everything that is set on the topic itself. Errors: ErrNotFound, *ConfigError, ErrClosed.
func (r *Registry) SetConfigs(ctx context.Context, name string, configs map[string]string) error {
	return r.configure(ctx, name, false, func(*Config) (map[string]string, error) { return configs, nil })
}

// CheckConfigs is SetConfigs without a change.
func (r *Registry) CheckConfigs(ctx context.Context, name string, configs map[string]string) error {
	return r.configure(ctx, name, true, func(*Config) (map[string]string, error) { return configs, nil })
}

// AlterConfigs changes what is set on the topic itself, all of it or nothing; validateOnly: nothing. Errors as SetConfigs.
func (r *Registry) AlterConfigs(ctx context.Context, name string, changes []Change, validateOnly bool) error {
	return r.configure(ctx, name, validateOnly, func(now *Config) (map[string]string, error) { return Alter(now.set, changes, now.inherits) })
}

// configure replaces what is set on a topic by what change makes of its configuration.
func (r *Registry) configure(ctx context.Context, name string, validateOnly bool, change func(*Config) (map[string]string, error)) error {
	r.changes.Lock()
	defer r.changes.Unlock()
	if err := r.mayChangeLocked(ctx); err != nil {
		return err
	}
	t, ok := r.Get(name)
	if !ok {
		return fmt.Errorf("%w: topic '%s'", ErrNotFound, name)
	}
	configs, err := change(t.Config())
	if err != nil {
		return err
	}
	next, err := ParseConfig(configs, *r.defaults.Load())
	if err != nil {
		return err
	}
	if err := checkChange(t, next); err != nil {
		return err
	}
	if validateOnly {
		return nil
	}
	if err := r.opts.Catalog.SetConfigs(name, catalogConfigs(next.set)); err != nil {
		return fmt.Errorf("configure topic %q: %w", name, err)
	}
	before := t.configure(next)
	if set, unset := Difference(before.set, next.set); len(set)+len(unset) > 0 {
		r.opts.Logger.Info("topic configs changed", "topic", name, "set", set, "unset", unset)
	}
	for _, h := range r.hooks {
		if h.Changed != nil {
			h.Changed(t)
		}
	}
	return nil
}

// open opens the logs of a topic of the catalog.
func (r *Registry) open(ct catalog.Topic) (*Topic, error) {
	cfg, err := parseConfig(configMap(ct.Configs), *r.defaults.Load(), true)
	if err != nil {
		return nil, err
	}
	t := &Topic{ID: ct.ID, Name: ct.Name, CreatedMs: ct.CreatedMs, config: &atomic.Pointer[Config]{}, gone: make(chan struct{})}
	if t.Partitions, err = r.openPartitions(ct, 0); err != nil {
		return nil, err
	}
	t.configure(cfg)
	return t, nil
}

// openPartitions opens the logs of a topic's partitions from an index on.
func (r *Registry) openPartitions(ct catalog.Topic, from int) (list []*Partition, err error) {
	for i, cp := range ct.Partitions[from:] {
		index := int32(from + i)
		p, err := r.opts.Log.OpenPartition(log.PartitionID(cp.Ordinal), cp)
		var corrupt *log.CorruptError
		if errors.As(err, &corrupt) { // its own text has the ordinal
			return nil, fmt.Errorf("partition %d: offset %d is damaged on disk: %w", index, corrupt.Offset, corrupt.Err)
		}
		if err != nil {
			return nil, fmt.Errorf("partition %d: %w", index, err)
		}
		list = append(list, &Partition{
			Index: index, Ordinal: cp.Ordinal, Log: p,
			renew: func() ([16]byte, error) { return r.opts.Catalog.RenewIncarnation(ct.ID, index) },
		})
	}
	return list, nil
}

// publish replaces the view by a changed copy; r.changes is held.
func (r *Registry) publish(change func(byName map[string]*Topic)) {
	last := r.view.Load()
	byName := maps.Clone(last.byName)
	change(byName)
	v := &view{version: last.version + 1, byName: byName, byID: make(map[[16]byte]*Topic, len(byName)), list: sortedTopics(byName)}
	for _, t := range byName {
		v.byID[t.ID] = t
	}
	r.view.Store(v)
}

func sortedTopics(byName map[string]*Topic) []*Topic {
	return slices.SortedFunc(maps.Values(byName), func(a, b *Topic) int { return strings.Compare(a.Name, b.Name) })
}

func catalogConfigs(m map[string]string) []catalog.Config {
	var configs []catalog.Config
	for _, name := range slices.Sorted(maps.Keys(m)) {
		configs = append(configs, catalog.Config{Name: name, Value: m[name]})
	}
	return configs
}

func configMap(configs []catalog.Config) map[string]string {
	m := make(map[string]string, len(configs))
	for _, c := range configs {
		m[c.Name] = c.Value
	}
	return m
}

// DefaultPartitions is the number of partitions of a topic that is created without one.
func (r *Registry) DefaultPartitions() int32 { return r.opts.Partitions }

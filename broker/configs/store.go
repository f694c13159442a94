package configs

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/keyframelog/keyframe/broker/topics"
	"github.com/keyframelog/keyframe/storage/catalog"
)

// Type is a type of resource, numbered as in DescribeConfigs.
type Type uint8

const (
	Broker        Type = 4
	Logger        Type = 8
	ClientMetrics Type = 16
	Group         Type = 32
)

func (t Type) String() string {
	switch t {
	case Broker:
		return "broker"
	case Logger:
		return "logger"
	case ClientMetrics:
		return "client metrics"
	case Group:
		return "group"
	}
	return "resource"
}

// Resource is what configs belong to; the broker "" stands for all brokers.
type Resource struct {
	Type Type
	Name string
}

// NodeName is the name of the only broker.
const NodeName = "1"

// Options of a Store. Catalog and Registry are required.
type Options struct {
	Catalog  *catalog.Catalog
	Registry *topics.Registry
	// Static are the broker's configs as the process was started. One that is the default has not been set: nobody can tell, and tools
	// show what was.
	Static map[string]string
	// LogLevel is the level of the process's logger; nil: one that nobody reads.
	LogLevel *slog.LevelVar
	Logger   *slog.Logger // nil: none
}

// Store holds all configs but the topics' own. Readers never wait; changes are serial.
type Store struct {
	opts   Options
	tables map[Type]table
	static map[string]string // Options.Static without what is the default

	changes sync.Mutex // one at a time, its disk write included
	dynamic atomic.Pointer[dynamic]
}

// dynamic is what was changed at run time; never changed once it is published.
type dynamic map[Resource]map[string]string

// Open reads what was changed in earlier runs and gives the topics their defaults.
func Open(ctx context.Context, opts Options) (*Store, error) {
	if opts.LogLevel == nil {
		opts.LogLevel = new(slog.LevelVar)
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{opts: opts, static: map[string]string{}, tables: map[Type]table{Broker: brokerTable(), ClientMetrics: metricsTable(), Group: groupTable()}}
	for name, value := range opts.Static {
		d, ok := s.tables[Broker].lookup(name)
		if !ok {
			return nil, fmt.Errorf("broker config %s is not known", name)
		}
		if d.value == nil || *d.value != value {
			s.static[name] = value
		}
	}
	stored, err := opts.Catalog.ResourceConfigs()
	if err != nil {
		return nil, err
	}
	all := dynamic{}
	for r, configs := range stored {
		set := map[string]string{}
		for _, c := range configs {
			set[c.Name] = c.Value
		}
		all[Resource{Type(r.Type), r.Name}] = set
	}
	s.dynamic.Store(&all)
	if err := opts.Registry.SetDefaults(ctx, s.topicDefaults(all), nil); err != nil {
		return nil, fmt.Errorf("broker configs as the topics' defaults: %w", err)
	}
	return s, nil
}

// topicDefaults are the broker's values that are not the default.
func (s *Store) topicDefaults(all dynamic) topics.Defaults {
	defaults := topics.Defaults{}
	for _, d := range topics.Definitions() {
		if d.Synonym == "" {
			continue
		}
		if chain := s.chain(all, d.Synonym); len(chain) > 0 && chain[0].Source != SourceDefault {
			defaults[d.Name] = chain[0].Value
		}
	}
	return defaults
}

// Get returns the value of a config of the broker, "" if it has none.
func (s *Store) Get(name string) string {
	if chain := s.Chain(name); len(chain) > 0 {
		return chain[0].Value
	}
	return ""
}

func (s *Store) number(name string) int64 { return number(s.Get(name)) }

// Group returns the value of a config of a consumer group: its own, or the broker's.
func (s *Store) Group(group, name string) string {
	if value, ok := (*s.dynamic.Load())[Resource{Group, group}][name]; ok {
		return value
	}
	d, _ := s.tables[Group].lookup(name)
	return s.Get(d.synonym)
}

// Resources lists what has configs, by type and name. The broker always has; all brokers together are none.
func (s *Store) Resources(types ...Type) []Resource {
	list := []Resource{{Broker, NodeName}, {Logger, NodeName}}
	for r := range *s.dynamic.Load() {
		if r.Type != Broker {
			list = append(list, r)
		}
	}
	list = slices.DeleteFunc(list, func(r Resource) bool { return !slices.Contains(types, r.Type) })
	slices.SortFunc(list, func(a, b Resource) int {
		if a.Type != b.Type {
			return int(a.Type) - int(b.Type)
		}
		return strings.Compare(a.Name, b.Name)
	})
	return list
}

// Alter makes the changes, all of them or none; validateOnly: none. Errors: *RequestError, *topics.ConfigError, the
// catalog's, among them the reserve's for a group or a subscription that would get configs.
func (s *Store) Alter(ctx context.Context, r Resource, changes []topics.Change, validateOnly bool) error {
	if r.Type == Logger {
		return s.alterLogger(r.Name, changes, validateOnly)
	}
	return s.replace(ctx, r, validateOnly, func(now map[string]string) (map[string]string, error) {
		return topics.Alter(now, changes, s.tables[r.Type].inherits)
	})
}

// Replace is Alter with everything that is set afterwards. Loggers have no such change.
func (s *Store) Replace(ctx context.Context, r Resource, set map[string]string, validateOnly bool) error {
	return s.replace(ctx, r, validateOnly, func(map[string]string) (map[string]string, error) { return set, nil })
}

func (s *Store) replace(ctx context.Context, r Resource, validateOnly bool, change func(now map[string]string) (map[string]string, error)) error {
	if err := s.checkName(r); err != nil {
		return err
	}
	s.changes.Lock()
	defer s.changes.Unlock()
	all := *s.dynamic.Load()
	now := all[r]
	next, err := change(now)
	if err != nil {
		return err
	}
	if next, err = s.checked(r, now, next); err != nil {
		return err
	}
	after := maps.Clone(all)
	if after[r] = next; len(next) == 0 {
		delete(after, r)
	}
	defaults := s.topicDefaults(after)
	if validateOnly || maps.Equal(now, next) {
		if r.Type == Broker {
			return s.opts.Registry.CheckDefaults(defaults)
		}
		return nil
	}
	store := func() error { return s.store(r, next) }
	if r.Type == Broker {
		err = s.opts.Registry.SetDefaults(ctx, defaults, store)
	} else {
		err = store()
	}
	if err != nil {
		return err
	}
	s.dynamic.Store(&after)
	set, unset := topics.Difference(now, next)
	s.opts.Logger.Info(r.Type.String()+" configs changed", "name", r.Name, "set", set, "unset", unset)
	return nil
}

// store makes durable what is set of a resource.
func (s *Store) store(r Resource, set map[string]string) error {
	var stored []catalog.Config
	for name, value := range set {
		stored = append(stored, catalog.Config{Name: name, Value: value})
	}
	admit := r.Type != Broker // whose configs may be what makes room
	return s.opts.Catalog.SetResourceConfigs(catalog.Resource{Type: uint8(r.Type), Name: r.Name}, stored, admit)
}

// nameBytesMax is how long the name of a resource may be: the catalog keeps no longer ones.
const nameBytesMax = 1024

// checkName refuses what is no resource of the type.
func (s *Store) checkName(r Resource) error {
	switch {
	case len(r.Name) > nameBytesMax:
		return refuse("The name of the resource has %d bytes, and at most %d are kept", len(r.Name), nameBytesMax)
	case r.Type == Broker:
		return checkNode(r.Name, true)
	case r.Type == Group && r.Name == "":
		return refuse("Default group resources are not allowed.")
	case r.Type == ClientMetrics && r.Name == "":
		return refuse("Default client metrics resources are not allowed.")
	}
	return nil
}

// checked validates what would be set and returns it as it is kept.
func (s *Store) checked(r Resource, now, next map[string]string) (map[string]string, error) {
	normal := make(map[string]string, len(next))
	for name, value := range next {
		d, ok := s.tables[r.Type].lookup(name)
		switch {
		case !ok && r.Type == ClientMetrics:
			return nil, refuse("%s", s.tables[r.Type].unknown("client metrics configuration", name))
		case !ok && r.Type == Group:
			return nil, &topics.ConfigError{Name: name, Reason: s.tables[r.Type].unknown("group config name", name)}
		case !ok:
			return nil, &topics.ConfigError{Name: name, Reason: s.tables[r.Type].unknown("broker config name", name)}
		case d.update == readOnly:
			return nil, refuse("Cannot update these configs dynamically: [%s]", name)
		}
		if err := d.validate(value); err != nil && r.Type == Group {
			return nil, &topics.ConfigError{Name: name, Reason: err.Error()}
		} else if err != nil {
			return nil, refuse("%s", err)
		}
		normal[name] = d.kind.Normal(value)
	}
	switch r.Type {
	case Group:
		return normal, s.checkGroup(normal)
	case ClientMetrics:
		return normal, checkMetrics(normal)
	}
	return normal, nil
}

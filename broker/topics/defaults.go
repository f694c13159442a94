package topics

import (
	"context"
	"errors"
	"fmt"
	"maps"
)

// SetDefaults gives all topics other defaults, at once. Nothing changes when a topic cannot have them: the *ConfigError names it. store
// (nil: they are durable) is called once they can, and before they do; no topic changes meanwhile. Errors: *ConfigError, ErrClosed, store's.
func (r *Registry) SetDefaults(ctx context.Context, defaults Defaults, store func() error) error {
	r.changes.Lock()
	defer r.changes.Unlock()
	if err := r.mayChangeLocked(ctx); err != nil {
		return err
	}
	next, err := r.withDefaultsLocked(defaults)
	if err != nil {
		return err
	}
	if store != nil {
		if err := store(); err != nil {
			return err
		}
	}
	r.defaults.Store(&defaults)
	for i, t := range r.List() {
		before := t.configure(next[i])
		if sameValues(before, next[i]) {
			continue
		}
		for _, h := range r.hooks {
			if h.Changed != nil {
				h.Changed(t)
			}
		}
	}
	return nil
}

// CheckDefaults is SetDefaults without a change.
func (r *Registry) CheckDefaults(defaults Defaults) error {
	r.changes.Lock()
	defer r.changes.Unlock()
	_, err := r.withDefaultsLocked(defaults)
	return err
}

// withDefaultsLocked are the configurations of all topics in the order of List under other defaults.
func (r *Registry) withDefaultsLocked(defaults Defaults) ([]*Config, error) {
	for name, value := range defaults {
		d, ok := Lookup(name)
		if !ok {
			return nil, unknownConfig(name)
		}
		if err := d.Check(value); err != nil {
			return nil, err
		}
	}
	if _, err := ParseConfig(nil, defaults); err != nil {
		return nil, err
	}
	var next []*Config
	for _, t := range r.List() {
		c, err := parseConfig(t.Config().set, defaults, true)
		if err == nil {
			err = checkChange(t, c)
		}
		var refused *ConfigError
		if errors.As(err, &refused) {
			return nil, &ConfigError{Name: refused.Name, Reason: fmt.Sprintf("topic '%s' cannot have this default: %s", t.Name, refused.Reason)}
		} else if err != nil {
			return nil, err
		}
		next = append(next, c)
	}
	return next, nil
}

func sameValues(a, b *Config) bool {
	return maps.Equal(a.set, b.set) && maps.Equal(a.defaults, b.defaults)
}

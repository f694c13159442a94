package topics

import (
	"context"
	"fmt"
	"slices"
)

// CheckGrow says whether Grow would do it. Errors: ErrNotFound, *PartitionsError.
func (r *Registry) CheckGrow(name string, total int32) error {
	t, ok := r.Get(name)
	if !ok {
		return fmt.Errorf("%w: topic '%s'", ErrNotFound, name)
	}
	switch n := int32(len(t.Partitions)); {
	case total == n:
		return &PartitionsError{fmt.Sprintf("Topic already has %d partition(s).", n)}
	case total < n:
		return &PartitionsError{fmt.Sprintf("The topic %s currently has %d partition(s); %d would not be an increase.", name, n, total)}
	}
	return checkPartitions(total)
}

// Grow gives a topic more partitions, total in all, durably, and returns the topic that has them. The Topic of before stays as it is:
// whoever holds it goes on with the partitions that it knows. Errors: ErrNotFound, *PartitionsError, ErrClosed.
func (r *Registry) Grow(ctx context.Context, name string, total int32) (*Topic, error) {
	r.changes.Lock()
	defer r.changes.Unlock()
	if err := r.mayChangeLocked(ctx); err != nil {
		return nil, err
	}
	if err := r.CheckGrow(name, total); err != nil {
		return nil, err
	}
	before, _ := r.Get(name)
	ct, err := r.opts.Catalog.Grow(name, int(total))
	if err != nil {
		return nil, fmt.Errorf("grow topic %q: %w", name, err)
	}
	more, err := r.openPartitions(ct, len(before.Partitions))
	if err != nil {
		return nil, fmt.Errorf("grow topic %q: %w", name, err)
	}
	for _, p := range more {
		p.Log.ShowUnsynced(before.Config().ShowUnsynced())
	}
	t := &Topic{
		ID: before.ID, Name: name, CreatedMs: before.CreatedMs, Partitions: slices.Concat(before.Partitions, more),
		config: before.config, gone: before.gone,
	}
	r.publish(func(byName map[string]*Topic) { byName[name] = t })
	r.opts.Logger.Info("topic has more partitions", "topic", name, "from", len(before.Partitions), "to", total)
	for _, h := range r.hooks {
		if h.Grown != nil {
			h.Grown(t)
		}
	}
	return t, nil
}

package target

import (
	"context"
	"errors"

	"github.com/keyframelog/keyframe/bench/result"
)

// Measure has a workload measured on a topic of its own, which is dropped afterwards, also where that was interrupted. workload is its name, and cfg what it was
// configured with. Errors: a config that makes no sense, what the broker answers, and measure's; half of a measurement is none.
func (t *Target) Measure(ctx context.Context, workload string, cfg interface{ Validate() error }, topic Topic,
	measure func(*Created, *result.Result) error) (r *result.Result, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	r = result.New(workload, cfg)
	created, err := t.Create(ctx, topic)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, created.Drop(ctx)) }()
	if err := measure(created, r); err != nil {
		return nil, err
	}
	return r.End(t.Describe(created.Durability)), nil
}

package drill

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/keyframelog/keyframe/proto/fold"
)

const (
	rowsTopic     = "rows"
	countersTopic = "counters"
)

// Drill is one that is set up: its broker serves, its topics are filled and its replicas follow. It is for one goroutine.
type Drill struct {
	cfg      Config
	s        *stage
	rows     *field // nil: no fault needs it
	counters *field
}

// Run sets up a broker with its replicas, lets the faults happen one after the other, and takes everything down again, also where ctx ends
// before. The error says that the drill could not go on; what became of the faults is in the report alone.
func Run(ctx context.Context, cfg Config) (report Report, err error) {
	began := time.Now()
	d, err := Open(ctx, cfg)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	for _, fault := range Faults() {
		if !slices.Contains(cfg.Faults, fault) {
			continue
		}
		found, err := d.Inject(ctx, fault, 1)
		if err != nil {
			return report, err
		}
		report.Findings = append(report.Findings, found)
		if cfg.Found != nil {
			cfg.Found(found)
		}
	}
	if report.Ends, err = d.Settle(ctx); err != nil {
		return report, err
	}
	report.Took = time.Since(began)
	return report, nil
}

// Open sets up what the faults of a config need. Errors: ErrConfig; whatever keeps it from being set up, of which nothing is left then.
func Open(ctx context.Context, cfg Config) (_ *Drill, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	began := time.Now()
	d := &Drill{cfg: cfg}
	if d.s, err = openStage(ctx, &d.cfg); err != nil {
		return nil, err
	}
	if err := d.fill(ctx, began); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Close takes everything down.
func (d *Drill) Close() error { return d.s.close() }

// fill opens the topics that the faults need.
func (d *Drill) fill(ctx context.Context, began time.Time) (err error) {
	if slices.ContainsFunc(d.cfg.Faults, func(f Fault) bool { return f != Doubled }) {
		if d.rows, err = openField(ctx, d.s, &d.cfg, d.cfg.Prefix+rowsTopic, fold.LastValue); err != nil {
			return err
		}
	}
	if slices.Contains(d.cfg.Faults, Doubled) {
		if d.counters, err = openField(ctx, d.s, &d.cfg, d.cfg.Prefix+countersTopic, fold.Counter); err != nil {
			return err
		}
	}
	if d.cfg.Started != nil {
		setup := Setup{KafkaAddr: d.s.kafkaAddr()}
		for _, f := range d.fields() {
			setup.Topics = append(setup.Topics, f.topic)
			setup.Rows += int64(len(f.state))
		}
		setup.Took = time.Since(began)
		d.cfg.Started(setup)
	}
	return nil
}

func (d *Drill) fields() []*field {
	return slices.DeleteFunc([]*field{d.rows, d.counters}, func(f *field) bool { return f == nil })
}

// Inject lets one fault of the config happen, and follows it until it is found, and repaired where replicas repair themselves. So many keys are
// harmed by what is lost, mutated or doubled; the others have a size of their own. It may be called again, with any fault. Errors: ErrConfig; whatever
// keeps it from being followed.
func (d *Drill) Inject(ctx context.Context, fault Fault, harmed int) (Finding, error) {
	if !slices.Contains(d.cfg.Faults, fault) {
		return Finding{}, fmt.Errorf("%w: the drill is not set up for %q", ErrConfig, fault)
	}
	if harmed < 1 || harmed > d.cfg.Keys/2 {
		return Finding{}, fmt.Errorf("%w: %d keys are harmed, want 1 to half of %d", ErrConfig, harmed, d.cfg.Keys)
	}
	switch fault {
	case Lost:
		return d.rows.lose(ctx, harmed)
	case LostBatch:
		return d.rows.loseBatch(ctx)
	case Doubled:
		return d.counters.double(ctx, harmed)
	case Mutated:
		return d.rows.mutate(ctx, harmed)
	case BeforeLog:
		return d.rows.loseBeforeLog(ctx)
	case Flipped:
		return d.rows.flip(ctx)
	default:
		return d.rows.sleep(ctx)
	}
}

// Settle cuts a last key frame of each topic, and compares all copies there.
func (d *Drill) Settle(ctx context.Context) (ends []End, err error) {
	for _, f := range d.fields() {
		end, err := f.settle(ctx)
		if err != nil {
			return nil, err
		}
		ends = append(ends, end)
	}
	return ends, nil
}

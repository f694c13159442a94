package drill

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/keyframelog/keyframe/proto/fold"
)

const (
	rowsTopic     = "rows"
	countersTopic = "counters"
)

// drill is one run.
type drill struct {
	cfg      *Config
	s        *stage
	rows     *field // nil: no fault needs it
	counters *field
}

// Run sets up a broker with its replicas, lets the faults happen one after the other, and takes everything down again, also where ctx ends
// before. The error says that the drill could not go on; what became of the faults is in the report alone.
func Run(ctx context.Context, cfg Config) (report Report, err error) {
	if err := cfg.Validate(); err != nil {
		return report, err
	}
	began := time.Now()
	d := &drill{cfg: &cfg}
	if d.s, err = openStage(ctx, &cfg); err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, d.s.close()) }()
	if err := d.fill(ctx, began); err != nil {
		return report, err
	}
	for _, fault := range Faults() {
		if !slices.Contains(cfg.Faults, fault) {
			continue
		}
		found, err := d.run(ctx, fault)
		if err != nil {
			return report, err
		}
		report.Findings = append(report.Findings, found)
		if cfg.Found != nil {
			cfg.Found(found)
		}
	}
	for _, f := range d.fields() {
		end, err := f.settle(ctx)
		if err != nil {
			return report, err
		}
		report.Ends = append(report.Ends, end)
	}
	report.Took = time.Since(began)
	return report, nil
}

// fill opens the topics that the faults need.
func (d *drill) fill(ctx context.Context, began time.Time) (err error) {
	if slices.ContainsFunc(d.cfg.Faults, func(f Fault) bool { return f != Doubled }) {
		if d.rows, err = openField(ctx, d.s, d.cfg, rowsTopic, fold.LastValue); err != nil {
			return err
		}
	}
	if slices.Contains(d.cfg.Faults, Doubled) {
		if d.counters, err = openField(ctx, d.s, d.cfg, countersTopic, fold.Counter); err != nil {
			return err
		}
	}
	if d.cfg.Started != nil {
		rows := int64(0)
		for _, f := range d.fields() {
			rows += int64(len(f.state))
		}
		d.cfg.Started(Setup{KafkaAddr: d.s.kafkaAddr(), Rows: rows, Took: time.Since(began)})
	}
	return nil
}

func (d *drill) fields() []*field {
	return slices.DeleteFunc([]*field{d.rows, d.counters}, func(f *field) bool { return f == nil })
}

func (d *drill) run(ctx context.Context, fault Fault) (Finding, error) {
	switch fault {
	case Lost:
		return d.rows.lose(ctx)
	case LostBatch:
		return d.rows.loseBatch(ctx)
	case Doubled:
		return d.counters.double(ctx)
	case Mutated:
		return d.rows.mutate(ctx)
	case BeforeLog:
		return d.rows.loseBeforeLog(ctx)
	case Flipped:
		return d.rows.flip(ctx)
	default:
		return d.rows.sleep(ctx)
	}
}

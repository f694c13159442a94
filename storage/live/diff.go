package live

import (
	"bytes"
	"context"
	"errors"
	"iter"

	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/table"
)

// Diff is what differs between the states of a partition at two offsets. It serves one goroutine, and pins sstables until it is closed.
type Diff struct {
	older, younger *Past
	backwards      bool // from the younger to the older
}

// Diff compares the state at from with that at to, which may lie below from. Errors: At's, of either offset.
func (p *Partition) Diff(ctx context.Context, from, to int64, src Source) (d *Diff, err error) {
	now, err := p.table.View(table.Current)
	if err != nil {
		return nil, err
	}
	defer func() { err = damage.Join(err, now.Close()) }()
	d = &Diff{backwards: from > to}
	if d.older, err = p.past(ctx, now, min(from, to), src); err != nil {
		return nil, err
	}
	if d.younger, err = p.past(ctx, now, max(from, to), src); err != nil {
		return nil, errors.Join(err, d.older.Close())
	}
	return d, nil
}

// Close releases the sstables.
func (d *Diff) Close() error { return errors.Join(d.older.Close(), d.younger.Close()) }

// Rows yields, in key order, the keys with the prefix above after (nil: all with it) whose rows differ in their values, or that have a row on
// one side alone. A key that was deleted and came back as it was, or was written again with its value, is no difference: offset, time and
// headers do not count. A difference is valid until the next.
//
// Where both states lie above key frames the cost is that of the keys touched between the older one's frame and the younger state. Else both
// are read in full, side by side: below the first frame, and where the log start has moved since the nearest frame.
func (d *Diff) Rows(ctx context.Context, prefix, after []byte) iter.Seq2[table.Difference, error] {
	return func(yield func(table.Difference, error) bool) {
		compare := d.both
		if d.older.framed() && d.younger.framed() {
			compare = d.touched
		}
		n := 0
		err := compare(ctx, prefix, after, func(x *table.Difference) error {
			if n++; n%checkRows == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
			if x.Had == x.Has && (!x.Had || bytes.Equal(x.Before.Value, x.After.Value)) {
				return nil
			}
			if d.backwards {
				x.Before, x.After, x.Had, x.Has = x.After, x.Before, x.Has, x.Had
			}
			if !yield(*x, nil) {
				return errStop
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(table.Difference{}, err)
		}
	}
}

// checkRows is how many keys are compared before the context is looked at.
const checkRows = 1024

var errStop = errors.New("live: the reader has enough")

// framed tells whether the undo entries of the table account for every row that a frame below lost on the way to the state.
func (s *Past) framed() bool { return s.view != nil && s.start == s.view.Frame().Start }

// touched visits the keys that can differ: those that the deltas above the frames touch, and those that differ between the frames.
func (d *Diff) touched(ctx context.Context, prefix, after []byte, visit func(*table.Difference) error) error {
	columns := join(d.older.iv.columns(prefix, after, 0), d.younger.iv.columns(prefix, after, 1))
	for x, err := range d.older.view.Differences(ctx, d.younger.view, prefix, after) {
		if err != nil {
			return err
		}
		if columns, err = d.columnsBelow(columns, x.Key, visit); err != nil {
			return err
		}
		if len(columns) > 0 && bytes.Equal(columns[0].key, x.Key) {
			continue // the frames do not tell
		}
		if err := visit(&x); err != nil {
			return err
		}
	}
	_, err := d.columnsBelow(columns, nil, visit)
	return err
}

// columnsBelow visits the keys below limit, nil is no limit, and returns the others.
func (d *Diff) columnsBelow(columns []column, limit []byte, visit func(*table.Difference) error) ([]column, error) {
	for len(columns) > 0 && (limit == nil || bytes.Compare(columns[0].key, limit) < 0) {
		x := table.Difference{Key: columns[0].key}
		var err error
		if x.Before, x.Had, err = d.older.Get(x.Key); err != nil {
			return nil, err
		}
		if x.After, x.Has, err = d.younger.Get(x.Key); err != nil {
			return nil, err
		}
		if err := visit(&x); err != nil {
			return nil, err
		}
		columns = columns[1:]
	}
	return columns, nil
}

// both visits every key that either state has.
func (d *Diff) both(_ context.Context, prefix, after []byte, visit func(*table.Difference) error) error {
	older, stopOlder := iter.Pull2(d.older.Scan(prefix, after))
	defer stopOlder()
	younger, stopYounger := iter.Pull2(d.younger.Scan(prefix, after))
	defer stopYounger()
	old, err, had := older()
	row, err1, has := younger()
	for had || has {
		if err := errors.Join(err, err1); err != nil {
			return err
		}
		x := pair(old, had, row, has)
		if err := visit(&x); err != nil {
			return err
		}
		hadKey, hasKey := had && bytes.Equal(old.Key, x.Key), has && bytes.Equal(row.Key, x.Key)
		if hadKey {
			old, err, had = older()
		}
		if hasKey {
			row, err1, has = younger()
		}
	}
	return nil
}

// pair is the lower key of two rows, with those of them that are its own.
func pair(before frame.Row, had bool, after frame.Row, has bool) (x table.Difference) {
	c := 0
	switch {
	case !has:
		c = -1
	case !had:
		c = 1
	default:
		c = bytes.Compare(before.Key, after.Key)
	}
	if c <= 0 {
		x.Key, x.Before, x.Had = before.Key, before, true
	}
	if c >= 0 {
		x.Key, x.After, x.Has = after.Key, after, true
	}
	return x
}

package table

import (
	"context"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

// Drop deletes all that an ordinal has, whether its table is open or not. The meta entry goes first: from then on there is no such
// table, and what a crash leaves of the rest is removed by Open. Views keep what they see. What is damaged goes as well, unless it
// cannot be told from what lies beside it, of other ordinals too: then the error is of damage, and nothing has happened.
func (db *DB) Drop(ctx context.Context, ordinal uint32) error {
	end, err := db.begin()
	if err != nil {
		return err
	}
	defer end()
	t := db.opened(ordinal)
	if t != nil {
		if err := t.lock(ctx); err != nil {
			return err
		}
		defer t.unlock()
	}
	last := false
	if db.beside(ordinal, false) != nil {
		db.making.Lock()
		defer db.making.Unlock()
		if last, err = db.last(ordinal); err != nil {
			return fmt.Errorf("table: drop ordinal %d: %w", ordinal, err)
		}
	}
	spaces, err := db.exciseOrder(ordinal, last)
	if err != nil {
		return fmt.Errorf("table: drop ordinal %d: %w", ordinal, err)
	}
	if err := db.dropMeta(ctx, ordinal, t); err != nil {
		return err
	}
	if t != nil {
		db.mu.Lock()
		delete(db.tables, ordinal)
		db.mu.Unlock()
	}
	err = db.exciseAll(ctx, ordinal, spaces, last)
	db.mu.Lock()
	defer db.mu.Unlock()
	if delete(db.halves, ordinal); err != nil {
		db.halves[ordinal] = err
	}
	return err
}

// Separable returns an error of damage where Drop may come no further than the meta entry: a block that cannot be read, beside what the ordinal has, may hold
// what another ordinal has as well.
func (db *DB) Separable(ordinal uint32) error {
	known, err := db.Ordinals()
	if err != nil || !slices.ContainsFunc(known, func(o uint32) bool { return o != ordinal }) {
		return err
	}
	last, err := db.last(ordinal)
	if err == nil {
		err = db.beside(ordinal, last)
	}
	if err != nil {
		return fmt.Errorf("table: ordinal %d: %w", ordinal, err)
	}
	return nil
}

// last tells whether no table has a higher ordinal.
func (db *DB) last(ordinal uint32) (bool, error) {
	known, err := db.Ordinals()
	return err == nil && !slices.ContainsFunc(known, func(o uint32) bool { return o > ordinal }), err
}

// beside is what of the blocks beside an ordinal's spaces cannot be read.
func (db *DB) beside(ordinal uint32, last bool) error {
	for _, space := range keys.TableSpaces() {
		if _, err := db.excisable(space, ordinal, last); err != nil {
			return err
		}
	}
	return nil
}

// excisable is what goes with an ordinal's space. Behind the rows of the last ordinal nobody has any: if it cannot be read where they end, all up to the next
// space goes, beyond what the index says of their last block.
func (db *DB) excisable(space keys.TableSpace, ordinal uint32, last bool) (span pebble.KeyRange, err error) {
	span.Start, span.End = keys.TableSpan(space, ordinal)
	if err = db.readableBeside(span); err == nil || !last || space == keys.TableMeta {
		return span, err
	}
	wide := pebble.KeyRange{Start: span.Start, End: keys.AppendTablePrefix(nil, space+1, 0)}
	if db.readableBeside(wide) == nil {
		return wide, nil
	}
	return span, err
}

// exciseOrder is in which order the spaces of an ordinal can be excised that may have something. A damaged block beside one of them may be the first or the
// last of the next, which is excised before then.
func (db *DB) exciseOrder(ordinal uint32, last bool) (order []keys.TableSpace, err error) {
	type space struct {
		is     keys.TableSpace
		beside error
	}
	var list []space
	for _, s := range keys.TableSpaces() {
		if empty, err := db.emptySpace(s, ordinal); err == nil && empty {
			continue
		}
		_, err := db.excisable(s, ordinal, last)
		list = append(list, space{s, err})
	}
	var later []keys.TableSpace
	for i, s := range list {
		switch {
		case s.beside == nil:
			order = append(order, s.is)
		case (i == 0 || list[i-1].beside != nil) && (i == len(list)-1 || list[i+1].beside != nil):
			return nil, s.beside
		default:
			later = append(later, s.is)
		}
	}
	return append(order, later...), nil
}

func (db *DB) emptySpace(space keys.TableSpace, ordinal uint32) (bool, error) {
	it, err := db.iterate(space, ordinal)
	if err != nil {
		return false, err
	}
	there := it.First()
	return !there, damage.Join(it.Error(), it.Close())
}

// dropMeta makes the table dropped: who begins to read t, unless it is nil, sees what was before, or that it is gone.
func (db *DB) dropMeta(ctx context.Context, ordinal uint32, t *Table) error {
	s := db.sink()
	s.delete(keys.TableMeta, keys.AppendTablePrefix(nil, keys.TableMeta, ordinal))
	if t == nil {
		return s.commit(ctx, nil)
	}
	release, err := db.hold(t)
	if err != nil {
		return err
	}
	if err = s.commit(ctx, nil); err == nil {
		t.dropped.Store(true)
	}
	release()
	return err
}

// exciseAll removes the spaces in this order; one beside which a block is damaged comes again behind the others, one of which may have had that.
func (db *DB) exciseAll(ctx context.Context, ordinal uint32, spaces []keys.TableSpace, last bool) error {
	for len(spaces) > 0 {
		var again []keys.TableSpace
		var failed error
		for _, space := range spaces {
			span, err := db.excisable(space, ordinal, last)
			if err == nil {
				err = db.cfg.DB.Excise(context.WithoutCancel(ctx), span)
			}
			if err != nil {
				failed = fmt.Errorf("table: drop ordinal %d: %w", ordinal, err)
				if again = append(again, space); !pebble.IsCorruptionError(err) {
					return failed
				}
			}
		}
		if len(again) == len(spaces) {
			return failed
		}
		spaces = again
	}
	return nil
}

// excise removes what is in a range, and nothing beside it.
func (db *DB) excise(ctx context.Context, span pebble.KeyRange) error {
	if err := db.readableBeside(span); err != nil {
		return err
	}
	return db.cfg.DB.Excise(context.WithoutCancel(ctx), span)
}

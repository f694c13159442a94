package table

import (
	"context"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

// Examine tells whether a table can be made behind all others: the error is of damage (package damage) where it would lie beside what cannot be read, so
// that it could not be read either, or where meta entries cannot be. It changes nothing.
func (db *DB) Examine() error {
	known, err := db.Ordinals()
	if err != nil {
		return err
	}
	next := uint32(0)
	if n := len(known); n > 0 {
		next = known[n-1] + 1
	}
	for _, space := range keys.TableSpaces() {
		if _, err := db.emptySpace(space, next); err != nil {
			return fmt.Errorf("table: no table can be made of ordinal %d: %w", next, err)
		}
	}
	return nil
}

// removeOrphans drops what ordinals without a meta entry have. It looks between the ordinals that have one, at no block that only these are in. What is
// damaged there stays, and is a matter of who makes a table of such an ordinal: see makeRoom.
func (db *DB) removeOrphans() error {
	known, err := db.Ordinals()
	if err != nil {
		return err
	}
	for _, space := range keys.TableSpaces() {
		lower := keys.AppendTablePrefix(nil, space, 0)
		for _, o := range known {
			start, after := keys.TableSpan(space, o)
			if err := db.removeReadable(lower, start); err != nil {
				return err
			}
			lower = after
		}
		if err := db.removeReadable(lower, []byte{byte(space) + 1}); err != nil {
			return err
		}
	}
	return nil
}

func (db *DB) removeReadable(lower, upper []byte) error {
	err := db.removeBetween(context.Background(), lower, upper)
	if pebble.IsCorruptionError(err) {
		db.cfg.Logger.Warn("table: what an interrupted commit may have left cannot be removed", "err", err)
		return nil
	}
	return err
}

// makeRoom removes what is left of an ordinal that has no table, before one is made. Where it cannot be read what that is, or whether there is anything, the
// error is of damage: what is left would be among the table's own.
func (db *DB) makeRoom(ctx context.Context, ordinal uint32) error {
	for _, space := range keys.TableSpaces() {
		if space == keys.TableMeta {
			continue
		}
		lower, upper := keys.TableSpan(space, ordinal)
		if err := db.removeBetween(ctx, lower, upper); err != nil {
			return fmt.Errorf("table: no table can be made of ordinal %d: %w", ordinal, err)
		}
	}
	return nil
}

// removeBetween removes what is in [lower, upper).
func (db *DB) removeBetween(ctx context.Context, lower, upper []byte) error {
	if string(lower) >= string(upper) {
		return nil
	}
	it, err := db.iterateSpan(lower, upper)
	if err != nil {
		return err
	}
	there := it.First()
	if err := damage.Join(it.Error(), it.Close()); err != nil || !there {
		return err
	}
	return db.excise(ctx, pebble.KeyRange{Start: lower, End: upper})
}

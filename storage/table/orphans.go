package table

import (
	"context"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

// Examine is for a database that is open for reading only: it returns the error that Open would return if it were open for writing.
func (db *DB) Examine() error { return db.removeOrphans() }

// removeOrphans drops what ordinals without a meta entry have, unless the database is open for reading only. It looks between the ordinals that have
// one, at no block that only these are in: what is damaged there is their own business. What is damaged between two of them stays: tables are made
// behind the last.
func (db *DB) removeOrphans() error {
	known, err := db.Ordinals()
	if err != nil {
		return err
	}
	for _, space := range keys.TableSpaces() {
		lower := keys.AppendTablePrefix(nil, space, 0)
		for _, o := range known {
			start, after := keys.TableSpan(space, o)
			if err := db.removeBetween(lower, start); err != nil && !pebble.IsCorruptionError(err) {
				return err
			} else if err != nil {
				db.cfg.Logger.Warn("table: what an interrupted commit has left cannot be removed", "err", err)
			}
			lower = after
		}
		if err := db.removeBetween(lower, []byte{byte(space) + 1}); err != nil {
			return err
		}
	}
	return nil
}

// removeBetween removes what is in [lower, upper).
func (db *DB) removeBetween(lower, upper []byte) error {
	if string(lower) >= string(upper) {
		return nil
	}
	it, err := db.cfg.DB.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return err
	}
	there := it.First()
	if err := damage.Join(it.Error(), it.Close()); err != nil || !there || db.cfg.Options.ReadOnly {
		return err
	}
	return db.excise(context.Background(), pebble.KeyRange{Start: lower, End: upper})
}

package table

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
)

// Keep marks the frame of each table at the cut that stands beside it as Kept, all of them with one Ingest: durable when it returns. Nothing is
// written where all are already. Errors: ErrNoFrame, then none is marked; ErrClosed; ctx's.
func (db *DB) Keep(ctx context.Context, cuts map[*Table]int64) error {
	end, err := db.begin()
	if err != nil {
		return err
	}
	defer end()
	tables := slices.SortedFunc(maps.Keys(cuts), func(a, b *Table) int { return cmp.Compare(a.ordinal, b.ordinal) })
	s := db.sink()
	defer s.discard()
	marked := make(map[*Table]*meta)
	for _, t := range tables { // in ordinal order, as Commit does
		if err := t.lock(ctx); err != nil {
			return fmt.Errorf("table: keep the frame at %d of ordinal %d: %w", cuts[t], t.ordinal, err)
		}
		defer t.unlock()
		m := t.state.Load()
		i, ok := m.find(cuts[t])
		if !ok {
			return fmt.Errorf("%w: %d of ordinal %d", ErrNoFrame, cuts[t], t.ordinal)
		}
		if m.frames[i].Kept {
			continue
		}
		m = m.clone()
		m.frames[i].Kept = true
		t.putMeta(s, m)
		marked[t] = m
	}
	if err := s.commit(ctx, nil, slices.Collect(maps.Keys(marked))...); err != nil {
		return err
	}
	for t, m := range marked {
		t.state.Store(m)
	}
	return nil
}

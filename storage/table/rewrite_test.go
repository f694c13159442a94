package table_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/table"
)

// While trims rewrite segments, every view and every Get sees all rows: never a moment between what is taken away and what takes
// its place.
func TestReadDuringRewrite(t *testing.T) {
	const keys = 60
	rounds := 34 * checks
	var clock int64
	s := openStore(t, vfs.NewMem(), &clock, rowMax, true)
	defer s.close(t)
	x, err := s.db.Table(1, identity(fold.LastValue, 0))
	require.NoError(t, err)
	next := int64(0)
	key := func(i int) string { return fmt.Sprintf("k%02d", i) }
	foldAndTrim := func(from, step int) error {
		var deltas []oracleDelta
		for i := from; i < keys; i += step {
			deltas = append(deltas, oracleDelta{key: key(i), op: oraclePut, value: fmt.Sprint(next), offset: next})
			next++
		}
		if err := s.db.Commit(background, []table.Fold{{Table: x, Changes: collapse(deltas), End: next, Cut: true}}); err != nil {
			return err
		}
		return x.Trim(background, next)
	}
	require.NoError(t, foldAndTrim(0, 1))

	done := make(chan struct{})
	var failures [2]error
	var wg sync.WaitGroup
	reader := func(i int, read func(n int) error) {
		wg.Go(func() {
			for n := 0; failures[i] == nil; n++ {
				select {
				case <-done:
					return
				default:
					failures[i] = read(n)
				}
			}
		})
	}
	reader(0, func(int) error { return countRows(x, keys) })
	reader(1, func(n int) error {
		if _, ok, err := x.Get([]byte(key(n % keys))); err != nil || !ok {
			return fmt.Errorf("get %s: found %v, %w", key(n%keys), ok, err)
		}
		return nil
	})
	for round := range rounds {
		require.NoError(t, foldAndTrim(round%2, 2))
	}
	close(done)
	wg.Wait()
	require.NoError(t, failures[0])
	require.NoError(t, failures[1])
}

func countRows(x *table.Table, want int) error {
	v, err := x.View(table.Current)
	if err != nil {
		return err
	}
	defer v.Close()
	n := 0
	for _, err := range v.Offsets(0, false) {
		if err != nil {
			return err
		}
		n++
	}
	if n != want {
		return fmt.Errorf("a view at %d has %d rows, want %d", v.End(), n, want)
	}
	return nil
}

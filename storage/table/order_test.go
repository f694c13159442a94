//go:build !race

// With the race detector Pebble checks itself that its keys ascend, and panics.

package table_test

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/stretchr/testify/require"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/table"
)

// An sstable that was overwritten with another of one size has Pebble find keys below those that are sought. Whatever is read then comes to an end, and says
// nothing that is not so.
func TestReadingEndsWhereKeysAreOutOfOrder(t *testing.T) {
	var clock int64
	clean := vfs.NewMem()
	s := openStore(t, clean, &clock, 4096, false)
	for o := uint32(1); o <= 3; o++ {
		x, err := s.db.Table(o, identity(fold.LastValue, int32(o)))
		require.NoError(t, err)
		for end := int64(200); end <= 400; end += 200 { // the second supersedes some
			var deltas []oracleDelta
			for i := end - 200; i < end; i++ {
				deltas = append(deltas, oracleDelta{key: fmt.Sprintf("k%03d", i%250), offset: i, op: oraclePut, value: fmt.Sprintf("%d-%03d-%0100d", o, i, 0)})
			}
			slices.SortFunc(deltas, func(a, b oracleDelta) int { return strings.Compare(a.key, b.key) })
			require.NoError(t, s.db.Commit(background, []table.Fold{{Table: x, Changes: collapse(deltas), End: end, Cut: true}}))
		}
	}
	s.close(t)
	names, err := clean.List("db")
	require.NoError(t, err)
	names = slices.DeleteFunc(names, func(name string) bool { return path.Ext(name) != ".sst" })
	slices.Sort(names)
	var swapped, unordered int
	for _, to := range names {
		for _, from := range names {
			text := contentsOf(t, clean, path.Join("db", from))
			if was := contentsOf(t, clean, path.Join("db", to)); len(was) != len(text) || bytes.Equal(was, text) {
				continue
			}
			swapped++
			fs := vfs.NewMem()
			_, err := vfs.Clone(clean, fs, "db", "db")
			require.NoError(t, err)
			f, err := fs.Create(path.Join("db", to), vfs.WriteCategoryUnspecified)
			require.NoError(t, err)
			_, err = f.Write(text)
			require.NoError(t, err)
			require.NoError(t, f.Close())
			for _, err := range readAll(t, fs, &clock) {
				var corrupt *table.CorruptError
				if errors.As(err, &corrupt) && strings.HasPrefix(corrupt.What, "order of the keys") {
					unordered++
				}
			}
		}
	}
	require.Positive(t, swapped)
	require.Positive(t, unordered)
}

func contentsOf(t *testing.T, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name)
	require.NoError(t, err)
	info, err := f.Stat()
	require.NoError(t, err)
	b := make([]byte, info.Size())
	_, err = f.ReadAt(b, 0)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	return b
}

// readAll reads whatever is stored, for reading only, and returns what that has failed with.
func readAll(t *testing.T, fs vfs.FS, clock *int64) (errs []error) {
	t.Helper()
	s := &store{fs: fs, clock: clock, max: 4096, opts: options(fs, true)}
	s.opts.EventListener.DataCorruption = func(pebble.DataCorruptionInfo) {}
	s.opts.ReadOnly = true
	s.open(t)
	defer s.close(t)
	ordinals, err := s.db.Ordinals()
	errs = append(errs, err)
	for i, o := range ordinals {
		require.Equal(t, i, slices.Index(ordinals, o), "listed twice")
	}
	errs = append(errs, s.db.Examine())
	for o := uint32(1); o <= 3; o++ {
		x, err := s.db.Table(o, identity(fold.LastValue, int32(o)))
		if errs = append(errs, err); err != nil {
			continue
		}
		for _, cut := range []int64{200, 400, table.Current} {
			_, err := x.Verify(background, cut)
			errs = append(errs, err)
			v, err := x.View(cut)
			if errs = append(errs, err); err != nil {
				continue
			}
			for _, err := range v.Offsets(0, false) {
				errs = append(errs, err)
			}
			errs = append(errs, v.Close())
		}
		errs = append(errs, x.VerifyIndex(background))
		_, _, err = x.Salvage(nil, func(*frame.Row) error { return nil }, func(table.LostRow) error { return nil })
		errs = append(errs, err)
		for _, scrub := range []*table.Scrub{x.ScrubFrame(), x.ScrubRows()} {
			p, err := scrub.Next(background, 50)
			for ; err == nil && !p.Done; p, err = scrub.Next(background, 50) {
			}
			errs = append(errs, err)
		}
	}
	return errs
}

package engine

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/sstable/block"
	"github.com/cockroachdb/pebble/v2/sstable/block/blockkind"

	"github.com/keyframelog/keyframe/storage/damage"
)

// CheckTableFiles opens each sstable of the table database, which is open, and reads all of it but keys and values: footer, properties, index, filters.
// Without one of these nothing, or no key, can be read of a file, and next to nothing written beside it. From the first and the last key it sees whether the
// file is the one that the MANIFEST means. The error is a *damage.Error.
func (d *Dir) CheckTableFiles(ctx context.Context) error {
	d.mu.Lock()
	db := d.tabDB
	d.mu.Unlock()
	opts, path := d.tableOptions(), d.cfg.FS.PathJoin(d.cfg.Dir, tableDir)
	levels, err := db.SSTables()
	if err != nil {
		return damage.Of(err)
	}
	files := boundsOf(levels) // several sstables may lie in one
	for _, name := range slices.Sorted(maps.Keys(files)) {
		err := checkTableFile(ctx, opts, opts.FS.PathJoin(path, name), files[name])
		if err != nil && !uses(db, strings.TrimSuffix(name, ".sst")) {
			continue // compacted since, and perhaps deleted
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// uses tells whether the file of a number is one of the database's now; true where that cannot be told.
func uses(db *pebble.DB, number string) bool {
	levels, err := db.SSTables()
	return err != nil || slices.ContainsFunc(levels, func(level []pebble.SSTableInfo) bool {
		return slices.ContainsFunc(level, func(info pebble.SSTableInfo) bool { return info.BackingSSTNum.String() == number })
	})
}

// checkTableFile reads what leads to the keys of an sstable, and whether it is the one that is meant.
func checkTableFile(ctx context.Context, opts *pebble.Options, path string, want bounds) error {
	err := withReader(ctx, opts, opts.FS, path, func(r *sstable.Reader) error {
		if err := readIndex(ctx, r); err != nil {
			return err
		}
		return want.check(ctx, r, path)
	})
	if err != nil && ctx.Err() == nil {
		return &damage.Error{Path: path, Offset: -1, Why: damage.Why(err), Err: err}
	}
	return err
}

// readIndex reads all of an sstable but its keys and values.
func readIndex(ctx context.Context, r *sstable.Reader) error {
	l, err := r.Layout()
	if err != nil {
		return err
	}
	handles := []block.Handle{l.RangeDel, l.RangeKey, l.Properties, l.MetaIndex}
	for _, named := range l.Filter {
		handles = append(handles, named.Handle)
	}
	var none objstorage.ReadHandle
	for _, h := range handles {
		if h.Length == 0 {
			continue
		}
		b, err := r.BlockReader().Read(ctx, block.NoReadEnv, none, h, blockkind.Metadata, func(*block.Metadata, []byte) error { return nil })
		if err != nil {
			return err
		}
		b.Release()
	}
	return nil
}

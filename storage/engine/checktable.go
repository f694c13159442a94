package engine

import (
	"context"
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/sstable/block"
	"github.com/cockroachdb/pebble/v2/sstable/block/blockkind"

	"github.com/keyframelog/keyframe/storage/damage"
)

// CheckTableFiles opens each sstable of the table database, which is open, and reads all of it but keys and values: footer, properties, index, filters.
// Without one of these nothing, or no key, can be read of a file, and next to nothing written beside it. The error is a *damage.Error.
func (d *Dir) CheckTableFiles(ctx context.Context) error {
	d.mu.Lock()
	db := d.tabDB
	d.mu.Unlock()
	opts, path := d.tableOptions(), d.cfg.FS.PathJoin(d.cfg.Dir, tableDir)
	levels, err := db.SSTables()
	if err != nil {
		return damage.Of(err)
	}
	seen := map[string]bool{} // several virtual sstables may lie in one file
	for _, level := range levels {
		for _, info := range level {
			file := opts.FS.PathJoin(path, info.BackingSSTNum.String()+".sst")
			if seen[file] {
				continue
			}
			seen[file] = true
			err := checkTableFile(ctx, opts, file)
			if err != nil && !uses(db, info.BackingSSTNum.String()) {
				continue // compacted since, and perhaps deleted
			}
			if err != nil {
				return err
			}
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

// checkTableFile reads what leads to the keys of an sstable.
func checkTableFile(ctx context.Context, opts *pebble.Options, path string) (err error) {
	defer func() {
		if err != nil && ctx.Err() == nil {
			err = &damage.Error{Path: path, Offset: -1, Why: damage.Why(err), Err: err}
		}
	}()
	f, err := opts.FS.Open(path)
	if err != nil {
		return err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	r, err := sstable.NewReader(ctx, readable, opts.MakeReaderOptions())
	if err != nil {
		return errors.Join(err, readable.Close())
	}
	defer func() { err = errors.Join(err, r.Close()) }()
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

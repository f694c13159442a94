package engine

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/sstable/block"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keyframelog/keyframe/storage/damage"
)

// boundsFS gives nothing of an sstable that is not the one that the MANIFEST means, though it is sound: a copy of another, as a restore may mix them up.
// Pebble 2.1.7 compares the sizes when it opens the database, and small sstables are often of one size. Behind that it believes the bounds of the MANIFEST: what
// such a file has outside them comes up in the middle of other keys, below the one that was sought.
//
// Each file is looked at once, before it is first read, and not when the database is opened; those that were written since are not. A file with the bounds of
// another cannot be told from it: all that the MANIFEST has beside them is the size.
type boundsFS struct {
	vfs.FS
	opts  *pebble.Options                   // that sstables are read with
	files atomic.Pointer[map[string]*meant] // nil: not known yet
}

// meant is what the MANIFEST says of one file.
type meant struct {
	bounds
	once sync.Once
	err  error
}

// bounds are the first and the last key of an sstable; of a range, the end. In part: of the one or more sstables that lie in the file, which may have more.
type bounds struct {
	smallest, largest []byte
	part              bool
}

// openBounded opens a database with a boundsFS between it and its files.
func openBounded(path string, opts *pebble.Options) (*pebble.DB, error) {
	reading, with := opts.Clone(), opts.Clone()
	reading.EnsureDefaults() // has what reads keys
	fs := &boundsFS{FS: opts.FS, opts: reading}
	with.FS = fs
	db, err := pebble.Open(path, with)
	if err != nil {
		return nil, err
	}
	levels, err := db.SSTables()
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	fs.know(levels)
	return db, nil
}

// know takes what the files of a database that was opened are to be. What Pebble has read of a file before is not taken back; what it reads next is refused.
func (fs *boundsFS) know(levels [][]pebble.SSTableInfo) {
	named := boundsOf(levels)
	list, files := make([]meant, len(named)), make(map[string]*meant, len(named))
	for name, b := range named {
		i := len(files)
		list[i].bounds, files[name] = b, &list[i]
	}
	fs.files.Store(&files)
}

// boundsOf are those of each file, by its name.
func boundsOf(levels [][]pebble.SSTableInfo) map[string]bounds {
	files := map[string]bounds{}
	for _, level := range levels {
		for _, info := range level {
			name := info.BackingSSTNum.String() + ".sst"
			b, found := files[name]
			if !found {
				b.part = info.Virtual
			}
			b.widen(info.Smallest.UserKey, info.Largest.UserKey)
			files[name] = b
		}
	}
	return files
}

// widen keeps from and to.
func (b *bounds) widen(from, to []byte) {
	if b.smallest == nil || bytes.Compare(from, b.smallest) < 0 {
		b.smallest = from
	}
	if b.largest == nil || bytes.Compare(to, b.largest) > 0 {
		b.largest = to
	}
}

// check returns a *damage.Error if the file is another one. What cannot be read of it is not told here.
func (b *bounds) check(ctx context.Context, r *sstable.Reader, path string) error {
	got, err := readBounds(ctx, r)
	if err != nil {
		return nil
	}
	from, to := bytes.Compare(got.smallest, b.smallest), bytes.Compare(got.largest, b.largest)
	if from == 0 && to == 0 || b.part && from <= 0 && to >= 0 {
		return nil
	}
	return &damage.Error{Path: path, Offset: -1, Why: "it is another file: its keys are not those that were written", Err: pebble.ErrCorruption}
}

// readBounds reads the first and the last block. Of range keys, which nobody writes, it knows nothing.
func readBounds(ctx context.Context, r *sstable.Reader) (b bounds, err error) {
	it, err := r.NewIter(sstable.NoTransforms, nil, nil, sstable.DebugHandlesBlobContext)
	if err != nil {
		return b, err
	}
	take := func(from, to []byte) { b.widen(bytes.Clone(from), bytes.Clone(to)) }
	if kv := it.First(); kv != nil {
		take(kv.K.UserKey, kv.K.UserKey)
	}
	err = it.Error()
	if kv := it.Last(); kv != nil {
		take(kv.K.UserKey, kv.K.UserKey)
	}
	if err = errors.Join(err, it.Error(), it.Close()); err != nil {
		return b, err
	}
	ranges, err := r.NewRawRangeDelIter(ctx, block.NoFragmentTransforms, sstable.NoReadEnv)
	if err != nil || ranges == nil {
		return b, err
	}
	defer ranges.Close()
	if span, err := ranges.First(); err != nil {
		return b, err
	} else if span != nil {
		take(span.Start, span.End)
	}
	span, err := ranges.Last()
	if span != nil {
		take(span.Start, span.End)
	}
	return b, err
}

func (fs *boundsFS) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := fs.FS.Open(name, opts...)
	if err != nil || !strings.HasSuffix(name, ".sst") {
		return f, err
	}
	return &boundsFile{File: f, fs: fs, name: name}, nil
}

// Unwrap is how Pebble looks through wrapped file systems.
func (fs *boundsFS) Unwrap() vfs.FS { return fs.FS }

// check is that of a file of this name.
func (fs *boundsFS) check(files map[string]*meant, name string) error {
	m := files[fs.PathBase(name)]
	if m == nil {
		return nil
	}
	m.once.Do(func() {
		ctx := context.Background()
		_ = withReader(ctx, fs.opts, fs.FS, name, func(r *sstable.Reader) error { // who reads the file meets all else that is wrong with it
			m.err = m.bounds.check(ctx, r, name)
			return nil
		})
		m.bounds = bounds{}
	})
	return m.err
}

// withReader opens an sstable.
func withReader(ctx context.Context, opts *pebble.Options, fs vfs.FS, path string, fn func(*sstable.Reader) error) error {
	f, err := fs.Open(path)
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
	return errors.Join(fn(r), r.Close())
}

type boundsFile struct {
	vfs.File
	fs      *boundsFS
	name    string
	checked atomic.Bool // and found to be the one that is meant
}

func (f *boundsFile) ReadAt(p []byte, off int64) (int, error) {
	if !f.checked.Load() {
		if files := f.fs.files.Load(); files != nil {
			if err := f.fs.check(*files, f.name); err != nil {
				return 0, err
			}
			f.checked.Store(true)
		}
	}
	return f.File.ReadAt(p, off)
}

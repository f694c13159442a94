package inspect

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/objstorage"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/sstable/blob"

	"github.com/keyframelog/keyframe/storage/damage"
)

// scan reads all that a database has: each block of each sstable, whether partitions read it or not, and each value in blob files
// and in the WAL.
type scan struct {
	*Report
	ctx context.Context
	database
	damaged     map[string]bool // files that were reported
	blobDamaged bool            // among them one that was found to be unreadable as a whole
}

func (s *scan) run() {
	s.damaged = map[string]bool{}
	before := len(s.Problems)
	s.sstables()
	s.blobs()
	s.values()
	if len(s.Problems) > before || s.ctx.Err() != nil {
		return
	}
	if err := s.db.CheckLevels(nil); err != nil { // the order of keys across levels
		s.problem(fmt.Errorf("%s: %w", s.path, damage.Of(err)))
	}
}

func (s *scan) problem(err error) {
	var d *damage.Error
	if errors.As(err, &d) {
		if s.damaged[d.Path] || d.Path == damage.SomeBlob && s.blobDamaged {
			return
		}
		s.damaged[d.Path] = true
	}
	s.Problems = append(s.Problems, Problem{Offset: -1, Err: err})
}

func (s *scan) sstables() {
	levels, err := s.db.SSTables()
	if err != nil {
		s.problem(fmt.Errorf("%s: %w", s.path, damage.Of(err)))
		return
	}
	seen := map[string]bool{} // several virtual sstables may lie in one file
	for _, level := range levels {
		for _, info := range level {
			path := s.options.FS.PathJoin(s.path, info.BackingSSTNum.String()+".sst")
			if seen[path] || s.ctx.Err() != nil {
				continue
			}
			seen[path] = true
			s.Files++
			if err := s.sstable(path); err != nil {
				s.problem(&damage.Error{Path: path, Offset: -1, Why: damage.Why(err), Err: err})
			}
		}
	}
}

func (s *scan) sstable(path string) error {
	readable, err := s.open(path)
	if err != nil {
		return err
	}
	r, err := sstable.NewReader(s.ctx, readable, s.options.MakeReaderOptions())
	if err != nil {
		return errors.Join(err, readable.Close())
	}
	return errors.Join(r.ValidateBlockChecksums(), r.Close())
}

func (s *scan) open(path string) (objstorage.Readable, error) {
	f, err := s.options.FS.Open(path)
	if err != nil {
		return nil, err
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return readable, nil
}

// blobs opens each blob file: what values meets of one that cannot be opened does not say which it is. They were synced before the
// MANIFEST named them, so no crash leaves one that is missing or of another size. The version that names them is ours as long as
// the database is open for reading only: otherwise a compaction may release it.
func (s *scan) blobs() {
	for info := range s.db.DebugCurrentVersion().BlobFiles.All() {
		path := s.options.FS.PathJoin(s.path, info.Physical.FileNum.String()+".blob")
		if s.ctx.Err() != nil {
			return
		}
		if why, err := s.blob(path, int64(info.Physical.Size)); why != "" {
			s.blobDamaged = true
			s.problem(&damage.Error{Path: path, Offset: -1, Why: why, Err: err})
		}
	}
}

// blob returns why a blob file cannot be opened; "": it can.
func (s *scan) blob(path string, size int64) (why string, err error) {
	info, err := s.options.FS.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return "it is missing", err
	case err != nil:
		return damage.Why(err), err
	case info.Size() != size:
		return fmt.Sprintf("it has %d bytes, and %d were written", info.Size(), size), nil
	}
	readable, err := s.open(path)
	if err != nil {
		return damage.Why(err), err
	}
	r, err := blob.NewFileReader(s.ctx, readable, blob.FileReaderOptions{ReaderOptions: s.options.MakeReaderOptions().ReaderOptions})
	if err != nil {
		return damage.Why(err), errors.Join(err, readable.Close())
	}
	if err := r.Close(); err != nil {
		return damage.Why(err), err
	}
	return "", nil
}

// values reads every value. A damaged blob file does not end it: others may be damaged too.
func (s *scan) values() {
	it, err := s.db.NewIter(&pebble.IterOptions{KeyTypes: pebble.IterKeyTypePointsOnly})
	if err != nil {
		s.problem(fmt.Errorf("%s: %w", s.path, damage.Of(err)))
		return
	}
	defer func() {
		if err := damage.Of(errors.Join(it.Error(), it.Close())); err != nil {
			s.problem(s.located(err))
		}
	}()
	for ok := it.First(); ok && s.ctx.Err() == nil; ok = it.Next() {
		s.Keys++
		if _, err := damage.Value(it); err != nil {
			s.problem(s.located(damage.Of(err)))
		}
	}
}

// located gives a blob file its path, of which Pebble says the number only.
func (s *scan) located(err error) error {
	var d *damage.Error
	if !errors.As(err, &d) {
		return fmt.Errorf("%s: %w", s.path, err)
	}
	number, ok := strings.CutPrefix(d.Path, "file ")
	if !ok {
		return d
	}
	return &damage.Error{Path: s.options.FS.PathJoin(s.path, number+".blob"), Offset: d.Offset, Why: d.Why, Err: d.Err}
}

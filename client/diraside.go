package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/table"
)

// asidePartition is what became of a partition whose table was set aside.
type asidePartition struct {
	no   int32
	rows int64 // that were copied
	err  error // why it was set aside
}

// unreadable tells damage of tables from everything else.
func unreadable(err error) bool {
	return errors.Is(err, table.ErrCorrupt) || damagedBeside(err)
}

// damagedBeside tells that nothing can be loaded into a directory, since what lies beside it cannot be read.
func damagedBeside(err error) bool {
	var damaged *damage.Error
	return errors.As(damage.Of(err), &damaged)
}

// mayReplace tells whether the policy is to put right what is stored.
func (s *dirStores) mayReplace() bool { return s.cfg.OnDrift == Repair || s.cfg.OnDrift == Rebootstrap }

// damaged is why the tables are to be set aside although they can be opened; nil: they are not.
func (s dirState) damaged() error {
	if s.Damaged == "" {
		return nil
	}
	return fmt.Errorf("%w: %s", table.ErrCorrupt, s.Damaged)
}

func (s *dirStores) keepDamaged(why error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := s.state
	state.Damaged = why.Error()
	return s.replaceLocked(state)
}

// setAside puts a new database in the place of one that is damaged beyond what a repair of rows could mend, unless the policy is to leave things as they
// are. Whose state was in it stays known. The rows that can all be read of a partition are copied.
func (s *dirStores) setAside(why error) error {
	if !s.mayReplace() {
		return fmt.Errorf("%w: %w: with the policy Repair or Rebootstrap the tables are set aside, and a key frame is loaded", ErrCorrupt, why)
	}
	was := s.state
	lost := was
	lost.Damaged = ""
	lost.Partitions = slices.Clone(was.Partitions)
	for i := range lost.Partitions {
		lost.Partitions[i].Lost = true
	}
	err := errors.Join(s.replaceLocked(lost), s.closeTables())
	s.db = nil
	if err != nil {
		return err
	}
	path, err := s.dir.SetTableAside()
	if err != nil {
		return err
	}
	s.cfg.Logger.Error("the tables of a replica are damaged: they were set aside, and the state is had anew", "topic", s.cfg.Topic,
		"path", cmp.Or(path, "nowhere: there are no files"), "err", why)
	if err := s.openTables(); err != nil {
		return err
	}
	return s.copyReadable(was, path, why)
}

// tellLost is for a process that ended while it set tables aside.
func (s *dirStores) tellLost() {
	for _, p := range s.state.Partitions {
		if p.Lost && !slices.ContainsFunc(s.aside, func(a asidePartition) bool { return a.no == p.Partition }) {
			s.aside = append(s.aside, asidePartition{no: p.Partition, err: fmt.Errorf("%w: its table was set aside", ErrCorrupt)})
		}
	}
}

// copyReadable copies the tables of which all rows can be read from the database that was set aside; path "": there is none.
func (s *dirStores) copyReadable(was dirState, path string, why error) (err error) {
	why = fmt.Errorf("%w: %w: set aside as %s", ErrCorrupt, why, cmp.Or(path, "nothing: there are no files"))
	for _, p := range was.Partitions {
		if !p.Lost {
			s.next = max(s.next, p.Ordinal+1)
			s.aside = append(s.aside, asidePartition{no: p.Partition, err: why})
		}
	}
	if path == "" {
		return nil
	}
	db, opts, err := s.dir.OpenAside()
	if err != nil {
		s.cfg.Logger.Warn("nothing can be copied of what was set aside", "topic", s.cfg.Topic, "err", err)
		return nil
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	old, err := table.Open(table.Config{DB: db, Options: opts, FS: s.fs, Dir: s.fs.PathJoin(s.cfg.Store.dir, "loading"), Now: s.cfg.Now, Logger: s.cfg.Logger})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	for i := range s.aside {
		p := was.Partitions[was.find(s.aside[i].no)]
		t, err := s.copyTable(old, p)
		if err != nil {
			s.cfg.Logger.Warn("the rows of a partition cannot be copied", "topic", s.cfg.Topic, "partition", p.Partition, "err", err)
			continue
		}
		p.Ordinal = t.Ordinal()
		if err := s.replaceLocked(s.state.with(p)); err != nil {
			return err
		}
		s.aside[i].rows = t.Digest().Count
		s.aside[i].err = fmt.Errorf("%w; all %d rows could be read, and were copied", why, t.Digest().Count)
	}
	return nil
}

// copyTable loads the rows of a table of another database as those of a key frame.
func (s *dirStores) copyTable(old *table.DB, p dirPartition) (*table.Table, error) {
	from, err := p.table(old)
	if err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := writeFrame(w, from)
		done <- err
		_ = w.CloseWithError(err) // never fails
	}()
	var to rows
	fr, err := frame.NewReader(r, 0)
	if err == nil {
		to, err = s.load(p.Partition, fr)
	}
	_ = r.CloseWithError(err) // never fails
	if werr := <-done; werr != nil {
		err = werr // the cause
	}
	if err != nil {
		return nil, err
	}
	return to.(*dirRows).t, nil
}

// writeFrame writes the rows of a table as a key frame at its position.
func writeFrame(to io.Writer, t *table.Table) (err error) {
	v, err := t.View(table.Current)
	if err != nil {
		return err
	}
	defer func() { err = damage.Join(err, v.Close()) }()
	f, id := v.Frame(), t.Identity()
	w := frame.NewWriter(to, frame.Header{
		TopicID: id.TopicID, Partition: id.Partition, Incarnation: id.Incarnation, Fold: id.Fold, Cut: f.Cut, Start: f.Start, Since: -1,
	})
	for row, err := range v.Offsets(0, false) {
		if err != nil {
			return err
		}
		if err := w.Append(&row); err != nil {
			return err
		}
	}
	return w.Close(frame.Footer{Digest: f.Digest, Pub: t.Pub(f), Rows: uint64(f.Rows()), Rejected: f.Rejected})
}

// copyable tells whether setAside would copy a partition.
func (s *dirStores) copyable(ctx context.Context, p dirPartition) bool {
	if p.Lost || s.db == nil {
		return false
	}
	t, err := p.table(s.db)
	if err != nil {
		return false
	}
	_, err = t.Verify(ctx, table.Current)
	return err == nil
}

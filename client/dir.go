package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/engine"
	"github.com/keyframelog/keyframe/storage/live"
	"github.com/keyframelog/keyframe/storage/memory"
	"github.com/keyframelog/keyframe/storage/table"
)

// dirStores keeps rows on Pebble: the broker's own table, one ordinal for each state of a partition. Which ordinal is a
// partition's state stands in a file beside it (dirState), which is replaced after a new state is durable and before the
// former one is dropped.
type dirStores struct {
	cfg  Config
	fs   vfs.FS
	dir  *engine.Dir
	db   *table.DB
	gate gate // readers and commits

	mu sync.Mutex
	// Guarded by mu.
	state dirState
	next  uint32 // ordinal

	aside []asidePartition // what became of the partitions whose tables were set aside on opening
}

func openStores(cfg Config, topic topicInfo) (stores, error) {
	if cfg.Store.dir == "" {
		return newMemoryStores(cfg.Fold), nil
	}
	s, err := openDirStores(cfg)
	if err != nil {
		return nil, inDir(cfg, err)
	}
	return s, nil
}

// inDir names the directory, unless the error does.
func inDir(cfg Config, err error) error {
	var none notOursError
	if errors.As(err, &none) || errors.Is(err, engine.ErrLocked) {
		return err
	}
	return fmt.Errorf("replica directory %s: %w", cfg.Store.dir, err)
}

func openDirStores(cfg Config) (_ *dirStores, err error) {
	s := &dirStores{cfg: cfg, fs: cfg.Store.fileSystem()}
	if s.dir, err = engine.OpenDir(s.engineConfig()); err != nil {
		return nil, ours(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.closeTables(), s.dir.Close())
		}
	}()
	if s.state, err = readDirState(s.fs, s.cfg.Store.dir, s.cfg.Topic); err != nil {
		return nil, err // whose tables these are comes first
	}
	if err = s.openTables(); err == nil && s.mayReplace() {
		err = s.state.damaged()
	}
	if unreadable(err) {
		err = s.setAside(err)
	}
	if err != nil {
		return nil, err
	}
	s.tellLost()
	if err := s.keepName(cfg.Name); err != nil {
		return nil, err
	}
	return s, s.dropLeftovers()
}

// keepName keeps the name that the replica is given; without one, the one that it has. Who opens the directory later is the same replica: under two names
// one wrong copy would count as two that agree with one another against the broker.
func (s *dirStores) keepName(given string) error {
	state := s.state
	if state.Name = cmp.Or(given, state.Name); state.Name == "" {
		state.Name = newName()
	}
	if state.Name == s.state.Name {
		return nil
	}
	return s.replaceLocked(state)
}

// openDirReadOnly opens a directory that is there, and changes nothing in it: nothing may be written to what comes back. sick is why its tables would be
// set aside if it were opened to follow the log; nil: they would not.
func openDirReadOnly(cfg Config) (_ *dirStores, sick, err error) {
	s := &dirStores{cfg: cfg, fs: cfg.Store.fileSystem()}
	if s.dir, err = engine.OpenReadOnly(s.engineConfig()); err != nil {
		return nil, nil, ours(err)
	}
	if s.state, err = readDirState(s.fs, s.cfg.Store.dir, s.cfg.Topic); err == nil {
		if err = cmp.Or(s.openTables(), s.state.damaged()); unreadable(err) {
			return s, err, nil
		}
	}
	if err != nil {
		return nil, nil, errors.Join(err, s.closeTables(), s.dir.Close())
	}
	return s, nil, nil
}

func (s *dirStores) engineConfig() engine.Config {
	return engine.Config{Dir: s.cfg.Store.dir, Kind: engine.Replica, FS: s.fs, Logger: s.cfg.Logger, Now: s.cfg.Now}
}

// openTables opens the database, and finds out whether all tables can be had, and others in their place if those may be put right. Else what cannot be read
// in blocks of rows or of an index is none of its business.
func (s *dirStores) openTables() error {
	db, opts, err := s.dir.OpenTableDB()
	if err != nil {
		return err
	}
	if err = s.dir.CheckTableFiles(context.Background()); err != nil && !opts.ReadOnly {
		return err
	}
	var terr error
	if s.db, terr = table.Open(table.Config{
		DB: db, Options: opts, FS: s.fs, Dir: s.fs.PathJoin(s.cfg.Store.dir, "loading"), Now: s.cfg.Now, Logger: s.cfg.Logger,
	}); terr != nil || err != nil {
		return cmp.Or(err, terr)
	}
	if opts.ReadOnly || s.mayReplace() {
		// Open tells nothing of it: where no key frame could be loaded, the tables are set aside before one has to be.
		if err := s.db.Examine(); err != nil {
			return err
		}
	}
	for _, p := range s.state.Partitions {
		if !p.Lost {
			if _, err := p.table(s.db); unreadable(err) {
				return err
			}
		}
	}
	return nil
}

// closeTables closes what openTables has opened, as far as it came.
func (s *dirStores) closeTables() error {
	if s.db == nil {
		return nil
	}
	return s.db.Close()
}

// notOursError says of a directory that it is no replica's.
type notOursError struct{ error }

func (e notOursError) Unwrap() error { return e.error }

// Is makes errors.Is(err, ErrDir) true.
func (e notOursError) Is(target error) bool { return target == ErrDir }

// ours tells a directory that is no replica's from one that cannot be opened.
func ours(err error) error {
	if errors.Is(err, engine.ErrKind) || errors.Is(err, engine.ErrNotADataDir) || errors.Is(err, engine.ErrVersion) {
		return notOursError{err}
	}
	return err
}

// dropLeftovers removes the ordinals that are no partition's state: what a crash between two states leaves.
func (s *dirStores) dropLeftovers() error {
	ordinals, err := s.db.Ordinals()
	if err != nil {
		return err
	}
	for _, p := range s.state.Partitions {
		s.next = max(s.next, p.Ordinal+1)
	}
	for _, o := range ordinals {
		s.next = max(s.next, o+1)
		if !slices.ContainsFunc(s.state.Partitions, func(p dirPartition) bool { return p.Ordinal == o && !p.Lost }) {
			err := s.db.Drop(context.Background(), o)
			if unreadable(err) {
				s.cfg.Logger.Warn("what is left of a former state cannot be removed", "topic", s.cfg.Topic, "err", err)
			} else if err != nil {
				return err
			}
		}
	}
	return nil
}

// close waits for reads under way: loops over rows end with ErrClosed at their next row.
func (s *dirStores) close() error {
	s.gate.close()
	return errors.Join(s.closeTables(), s.dir.Close())
}

func (s *dirStores) open(partition int32) (rows, bool, error) {
	s.mu.Lock()
	i := s.state.find(partition)
	if i < 0 {
		s.mu.Unlock()
		return nil, false, nil
	}
	entry := s.state.Partitions[i]
	s.mu.Unlock()
	if entry.Lost {
		return nil, false, nil
	}
	t, err := entry.table(s.db)
	if err != nil {
		return nil, false, err
	}
	return s.rowsOf(t), true, nil
}

func (s *dirStores) rowsOf(t *table.Table) *dirRows {
	return &dirRows{
		s: s, t: t, committed: s.cfg.Now(),
		p: live.New(t, live.Config{MaxIntervalBytes: s.cfg.CommitBytes, Now: s.cfg.Now, Logger: s.cfg.Logger}),
	}
}

func (s *dirStores) newOrdinal() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	return s.next - 1
}

func (s *dirStores) load(partition int32, fr *frame.Reader) (rows, error) {
	h := fr.Header()
	if h.Partition != partition || s.cfg.Fold != 0 && s.cfg.Fold != h.Fold {
		return nil, fmt.Errorf("%w: partition %d, fold %v", memory.ErrFrame, h.Partition, h.Fold)
	}
	id := table.Identity{TopicID: h.TopicID, Partition: partition, Incarnation: h.Incarnation, Fold: h.Fold}
	t, err := s.db.Load(context.Background(), s.newOrdinal(), id, fr)
	if err != nil {
		return nil, err
	}
	return s.rowsOf(t), nil
}

func (s *dirStores) empty(id identity, position int64, kind fold.Kind) (rows, error) {
	t, err := s.db.Table(s.newOrdinal(), table.Identity{TopicID: id.TopicID, Partition: id.Partition, Incarnation: id.Incarnation, Fold: kind})
	if err != nil {
		return nil, err
	}
	d := s.rowsOf(t)
	return d, d.p.ApplyRecords(nil, position, -1)
}

func (s *dirStores) remember(t *table.Table, distrusted int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := newDirPartition(t.Ordinal(), t.Identity())
	if i := s.state.find(p.Partition); i >= 0 {
		was := s.state.Partitions[i]
		if was.Ordinal == p.Ordinal && !was.Lost {
			if distrusted <= was.Distrusted {
				return nil
			}
			p = was
		}
		if was.Incarnation == p.Incarnation {
			distrusted = max(distrusted, was.Distrusted)
		}
	}
	p.Distrusted = distrusted
	return s.replaceLocked(s.state.with(p))
}

func (s *dirStores) replaceLocked(state dirState) error {
	if err := writeDirState(s.fs, s.cfg.Store.dir, state); err != nil {
		return err
	}
	s.state = state
	return nil
}

func (s *dirStores) name() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state.Name
}

func (s *dirStores) distrusted(partition int32) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.state.find(partition); i >= 0 {
		return s.state.Partitions[i].Distrusted
	}
	return 0
}

func (s *dirStores) verified(partition int32) ([]verifiedCut, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.state.find(partition); i >= 0 && !s.state.Partitions[i].Lost {
		return s.state.Partitions[i].cuts()
	}
	return nil, nil
}

func (s *dirStores) keepVerified(partition int32, cuts []verifiedCut) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.state.find(partition)
	if i < 0 {
		return nil
	}
	p := s.state.Partitions[i]
	p.Verified = nil
	for _, x := range cuts {
		p.Verified = append(p.Verified, newDirPoint(x))
	}
	if slices.Equal(p.Verified, s.state.Partitions[i].Verified) {
		return nil
	}
	return s.replaceLocked(s.state.with(p))
}

func (s *dirStores) haltedAt(partition int32) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := s.state.find(partition); i >= 0 {
		return s.state.Partitions[i].Halted
	}
	return 0
}

func (s *dirStores) keepHalted(partition int32, at int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.state.find(partition)
	if i < 0 || s.state.Partitions[i].Halted == at {
		return nil
	}
	p := s.state.Partitions[i]
	p.Halted = at
	return s.replaceLocked(s.state.with(p))
}

package table

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

// Commit folds changes into many tables with one Ingest: rows, index, undo entries, deletion vectors, positions, digests and cuts of
// all of them become visible and durable together, or nothing does. Memory: about 100 bytes a change, and the folded values of one
// window where values are not those of the deltas.
func (db *DB) Commit(ctx context.Context, folds []Fold) error {
	end, err := db.begin()
	if err != nil {
		return err
	}
	defer end()
	jobs, err := newJobs(db, folds)
	if err != nil {
		return err
	}
	for i, j := range jobs { // in ordinal order, so that two commits cannot wait for each other
		if err := j.t.lock(ctx); err != nil {
			unlockJobs(jobs[:i])
			return fmt.Errorf("table: fold of ordinal %d: %w", j.t.ordinal, err)
		}
	}
	defer unlockJobs(jobs)
	if slices.ContainsFunc(jobs, func(j *job) bool { return j.makes() }) {
		db.making.RLock()
		defer db.making.RUnlock()
	}
	err = db.try(ctx, jobs)
	if errors.Is(err, errMoved) {
		// A rejected delta left its row at an offset that was written past already. Where the rows go is known now.
		err = db.try(ctx, jobs)
	}
	if err != nil {
		return err
	}
	for _, j := range jobs {
		j.t.state.Store(j.next)
	}
	return nil
}

func newJobs(db *DB, folds []Fold) ([]*job, error) {
	jobs := make([]*job, 0, len(folds))
	for i := range folds {
		f := &folds[i]
		if f.Table == nil || f.Table.db != db {
			return nil, fmt.Errorf("%w: no table of this database", ErrFold)
		}
		jobs = append(jobs, &job{t: f.Table, f: f})
	}
	slices.SortFunc(jobs, func(a, b *job) int { return cmp.Compare(a.t.ordinal, b.t.ordinal) })
	for i := 1; i < len(jobs); i++ {
		if jobs[i-1].t == jobs[i].t {
			return nil, fmt.Errorf("%w: ordinal %d twice", ErrFold, jobs[i].t.ordinal)
		}
	}
	return jobs, nil
}

// makes tells whether nothing is stored of the table but the meta entry, if that.
func (j *job) makes() bool {
	m := j.t.state.Load()
	return m.position == 0 && len(m.frames) == 0
}

func unlockJobs(jobs []*job) {
	for _, j := range jobs {
		j.t.unlock()
	}
}

func (db *DB) try(ctx context.Context, jobs []*job) error {
	s := db.sink()
	defer s.discard()
	moved := false
	for _, j := range jobs {
		j.s = s
		j.scratch = db.scratch.Get().(*scratch)
		err := j.run(ctx)
		clear(j.results) // it points at the changes
		db.scratch.Put(j.scratch)
		j.scratch = nil
		switch {
		case errors.Is(err, errMoved):
			moved = true
		case err != nil:
			return fmt.Errorf("table: fold of ordinal %d: %w", j.t.ordinal, j.t.damaged(j.f.End, err))
		}
	}
	if moved {
		return errMoved
	}
	tables := make([]*Table, len(jobs))
	for i, j := range jobs {
		tables[i] = j.t
	}
	return s.commit(ctx, nil, tables...)
}

// errMoved asks for another try, see Commit.
var errMoved = errors.New("table: rows moved")

// job is the fold of one table.
type job struct {
	t    *Table
	f    *Fold
	s    *sink
	old  *meta
	next *meta
	*scratch
	moved  map[int32]int64 // changes whose last delta was rejected, and where their rows go; kept for another try
	expiry expiry
}

// scratch says where each change stands between the passes. It is large, and the next fold uses it again.
type scratch struct {
	prior   []indexed // by change: what the index held
	rows    []indexed // by change: what it shall hold; not found where nothing changes
	dead    []int64   // offsets of replaced rows
	order   []at
	results []result
	places  []at
}

type indexed struct {
	entry
	found   bool
	expired bool // of what the index shall hold: the key's new row lies below the log start, and leaves at once
}

func (j *job) run(ctx context.Context) error {
	j.old = j.t.state.Load()
	j.next = j.old.clone()
	j.next.position, j.next.epoch = j.f.End, j.f.LeaderEpoch
	j.next.rejects.Add(&j.f.Skipped)
	j.dead = j.dead[:0]
	if err := j.check(); err != nil {
		return err
	}
	if j.makes() {
		if err := j.t.db.makeRoom(ctx, j.t.ordinal); err != nil {
			return err
		}
	}
	if err := j.lookUp(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return j.withExpiry(ctx, j.write)
}

func (j *job) write() error {
	w := rowWriter{job: j}
	if err := w.run(); err != nil {
		return err
	}
	if err := j.writeIndex(); err != nil {
		return err
	}
	if err := j.writeVector(); err != nil {
		return err
	}
	return j.writeMeta()
}

// before returns the newest cut below the fold's end: what the fold touches first, the frame there still sees. ok is false where there is
// none. A frame at the end itself is the one that the fold makes anew.
func (j *job) before() (cut int64, ok bool) {
	frames := j.old.frames
	if n := len(frames); n > 0 && frames[n-1].Cut >= j.f.End {
		frames = frames[:n-1]
	}
	if len(frames) == 0 {
		return 0, false
	}
	return frames[len(frames)-1].Cut, true
}

func (j *job) check() error {
	f, position := j.f, j.old.position
	if f.Start > f.End {
		return fmt.Errorf("%w: log start %d above the end %d", ErrFold, f.Start, f.End)
	}
	if f.End < position {
		return fmt.Errorf("%w: ends at %d, before the position %d", ErrFold, f.End, position)
	}
	for i := range f.Changes {
		c := &f.Changes[i]
		if i > 0 && bytes.Compare(f.Changes[i-1].Key, c.Key) >= 0 {
			return fmt.Errorf("%w: keys out of order", ErrFold)
		}
		if len(c.Deltas) == 0 || c.Folded && len(c.Deltas) != 1 {
			return fmt.Errorf("%w: a change of %d deltas", ErrFold, len(c.Deltas))
		}
		last := position - 1
		for k := range c.Deltas {
			if o := c.Deltas[k].Offset; o <= last || o >= f.End {
				return fmt.Errorf("%w: offset %d, want above %d and below %d", ErrFold, o, last, f.End)
			}
			last = c.Deltas[k].Offset
		}
	}
	return nil
}

// lookUp is the first pass: one walk over the index finds what every change replaces.
func (j *job) lookUp() error {
	n := len(j.f.Changes)
	j.prior = resize(j.prior, n)
	j.rows = resize(j.rows, n)
	if n == 0 || j.old.position == 0 && j.old.digest.Count == 0 {
		return nil // an empty table
	}
	it, err := j.t.db.iterate(keys.TableIndex, j.t.ordinal)
	if err != nil {
		return err
	}
	w := newWalker(it, int64(n), j.old.digest.Count)
	k := keys.AppendTablePrefix(nil, keys.TableIndex, j.t.ordinal)
	for i := range j.f.Changes {
		k = append(k[:keys.TablePrefixLen], j.f.Changes[i].Key...)
		found, err := w.find(k)
		if err == nil && found {
			j.prior[i].found = true
			j.prior[i].entry, err = currentEntry(it, j.t.ordinal)
		}
		if err != nil {
			return damage.Join(err, it.Close())
		}
	}
	return damage.Of(it.Close())
}

// writeIndex is the third pass, in key order: index entries, undo entries, and the digest.
func (j *job) writeIndex() error {
	lastCut, cuts := j.before()
	k := keys.AppendTablePrefix(nil, keys.TableIndex, j.t.ordinal)
	u := keys.AppendTableUndo(nil, j.t.ordinal, lastCut, nil)
	prefix := len(u)
	var v []byte
	for i := range j.f.Changes {
		row, prior := &j.rows[i], &j.prior[i]
		key := j.f.Changes[i].Key
		leaves, err := j.leaveBelow(key)
		if err != nil {
			return err
		}
		if row.found && row.expired || !row.found && leaves {
			if prior.found {
				j.takeOut(key, prior)
			}
			continue
		}
		if !row.found {
			continue
		}
		v = appendEntry(v[:0], &row.entry)
		k = append(k[:keys.TablePrefixLen], key...)
		j.s.set(keys.TableIndex, k, v)
		switch {
		case prior.found && cuts && prior.offset < lastCut:
			v = appendEntry(v[:0], &prior.entry)
			u = append(u[:prefix], key...)
			j.s.set(keys.TableUndo, u, v)
		case !prior.found && cuts:
			u = append(u[:prefix], key...)
			left, err := j.expiry.leftSince(u)
			if err != nil {
				return err
			}
			if !left {
				j.s.set(keys.TableUndo, u, nil)
			}
		}
		if prior.found {
			j.dead = append(j.dead, prior.offset)
		}
		j.next.replace(len(key), prior, row)
	}
	_, err := j.leaveBelow(nil)
	return err
}

// replace takes one row out of the digest and puts another in.
func (m *meta) replace(keyLen int, old, row *indexed) {
	if old.found && !old.tombstone {
		m.digest.Sub(old.hash)
		m.bytes -= int64(keyLen) + int64(old.valueLen)
	}
	if row.found && !row.tombstone {
		m.digest.Add(row.hash)
		m.bytes += int64(keyLen) + int64(row.valueLen)
	}
}

func (j *job) writeVector() error {
	newest, ok := j.old.lastCut()
	passed := 0 // nobody needs these
	for _, o := range j.dead {
		if o >= max(newest, j.next.start) {
			passed++
		}
	}
	j.next.past.supersede(len(j.dead), passed, j.f.Cut || ok && newest == j.f.End)
	if len(j.dead) > 0 && j.f.End == j.old.position {
		if err := j.joinVector(); err != nil {
			return err
		}
	}
	slices.Sort(j.dead)
	writeVector(j.s, j.t.ordinal, j.f.End, j.dead)
	return nil
}

func (j *job) writeMeta() error {
	m := j.next
	if j.f.Expect != nil && m.digest != *j.f.Expect {
		return fmt.Errorf("%w: %d rows at %d, want %d", ErrDigest, m.digest.Count, m.position, j.f.Expect.Count)
	}
	last, ok := m.lastCut()
	again := m.passDue()
	switch {
	case !j.f.Cut:
	case !ok || last < m.position:
		f := m.now(j.f.CutTimeMs)
		f.Kept = again.Kept
		m.frames = append(m.frames, f)
	case m.start > j.old.start:
		f := &m.frames[len(m.frames)-1]
		kept := f.Kept
		*f = m.now(f.CutTimeMs) // cuts are named by the time
		f.Kept = kept
	}
	j.t.putMeta(j.s, m)
	return nil
}

func (t *Table) putMeta(s *sink, m *meta) {
	s.set(keys.TableMeta, keys.AppendTablePrefix(nil, keys.TableMeta, t.ordinal), appendMeta(nil, m))
}

// resize returns n zero elements, in s where they fit.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	s = s[:n]
	clear(s)
	return s
}

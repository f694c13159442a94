package table

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/storage/damage"
	"github.com/keyframelog/keyframe/storage/keys"
)

// Config says where the tables are. DB, Options, FS and Dir are required.
type Config struct {
	DB      *pebble.DB      // written by Ingest alone: nobody else may write to it
	Options *pebble.Options // the options that DB was opened with
	FS      vfs.FS
	Dir     string           // for sstables that are being written: on DB's file system, emptied by Open
	Now     func() time.Time // nil = time.Now
	Logger  *slog.Logger     // nil = slog.Default()
	Limits  Limits
}

// DB holds the tables of many partitions in one Pebble database. The database belongs to the caller, who closes it after DB.
type DB struct {
	cfg      Config
	sizes    sizes
	scratch  sync.Pool    // *scratch
	sequence atomic.Int64 // names sstables in the making
	writers  sync.WaitGroup
	mu       sync.Mutex
	// guarded by mu
	closed bool
	tables map[uint32]*Table
	halves map[uint32]error // ordinals that were dropped in part, and why
}

// sizes bound what is held in memory or written at a time. They are variables so that tests reach every branch with little data.
type sizes struct {
	windowBytes int64 // folded values held by one fold
	segmentRows int64 // of a new segment: what is rewritten to get rid of its dead rows
	pieceLen    int   // offsets in one stored piece of a deletion vector
	cleanRows   int64 // of one rewrite
	smallRows   int64 // segments below are joined, once smallRun of them are neighbours
	settleRows  int64 // superseded before Settle is due
	expireRows  int   // tombstones removed by one commit
	expiryBytes int   // keys that leave at one cut, in memory
	loadBytes   int   // index entries sorted at a time by Load
	streamBytes int   // a stream of a commit that grows beyond gets an sstable of its own
	apartBytes  int   // rows of one table that get an sstable of their own, beside those of another
	tableBytes  int   // of one sstable
}

// smallRun is how many small segments in a row are joined.
const smallRun = 16

func defaultSizes() sizes {
	return sizes{windowBytes: 64 << 20, segmentRows: 1 << 16, pieceLen: 4096, cleanRows: 1 << 18, smallRows: 4096, settleRows: 4096, expireRows: 1 << 16, expiryBytes: 256 << 20,
		loadBytes: 128 << 20, streamBytes: 128 << 10, apartBytes: 1 << 20, tableBytes: 64 << 20}
}

// Open prepares the database: sstables that an interrupted commit left behind are removed, and so are entries of ordinals without
// a meta entry, which are what an interrupted Drop or Load leaves; a database that is open read-only stays as it is. No table is
// read before it is asked for. The error is of damage (package damage) where meta entries cannot be read, or where new tables would be written beside
// what cannot be read: Pebble refuses that.
func Open(cfg Config) (*DB, error) {
	if cfg.DB == nil || cfg.Options == nil || cfg.FS == nil || cfg.Dir == "" {
		return nil, errors.New("table: DB, Options, FS and Dir are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Limits.RowBytesMax == 0 {
		cfg.Limits.RowBytesMax = fold.RowBytesMax
	}
	db := &DB{cfg: cfg, sizes: defaultSizes(), tables: map[uint32]*Table{}, halves: map[uint32]error{}}
	db.scratch.New = func() any { return new(scratch) }
	if cfg.Options.ReadOnly {
		return db, nil
	}
	if err := removeLeftovers(cfg.FS, cfg.Dir); err != nil {
		return nil, err
	}
	if err := db.removeOrphans(); err != nil {
		return nil, err
	}
	return db, nil
}

// Close refuses new writes and waits for those under way. Views must be closed before the Pebble database is.
func (db *DB) Close() error {
	db.mu.Lock()
	db.closed = true
	db.mu.Unlock()
	db.writers.Wait()
	return nil
}

// begin registers a writer; the returned function ends it.
func (db *DB) begin() (end func(), err error) {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return nil, ErrClosed
	}
	db.writers.Add(1)
	return db.writers.Done, nil
}

// Table opens the table of an ordinal, or an empty one where nothing is stored; it is stored by its first commit. The error is
// ErrIdentity where the ordinal holds the table of another topic, partition, incarnation or fold.
func (db *DB) Table(ordinal uint32, id Identity) (*Table, error) {
	end, err := db.begin()
	if err != nil {
		return nil, err
	}
	defer end()
	if t := db.opened(ordinal); t != nil {
		return t, t.check(id)
	}
	if err := db.halfDropped(ordinal); err != nil {
		return nil, err
	}
	m, err := readMeta(db.cfg.DB, ordinal)
	if err != nil {
		return nil, err
	}
	if m == nil {
		m = newMeta(id)
	}
	t := newTable(db, ordinal, m)
	if err := t.check(id); err != nil {
		return nil, err
	}
	return db.register(t), nil
}

// halfDropped is why something is left of an ordinal that was dropped, in which no table is to be made.
func (db *DB) halfDropped(ordinal uint32) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.halves[ordinal]
}

func (db *DB) opened(ordinal uint32) *Table {
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.tables[ordinal]
}

// register returns the one Table of an ordinal, of those opened at the same time the first.
func (db *DB) register(t *Table) *Table {
	db.mu.Lock()
	defer db.mu.Unlock()
	if first := db.tables[t.ordinal]; first != nil {
		return first
	}
	db.tables[t.ordinal] = t
	return t
}

func newTable(db *DB, ordinal uint32, m *meta) *Table {
	t := &Table{db: db, ordinal: ordinal, id: m.id, limits: db.cfg.Limits, writer: make(chan struct{}, 1), counter: make(chan struct{}, 1)}
	t.writer <- struct{}{}
	t.counter <- struct{}{}
	t.state.Store(m)
	return t
}

func (t *Table) check(id Identity) error {
	if t.id != id {
		return fmt.Errorf("%w: ordinal %d holds partition %d of topic %x, incarnation %x, fold %s", ErrIdentity, t.ordinal,
			t.id.Partition, t.id.TopicID, t.id.Incarnation, t.id.Fold)
	}
	return nil
}

// readMeta returns an ordinal's stored meta, nil if there is none.
func readMeta(r pebble.Reader, ordinal uint32) (*meta, error) {
	v, c, err := r.Get(keys.AppendTablePrefix(nil, keys.TableMeta, ordinal))
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("table: read meta of ordinal %d: %w", ordinal, damage.Of(err))
	}
	defer c.Close()
	return decodeMeta(ordinal, v)
}

// Ordinals lists the ordinals that have a stored table, ascending. Of tables that are being written, one may be missing (see hold).
func (db *DB) Ordinals() (list []uint32, err error) {
	it, err := db.cfg.DB.NewIter(&pebble.IterOptions{LowerBound: []byte{byte(keys.TableMeta)}, UpperBound: []byte{byte(keys.TableMeta) + 1}})
	if err != nil {
		return nil, fmt.Errorf("table: %w", err)
	}
	for ok := it.First(); ok; {
		_, ordinal, _, valid := keys.ParseTableKey(it.Key())
		if !valid {
			return nil, errors.Join(&CorruptError{What: "key", Offset: -1, Why: "too short"}, it.Close())
		}
		list = append(list, ordinal)
		_, after := keys.TableSpan(keys.TableMeta, ordinal)
		ok = it.SeekGE(after)
	}
	return list, damage.Join(it.Error(), it.Close())
}

// Drop deletes all that an ordinal has, whether its table is open or not. The meta entry goes first: from then on there is no such
// table, and what a crash leaves of the rest is removed by Open. Views keep what they see. What is damaged goes as well, unless it
// cannot be told from what lies beside it, of other ordinals too: then the error is of damage, and nothing has happened.
func (db *DB) Drop(ctx context.Context, ordinal uint32) error {
	end, err := db.begin()
	if err != nil {
		return err
	}
	defer end()
	t := db.opened(ordinal)
	if t != nil {
		if err := t.lock(ctx); err != nil {
			return err
		}
		defer t.unlock()
	}
	spaces, err := db.exciseOrder(ordinal)
	if err != nil {
		return fmt.Errorf("table: drop ordinal %d: %w", ordinal, err)
	}
	if err := db.dropMeta(ctx, ordinal, t); err != nil {
		return err
	}
	if t != nil {
		db.mu.Lock()
		delete(db.tables, ordinal)
		db.mu.Unlock()
	}
	err = db.exciseAll(ctx, ordinal, spaces)
	db.mu.Lock()
	defer db.mu.Unlock()
	if delete(db.halves, ordinal); err != nil {
		db.halves[ordinal] = err
	}
	return err
}

// Separable returns an error of damage where Drop may come no further than the meta entry: a block that cannot be read, beside what the ordinal has, may hold
// what another ordinal has as well.
func (db *DB) Separable(ordinal uint32) error {
	known, err := db.Ordinals()
	if err != nil || !slices.ContainsFunc(known, func(o uint32) bool { return o != ordinal }) {
		return err
	}
	for _, space := range keys.TableSpaces() {
		start, end := keys.TableSpan(space, ordinal)
		if err := db.readableBeside(pebble.KeyRange{Start: start, End: end}); err != nil {
			return fmt.Errorf("table: ordinal %d: %w", ordinal, err)
		}
	}
	return nil
}

// exciseOrder is in which order the spaces of an ordinal can be excised that may have something. A damaged block beside one of them may be the first or the
// last of the next, which is excised before then.
func (db *DB) exciseOrder(ordinal uint32) (order []keys.TableSpace, err error) {
	type space struct {
		is     keys.TableSpace
		beside error
	}
	var list []space
	for _, s := range keys.TableSpaces() {
		if empty, err := db.emptySpace(s, ordinal); err == nil && empty {
			continue
		}
		start, end := keys.TableSpan(s, ordinal)
		list = append(list, space{s, db.readableBeside(pebble.KeyRange{Start: start, End: end})})
	}
	var last []keys.TableSpace
	for i, s := range list {
		switch {
		case s.beside == nil:
			order = append(order, s.is)
		case (i == 0 || list[i-1].beside != nil) && (i == len(list)-1 || list[i+1].beside != nil):
			return nil, s.beside
		default:
			last = append(last, s.is)
		}
	}
	return append(order, last...), nil
}

func (db *DB) emptySpace(space keys.TableSpace, ordinal uint32) (bool, error) {
	it, err := db.iterate(space, ordinal)
	if err != nil {
		return false, err
	}
	there := it.First()
	return !there, damage.Join(it.Error(), it.Close())
}

// dropMeta makes the table dropped: who begins to read t, unless it is nil, sees what was before, or that it is gone.
func (db *DB) dropMeta(ctx context.Context, ordinal uint32, t *Table) error {
	s := db.sink()
	s.delete(keys.TableMeta, keys.AppendTablePrefix(nil, keys.TableMeta, ordinal))
	if t == nil {
		return s.commit(ctx, nil)
	}
	release, err := db.hold(t)
	if err != nil {
		return err
	}
	if err = s.commit(ctx, nil); err == nil {
		t.dropped.Store(true)
	}
	release()
	return err
}

// exciseAll removes the spaces in this order; one beside which a block is damaged comes again behind the others, one of which may have had that.
func (db *DB) exciseAll(ctx context.Context, ordinal uint32, spaces []keys.TableSpace) error {
	for len(spaces) > 0 {
		var again []keys.TableSpace
		var failed error
		for _, space := range spaces {
			start, end := keys.TableSpan(space, ordinal)
			err := db.excise(ctx, pebble.KeyRange{Start: start, End: end})
			if err != nil {
				failed = fmt.Errorf("table: drop ordinal %d: %w", ordinal, err)
				if again = append(again, space); !pebble.IsCorruptionError(err) {
					return failed
				}
			}
		}
		if len(again) == len(spaces) {
			return failed
		}
		spaces = again
	}
	return nil
}

// excise removes what is in a range, and nothing beside it.
func (db *DB) excise(ctx context.Context, span pebble.KeyRange) error {
	if err := db.readableBeside(span); err != nil {
		return err
	}
	return db.cfg.DB.Excise(context.WithoutCancel(ctx), span)
}

// begin registers a writer of this table alone, and waits for the others; the returned function ends it.
func (t *Table) begin(ctx context.Context) (end func(), err error) {
	done, err := t.db.begin()
	if err != nil {
		return nil, err
	}
	if err := t.lock(ctx); err != nil {
		done()
		return nil, err
	}
	return func() { t.unlock(); done() }, nil
}

// lock waits for the table's writers; it fails once the table is dropped or the context done.
func (t *Table) lock(ctx context.Context) error {
	select {
	case <-t.writer:
	case <-ctx.Done():
		return ctx.Err()
	}
	if t.dropped.Load() {
		t.unlock()
		return ErrClosed
	}
	return nil
}

func (t *Table) unlock() { t.writer <- struct{}{} }

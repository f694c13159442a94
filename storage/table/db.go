package table

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	making   sync.RWMutex // read-locked while a table is made of an ordinal that has none; taken behind the tables' own
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
// read before it is asked for. The error is of damage (package damage) where meta entries cannot be read. Whether new tables can be made is told by
// Examine, or when one is.
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
		if n := len(list); n > 0 && ordinal <= list[n-1] {
			return nil, errors.Join(outOfOrder(it.Key()), it.Close())
		}
		list = append(list, ordinal)
		_, after := keys.TableSpan(keys.TableMeta, ordinal)
		ok = it.SeekGE(after)
	}
	return list, damage.Join(it.Error(), it.Close())
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

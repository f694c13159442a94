package memory

import (
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/fold"
	"github.com/keyframelog/keyframe/proto/frame"
)

var (
	// ErrFull is returned when a partition would pass 3 * 2^30 rows.
	ErrFull = errors.New("too many rows for a table in memory")
	// ErrPosition is wrapped when records do not follow on the table's position.
	ErrPosition = errors.New("records out of order")
)

// Identity names the partition whose table this is, and which life of its log.
type Identity struct {
	TopicID     [16]byte
	Partition   int32
	Incarnation [16]byte
}

// Config of a table.
type Config struct {
	Fold    fold.Kind // required
	Workers int       // goroutines that verify a frame while it is loaded. Default 2
}

func (c Config) withDefaults() Config {
	if c.Workers == 0 {
		c.Workers = 2
	}
	return c
}

// Table is the table of one partition. Reads may run beside each other and beside one writer.
type Table struct {
	cfg  Config
	seed maphash.Seed

	// The writer's own scratch.
	folder *fold.Folder
	hasher digest.Hasher

	order   atomic.Pointer[order] // nil until the first Scan; changed under mu
	orderMu sync.Mutex            // one build at a time

	mu sync.RWMutex
	// Guarded by mu.
	id       Identity
	rows     []ref
	free     []uint32
	idx      index
	chunks   chunks
	digest   digest.Digest
	position int64
	skipped  map[string]uint64
	scrub    *Scrub // under way; nil: none
}

// New returns an empty table at position.
func New(id Identity, position int64, cfg Config) *Table {
	cfg = cfg.withDefaults()
	return &Table{
		cfg: cfg, seed: maphash.MakeSeed(), folder: fold.NewFolder(cfg.Fold, fold.RowBytesMax),
		id: id, idx: newIndex(0), chunks: newChunks(), position: position, skipped: map[string]uint64{},
	}
}

func (t *Table) Identity() Identity {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.id
}

// Fold returns how deltas change the table's rows.
func (t *Table) Fold() fold.Kind { return t.cfg.Fold }

// Digest returns the digest and the position that it belongs to, as one.
func (t *Table) Digest() (digest.Digest, int64) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.digest, t.position
}

// Position is the offset below which everything is applied.
func (t *Table) Position() int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.position
}

// Bytes returns the size of the rows as they are stored, and of the memory that is held for them, index and order aside.
func (t *Table) Bytes() (live, held int64) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.chunks.bytes()
}

// Skipped counts the records that changed nothing, by reason: null keys, refused deltas, and what the fold rejected.
func (t *Table) Skipped() map[string]uint64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return maps.Clone(t.skipped)
}

// Get returns the live row of key. The row aliases the table's memory: read only.
func (t *Table) Get(key []byte) (frame.Row, bool) {
	hash := t.hash(key)
	t.mu.RLock()
	defer t.mu.RUnlock()
	_, row, ok := t.findLocked(hash, key)
	if !ok {
		return frame.Row{}, false
	}
	r, _, ok := t.chunks.get(t.rows[row])
	return r, ok
}

// Applied is called after each record of an Apply, while the table is locked: digest is that of
// everything up to and including the record at offset. row is the new row, a tombstone where the key went away, or nil
// where the record changed no key. Its slices may be kept and must not be written to.
type Applied func(offset int64, d digest.Digest, row *frame.Row)

// Apply folds records in offset order and moves the position to next, which lies behind the
// last record or marker read. Readers see all of it or nothing; on
// ErrFull the position is that of the record that did not fit. Records below the position were applied before and are skipped.
func (t *Table) Apply(records []batch.Record, next int64, applied Applied) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if next < t.position {
		return nil
	}
	if err := t.checkLocked(records, next); err != nil {
		return err
	}
	for i := range records {
		rec := &records[i]
		if rec.Offset < t.position {
			continue
		}
		row, changed, err := t.applyLocked(rec)
		if err != nil {
			t.position = rec.Offset
			return err
		}
		switch {
		case applied == nil:
		case changed:
			applied.tell(rec.Offset, t.digest, row)
		default:
			applied(rec.Offset, t.digest, nil)
		}
	}
	t.position = next
	return nil
}

// tell is a function of its own so that only a row that somebody wants to see goes to the heap.
func (a Applied) tell(offset int64, d digest.Digest, row frame.Row) { a(offset, d, &row) }

func (t *Table) checkLocked(records []batch.Record, next int64) error {
	last := t.position - 1
	for i := range records {
		offset := records[i].Offset
		if offset < t.position {
			continue
		}
		if offset <= last || offset >= next {
			return fmt.Errorf("%w: record at %d after %d, in records up to %d", ErrPosition, offset, last, next)
		}
		last = offset
	}
	return nil
}

func (t *Table) applyLocked(rec *batch.Record) (row frame.Row, changed bool, err error) {
	if rec.Key == nil {
		t.skipped["null_key"]++
		return row, false, nil
	}
	d, err := t.cfg.Fold.Delta(rec.Key, rec.Value, rec.Headers)
	if err != nil {
		t.skipped[fold.Malformed.String()]++
		return row, false, nil
	}
	hash := t.hash(rec.Key)
	slot, id, exists := t.findLocked(hash, rec.Key)
	var prev fold.State
	var prevSize int
	if exists {
		old, size, _ := t.chunks.get(t.rows[id])
		prev, prevSize = fold.State{Exists: true, Value: old.Value}, size
	}
	state, rejected := t.folder.Apply(prev, d)
	if rejected != 0 {
		t.skipped[rejected.String()]++
		return row, false, nil
	}
	if !exists && !state.Exists {
		return row, false, nil
	}
	row = frame.Row{Key: rec.Key, Value: state.Value, Offset: rec.Offset, Timestamp: rec.Timestamp,
		Headers: t.cfg.Fold.RowHeaders(!state.Exists, rec.Headers)}
	if exists {
		t.outLocked(id, t.hasher.Entry(rec.Key, prev.Value))
	}
	if !state.Exists {
		return t.removeLocked(slot, id, prevSize, row), true, nil
	}
	open := t.chunks.open
	if exists {
		old := t.rows[id]
		t.rows[id] = t.chunks.put(&row)
		t.killLocked(old, prevSize)
	} else if id, err = t.addLocked(slot, hash, &row); err != nil {
		return row, false, err
	}
	t.inLocked(id, t.hasher.Entry(rec.Key, state.Value))
	t.tidyLocked(open) // it may have been closed half dead just now
	row, _, _ = t.chunks.get(t.rows[id])
	return row, true, nil
}

// outLocked takes a row out of the digest, and out of what a scrub has summed up.
func (t *Table) outLocked(id uint32, e digest.Entry) {
	t.digest.Sub(e)
	if t.scrub != nil && id < t.scrub.next {
		t.scrub.sum.Sub(e)
	}
}

// inLocked counts a row in.
func (t *Table) inLocked(id uint32, e digest.Entry) {
	t.digest.Add(e)
	if t.scrub != nil && id < t.scrub.next {
		t.scrub.sum.Add(e)
	}
}

func (t *Table) addLocked(slot uint64, hash uint32, row *frame.Row) (uint32, error) {
	id, err := t.newRowLocked()
	if err != nil {
		return 0, err
	}
	t.rows[id] = t.chunks.put(row)
	t.indexLocked(slot, hash, id, row.Key)
	return id, nil
}

// indexLocked makes a new row findable.
func (t *Table) indexLocked(slot uint64, hash, id uint32, key []byte) {
	t.idx.insert(slot, hash, id)
	if o := t.order.Load(); o != nil {
		o.insert(id, key, t.keyLocked)
	}
}

func (t *Table) newRowLocked() (uint32, error) {
	if n := len(t.free); n > 0 {
		id := t.free[n-1]
		t.free = t.free[:n-1]
		return id, nil
	}
	if len(t.rows) >= maxRows {
		return 0, ErrFull
	}
	t.rows = append(t.rows, 0)
	return uint32(len(t.rows) - 1), nil
}

// removeLocked takes the key away and returns its tombstone. The order goes first: it reads the key through the row.
func (t *Table) removeLocked(slot uint64, id uint32, size int, row frame.Row) frame.Row {
	old, _, _ := t.chunks.get(t.rows[id])
	if o := t.order.Load(); o != nil {
		o.remove(old.Key, t.keyLocked)
	}
	t.idx.remove(slot)
	at := t.rows[id]
	t.rows[id] = 0
	t.free = append(t.free, id)
	t.killLocked(at, size)
	row.Key, row.Value, row.Headers, row.Tombstone = old.Key, nil, nil, true
	return row
}

// killLocked counts the bytes of a row as dead.
func (t *Table) killLocked(at ref, size int) {
	ch := &t.chunks.list[at.chunk()]
	ch.live -= size
	ch.rows--
	t.tidyLocked(at.chunk())
}

// tidyLocked rewrites a chunk of which more than half is dead: what lives goes to the arena. The open chunk waits.
func (t *Table) tidyLocked(no uint32) {
	ch := &t.chunks.list[no]
	if !ch.isSet || ch.live*2 >= ch.size || no == t.chunks.open {
		return
	}
	moved, bytes := 0, 0
	t.eachRowLocked(no, func(pos, size int, row *frame.Row) {
		if _, id, ok := t.findLocked(t.hash(row.Key), row.Key); ok && t.rows[id] == makeRef(no, pos) {
			t.rows[id] = t.chunks.put(row)
			moved, bytes = moved+1, bytes+size
		}
	})
	if ch = &t.chunks.list[no]; moved != ch.rows { // a damaged row is left, and maybe others that it hides: it is never tidied again
		ch.live, ch.rows, ch.size = ch.live-bytes, ch.rows-moved, 0
		return
	}
	t.chunks.drop(no)
}

// eachRowLocked walks all rows of a chunk, dead ones too, up to one that is damaged.
func (t *Table) eachRowLocked(no uint32, fn func(pos, size int, row *frame.Row)) {
	ch := t.chunks.list[no]
	for pos := ch.begin(); pos < ch.end(); {
		row, size, ok := t.chunks.get(makeRef(no, pos))
		if !ok {
			return
		}
		fn(pos, size, &row)
		pos += size
	}
}

func (t *Table) hash(key []byte) uint32 { return uint32(maphash.Bytes(t.seed, key) >> 32) }

func (t *Table) findLocked(hash uint32, key []byte) (slot uint64, row uint32, ok bool) {
	return t.idx.find(hash, func(row uint32) bool { return string(t.keyLocked(row)) == string(key) })
}

func (t *Table) keyLocked(row uint32) []byte {
	r, _, _ := t.chunks.get(t.rows[row])
	return r.Key
}

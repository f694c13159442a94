package table

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
	"github.com/keyframelog/keyframe/storage/keys"
)

// FrameSource is a key frame that is being received; *frame.Reader is one.
type FrameSource interface {
	Header() frame.Header
	// Next returns the next block, in dst where it fits; io.EOF after the footer.
	Next(dst []byte) (frame.Block, error)
	Footer() (frame.Footer, bool)
}

const (
	loadBlocks = 8 // in flight between reading and hashing
)

// Load makes an ordinal's table from a whole key frame, in bulk: rows go to sstables as they come, in offset order; a second
// goroutine hashes them and collects the index, which is sorted and written afterwards. Nothing is ingested before the rows have
// hashed to the footer's digest (else ErrDigest), and no table is there before the meta entry, which goes last; what a crash leaves
// is removed by Open. The table then has one frame, the one loaded. ErrExists where the ordinal has a table; an error of damage (package damage) where it
// would lie beside what cannot be read.
//
// Memory: about 128 MiB of index entries, beyond which the index is written and ingested in several sorted runs.
func (db *DB) Load(ctx context.Context, ordinal uint32, id Identity, src FrameSource) (*Table, error) {
	end, err := db.begin()
	if err != nil {
		return nil, err
	}
	defer end()
	if m, err := readMeta(db.cfg.DB, ordinal); err != nil || m != nil || db.opened(ordinal) != nil {
		if err == nil {
			err = ErrExists
		}
		return nil, fmt.Errorf("table: load ordinal %d: %w", ordinal, err)
	}
	if err := checkHeader(id, src.Header()); err != nil {
		return nil, fmt.Errorf("table: load ordinal %d: %w", ordinal, err)
	}
	l := &loader{db: db, ordinal: ordinal, header: src.Header(), rows: db.sink(), last: -1}
	defer l.discard()
	db.making.RLock()
	defer db.making.RUnlock()
	if err := db.makeRoom(ctx, ordinal); err != nil {
		return nil, err
	}
	m, err := l.run(ctx, src)
	if err != nil {
		spaces := keys.TableSpaces()
		return nil, fmt.Errorf("table: load ordinal %d: %w", ordinal, errors.Join(err, db.exciseAll(ctx, ordinal, spaces[:], false)))
	}
	return db.register(newTable(db, ordinal, m)), nil
}

func checkHeader(id Identity, h frame.Header) error {
	if h.Since >= 0 {
		return fmt.Errorf("%w: not a whole frame", ErrFold)
	}
	if h.TopicID != id.TopicID || h.Partition != id.Partition || h.Incarnation != id.Incarnation || h.Fold != id.Fold {
		return fmt.Errorf("%w: the frame is of partition %d of topic %x", ErrIdentity, h.Partition, h.TopicID)
	}
	return nil
}

type loader struct {
	db      *DB
	ordinal uint32
	header  frame.Header
	rows    *sink   // rows and segments
	runs    []*sink // the index, one sorted run each
	seg     segment
	last    int64
	k, v    []byte
}

func (l *loader) discard() {
	l.rows.discard()
	for _, r := range l.runs {
		r.discard()
	}
}

func (l *loader) run(ctx context.Context, src FrameSource) (*meta, error) {
	blocks := make(chan frame.Block, loadBlocks)
	free := make(chan []byte, loadBlocks+2)
	for range cap(free) {
		free <- nil
	}
	index := indexer{loader: l}
	done := make(chan error, 1)
	go func() { done <- index.run(blocks, free) }()
	err := l.read(ctx, src, blocks, free)
	close(blocks)
	if err = errors.Join(err, <-done); err != nil {
		return nil, err
	}
	foot, ok := src.Footer()
	if !ok {
		return nil, io.ErrUnexpectedEOF
	}
	h := &l.header
	m := &meta{id: Identity{h.TopicID, h.Partition, h.Incarnation, h.Fold}, position: h.Cut, epoch: -1, start: h.Start, horizon: h.Cut,
		digest: index.digest, bytes: index.bytes}
	f := m.now(h.CutTimeMs)
	f.Rejected = foot.Rejected
	m.frames = []Frame{f}
	m.rejects[0] = foot.Rejected // by reasons that the frame does not tell
	pub := f.Digest.Pub(digest.FrameID{TopicID: h.TopicID, Partition: h.Partition, Incarnation: h.Incarnation, Cut: h.Cut, Start: h.Start})
	if m.digest != foot.Digest || pub != foot.Pub || uint64(m.digest.Count) != foot.Rows {
		return nil, fmt.Errorf("%w: the frame at %d says %d rows, %d came", ErrDigest, h.Cut, foot.Digest.Count, m.digest.Count)
	}
	return m, l.ingest(ctx, m)
}

// ingest makes the rows durable, then the index, run by run, then the table.
func (l *loader) ingest(ctx context.Context, m *meta) error {
	l.endSegment(l.header.Cut)
	if err := l.rows.commit(ctx, nil); err != nil {
		return err
	}
	for _, r := range l.runs {
		if err := r.commit(ctx, nil); err != nil {
			return err
		}
	}
	s := l.db.sink()
	s.set(keys.TableMeta, keys.AppendTablePrefix(nil, keys.TableMeta, l.ordinal), appendMeta(nil, m))
	return s.commit(ctx, nil)
}

// read writes the rows and hands each block on.
func (l *loader) read(ctx context.Context, src FrameSource, blocks chan<- frame.Block, free <-chan []byte) error {
	for {
		b, err := src.Next(<-free)
		if err == io.EOF {
			return ctx.Err()
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		for r, err := range b.Rows() {
			if err != nil {
				return err
			}
			if err := l.row(&r); err != nil {
				return err
			}
		}
		blocks <- b
	}
}

func (l *loader) row(r *frame.Row) error {
	if r.Offset <= l.last || r.Offset >= l.header.Cut || r.Tombstone {
		return &CorruptError{Ordinal: l.ordinal, What: "frame", Offset: r.Offset, Why: "row out of order, beyond the cut or deleted"}
	}
	l.last = r.Offset
	if l.seg.rows == l.db.sizes.segmentRows {
		l.endSegment(r.Offset)
	}
	l.seg.rows++
	l.k = keys.AppendTableOffset(l.k[:0], keys.TableRows, l.ordinal, r.Offset)
	l.v = appendRow(l.v[:0], r)
	l.rows.set(keys.TableRows, l.k, l.v)
	return l.rows.failed
}

func (l *loader) endSegment(hi int64) {
	l.seg.hi = hi
	if l.seg.rows > 0 {
		putSegment(l.rows, l.ordinal, &l.seg)
	}
	l.seg = segment{lo: hi}
}

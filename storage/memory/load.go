package memory

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"sync"

	"github.com/keyframelog/keyframe/proto/digest"
	"github.com/keyframelog/keyframe/proto/frame"
)

var (
	// ErrFrame is wrapped when a frame's stream is not what a whole frame must be: out of order, a tombstone, a key twice.
	ErrFrame = errors.New("not a valid key frame")
	// ErrDigest is wrapped when rows do not hash to what they must: a frame's to its footer, a table's to what a repair promised.
	ErrDigest = errors.New("the rows do not match the digest")
)

// Load reads a whole key frame. It returns a table only after the footer's row count, digest and pub agreed with the
// rows: nothing of a broken or wrong frame is ever visible. Blocks are read, checksummed and indexed in order by
// this goroutine, decoded and hashed by cfg.Workers others.
func Load(r io.Reader, cfg Config) (*Table, frame.Header, error) {
	fr, err := frame.NewReader(r, 0)
	if err != nil {
		return nil, frame.Header{}, fmt.Errorf("key frame header: %w", err)
	}
	return LoadFrom(fr, cfg)
}

// LoadFrom is Load of a frame whose header is read.
func LoadFrom(fr *frame.Reader, cfg Config) (*Table, frame.Header, error) {
	cfg = cfg.withDefaults()
	h := fr.Header()
	if h.Since >= 0 {
		return nil, h, fmt.Errorf("%w: rows since %d, not a whole frame", ErrFrame, h.Since)
	}
	if cfg.Fold == 0 {
		cfg.Fold = h.Fold
	}
	if h.Fold != cfg.Fold {
		return nil, h, fmt.Errorf("%w: fold %v, expected %v", ErrFrame, h.Fold, cfg.Fold)
	}
	t := New(Identity{TopicID: h.TopicID, Partition: h.Partition, Incarnation: h.Incarnation}, h.Cut, cfg)
	if rows, ok := fr.Expected(); ok {
		room := min(max(rows, 0), rowsMadeRoomFor)
		t.idx, t.rows = newIndex(int(room)), make([]ref, 0, room)
	}
	l := newLoader(t, h.Cut)
	if err := l.run(fr); err != nil {
		return nil, h, err
	}
	footer, ok := fr.Footer()
	if !ok {
		return nil, h, fmt.Errorf("%w: no footer", ErrFrame)
	}
	if err := check(t, h, footer); err != nil {
		return nil, h, err
	}
	return t, h, nil
}

// rowsMadeRoomFor bounds the memory that is made ready because somebody said how many rows will come: about 100 MiB.
const rowsMadeRoomFor = 4 << 20

func check(t *Table, h frame.Header, f frame.Footer) error {
	if uint64(len(t.rows)) != f.Rows {
		return fmt.Errorf("%w: cut %d: %d rows, the footer says %d", ErrDigest, h.Cut, len(t.rows), f.Rows)
	}
	return checkDigest(t.digest, h, f)
}

// checkDigest compares the digest of a whole table with a footer's.
func checkDigest(d digest.Digest, h frame.Header, f frame.Footer) error {
	if d.Count != f.Digest.Count {
		return fmt.Errorf("%w: cut %d: %d rows, the footer says %d", ErrDigest, h.Cut, d.Count, f.Digest.Count)
	}
	if d != f.Digest {
		return fmt.Errorf("%w: cut %d: sum %x, the footer says %x", ErrDigest, h.Cut, d.Sum.Bytes(), f.Digest.Sum.Bytes())
	}
	id := digest.FrameID{TopicID: h.TopicID, Partition: h.Partition, Incarnation: h.Incarnation, Cut: h.Cut, Start: h.Start}
	if pub := d.Pub(id); pub != f.Pub {
		return fmt.Errorf("%w: cut %d: pub %x, the footer says %x", ErrDigest, h.Cut, pub, f.Pub)
	}
	return nil
}

// loader is a bounded pipeline: blocks go to the workers, and come back in the order they were read.
type loader struct {
	t          *Table
	cut        int64
	lastOffset int64
	todo       chan *job
	inWork     []*job // in reading order
}

// job is one block on its way. A worker fills in the results, then closes done.
type job struct {
	block       frame.Block
	done        chan struct{}
	hashes      []uint32
	positions   []uint32
	first, last int64 // offsets
	bytes       int   // of the rows
	digest      digest.Digest
	err         error
}

func newLoader(t *Table, cut int64) *loader {
	return &loader{t: t, cut: cut, lastOffset: -1, todo: make(chan *job, 2*t.cfg.Workers)}
}

func (l *loader) run(fr *frame.Reader) error {
	var workers sync.WaitGroup
	for range l.t.cfg.Workers {
		workers.Go(func() {
			for j := range l.todo {
				j.verify(l.t.seed)
				close(j.done)
			}
		})
	}
	defer workers.Wait()
	defer close(l.todo)
	for {
		block, err := fr.Next(nil)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("key frame at cut %d after offset %d: %w", l.cut, l.lastOffset, err)
		}
		j := &job{block: block, done: make(chan struct{})}
		l.todo <- j
		l.inWork = append(l.inWork, j)
		for len(l.inWork) > 2*l.t.cfg.Workers || len(l.inWork) > 0 && l.inWork[0].isDone() {
			if err := l.collect(); err != nil {
				return err
			}
		}
	}
	for len(l.inWork) > 0 {
		if err := l.collect(); err != nil {
			return err
		}
	}
	return nil
}

func (j *job) isDone() bool {
	select {
	case <-j.done:
		return true
	default:
		return false
	}
}

// collect waits for the oldest block and takes its rows into the index.
func (l *loader) collect() error {
	j := l.inWork[0]
	l.inWork = l.inWork[1:]
	<-j.done
	if j.err != nil {
		return fmt.Errorf("key frame at cut %d after offset %d: %w", l.cut, l.lastOffset, j.err)
	}
	if len(j.hashes) == 0 {
		return nil
	}
	if j.first <= l.lastOffset || j.last >= l.cut {
		return fmt.Errorf("%w: offsets %d to %d after %d, cut %d", ErrFrame, j.first, j.last, l.lastOffset, l.cut)
	}
	l.lastOffset = j.last
	t := l.t
	no := t.chunks.add(chunk{block: j.block, size: j.bytes, live: j.bytes, rows: len(j.hashes)})
	for i, hash := range j.hashes {
		if i%prefetched == 0 {
			t.idx.prefetch(j.hashes[i:min(i+prefetched, len(j.hashes))])
		}
		at := makeRef(no, int(j.positions[i]))
		slot, _, twice := t.idx.find(hash, func(row uint32) bool {
			a, _, _ := t.chunks.get(at)
			return string(t.keyLocked(row)) == string(a.Key)
		})
		if twice {
			return fmt.Errorf("%w: a key stands in it twice", ErrFrame)
		}
		if len(t.rows) >= maxRows {
			return ErrFull
		}
		t.rows = append(t.rows, at)
		t.idx.insert(slot, hash, uint32(len(t.rows)-1))
	}
	t.digest.Merge(j.digest)
	return nil
}

// rowBytesMin is what the smallest row of a block takes: flags, offset, time, and two empty strings.
const rowBytesMin = 5

// verify decodes and hashes a block.
func (j *job) verify(seed maphash.Seed) {
	var rows digest.Adder
	ch := chunk{block: j.block}
	rowsAtMost := min(j.block.Len(), (ch.end()-ch.begin())/rowBytesMin)
	j.hashes, j.positions = make([]uint32, 0, rowsAtMost), make([]uint32, 0, rowsAtMost)
	last := int64(-1)
	for pos := ch.begin(); pos < ch.end(); {
		row, next, err := j.block.Row(pos)
		if err != nil {
			j.err = err
			return
		}
		if row.Tombstone || row.Key == nil || row.Offset <= last || next <= pos {
			j.err = fmt.Errorf("%w: row at offset %d after %d (tombstone: %v)", ErrFrame, row.Offset, last, row.Tombstone)
			return
		}
		if last == -1 {
			j.first = row.Offset
		}
		last = row.Offset
		j.hashes = append(j.hashes, uint32(maphash.Bytes(seed, row.Key)>>32))
		j.positions = append(j.positions, uint32(pos))
		rows.Add(row.Key, row.Value)
		j.bytes += next - pos
		pos = next
	}
	j.last, j.digest = last, rows.Digest()
	if len(j.hashes) != j.block.Len() {
		j.err = fmt.Errorf("%w: a block has %d rows and says %d", ErrFrame, len(j.hashes), j.block.Len())
	}
}

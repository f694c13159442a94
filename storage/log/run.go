package log

import (
	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/storage/blobfile"
)

// Run is a stretch of whole batches of which it is known where they are and how long, so that what comes before them can be sent before they
// are read. It holds what it needs: files that are deleted meanwhile, batches that leave the tail. Close gives that back. Not for several goroutines.
type Run struct {
	p     *Partition
	next  int64
	bytes int

	kept  []batch.Batch // in memory: all of it, or nothing
	spots []spot        // on disk
	files []openFile
}

// spot is where a batch on disk is.
type spot struct {
	base, next int64
	bytes      int
	at         blobfile.Location
	file       *blobfile.File // nil: Pebble reads it
}

const spotBytes = 48

type openFile struct {
	number uint64
	file   *blobfile.File // nil: it cannot be read directly
}

// Len is how many bytes the batches have.
func (r *Run) Len() int { return r.bytes }

// Next is the offset behind the last one.
func (r *Run) Next() int64 { return r.next }

// Held is how many bytes of memory it takes to visit the run, at most.
func (r *Run) Held() int {
	if r.spots == nil {
		return r.bytes
	}
	most := 0
	for _, s := range r.spots {
		most = max(most, s.bytes)
	}
	return min(r.bytes, max(most, chunkBytes)) + spotBytes*len(r.spots)
}

// Close gives back what the run holds. Closing twice does nothing.
func (r *Run) Close() {
	for _, f := range r.files {
		if f.file != nil {
			f.file.Close() // it was only read
		}
	}
	*r = Run{p: r.p, next: r.next}
}

// Each calls visit with all batches in their order, each once and as a whole: those of a call lie in its pieces one after the other. What is on disk
// is read a chunk at a time, into memory that is only valid during the call. It was checked: visit is never given what was not appended.
//
// Errors: visit's, *CorruptError when a batch turns out to be damaged, or ErrTrimmed or ErrClosed when it is gone. The next run ends before a batch that was
// found damaged, and one that begins with it is its error, for as long as that is remembered.
func (r *Run) Each(visit func(pieces [][]byte) error) error {
	if r.spots == nil {
		pieces := make([][]byte, len(r.kept))
		for i, b := range r.kept {
			pieces[i] = b
		}
		return visit(pieces)
	}
	c := r.p.store.chunks.get()
	defer func() { r.p.store.chunks.put(c) }()
	var pieces [][]byte
	for rest := r.spots; len(rest) > 0; {
		var n int
		var err error
		if n, pieces, err = r.fill(c, rest, pieces[:0]); err != nil {
			return err
		}
		if err := visit(pieces); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// fill reads the first n of the spots into the chunk: as many as have room, at least one. An error comes only when it is the first one's.
func (r *Run) fill(c *chunk, spots []spot, pieces [][]byte) (n int, _ [][]byte, err error) {
	through := pebbleReader{p: r.p, end: r.next}
	defer through.close()
	used, end := 0, -1 // end: of the last piece, in the chunk
	add := func(from, to int) {
		if from == end {
			last := &pieces[len(pieces)-1]
			*last = (*last)[:len(*last)+to-from]
		} else {
			pieces = append(pieces, c.b[from:to])
		}
		end = to
	}
	for n < len(spots) {
		s := &spots[n]
		if s.file == nil {
			b := c.room(used, s.bytes)
			if b == nil {
				break
			}
			if err := through.read(s, b); err != nil {
				if n > 0 {
					break // it is met again as the first
				}
				return 0, nil, err
			}
			add(used, used+len(b))
			used, n = used+len(b), n+1
			continue
		}
		extent, ok := s.file.Extent(s.at.Block)
		if !ok {
			s.file = nil
			continue
		}
		block := c.room(used, extent.Length)
		if block == nil {
			break
		}
		good := 0
		if s.file.Read(extent, block) == nil {
			for ; n < len(spots) && spots[n].isBeside(s); n, good = n+1, good+1 {
				from, to, ok := blobfile.Find(block, spots[n].at.Value)
				if !ok || spots[n].check(block[from:to]) != nil {
					break
				}
				add(used+from, used+to)
			}
		}
		if good > 0 {
			used += len(block)
		}
		if n < len(spots) && spots[n].isBeside(s) {
			spots[n].file = nil // Pebble is asked: it says what is wrong, or has it elsewhere
		}
	}
	return n, pieces, nil
}

// isBeside says whether two batches are in the same block, and to be read with it.
func (s *spot) isBeside(other *spot) bool {
	return s.file != nil && s.file == other.file && s.at.Block == other.at.Block
}

// check says whether b is the batch that was appended here.
func (s *spot) check(b []byte) error {
	x, err := checkStored(s.base, b)
	if err != nil {
		return err
	}
	if x.NextOffset() != s.next {
		return foundInstead(x)
	}
	return nil
}

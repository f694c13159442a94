package log

import (
	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/storage/blobfile"
	"github.com/keyframelog/keyframe/storage/keys"
)

// BlobFiles opens the files that Pebble keeps large values in. *engine.Dir is one.
type BlobFiles interface {
	// OpenBlob opens the blob file with a number, as it was written first.
	OpenBlob(number uint64) (*blobfile.File, error)
}

const (
	spotsMax = 4096 // of a run: small batches
	// filesMax bounds the files that a run holds open; what it has in more of them is read through Pebble. Where a partition has little in each, the
	// blocks are others', too, and the block cache is the place for them.
	filesMax = 16
)

// Locate finds the raw batches of [from, end): whole batches, the first one contains from, at least one and then no more than maxBytes. end
// is cut to the high watermark; with nothing to read the run is empty and its Next is from. The caller closes the run.
//
// Errors: *OffsetRangeError outside [log start, log end], ErrTrimmed below the delta start, *CorruptError, ErrClosed.
func (p *Partition) Locate(from, end int64, maxBytes int) (*Run, error) {
	if err := p.hidden(from); err != nil {
		return nil, err
	}
	return p.locate(from, end, maxBytes)
}

// locate is Locate, but that the log start hides nothing.
func (p *Partition) locate(from, end int64, maxBytes int) (*Run, error) {
	list, end, hit, err := p.fromTail(from, end, maxBytes, nil)
	if err != nil {
		return nil, err
	}
	r := &Run{p: p, next: from}
	if hit {
		for _, b := range list {
			r.bytes += len(b)
			r.next = b.NextOffset()
		}
		r.kept = list
		return r, nil
	}
	if err := p.knownDamage(from); err != nil {
		return nil, err
	}
	if r.find(from, end, maxBytes) && r.bytes >= streamBytes {
		return r, nil
	}
	if err := r.readNow(from, end, maxBytes); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// find notes where the batches are. false: not all is as it should be, and reading them tells what.
func (r *Run) find(from, end int64, maxBytes int) bool {
	p := r.p
	high, noted := p.highWatermark(), p.notedDamage()
	if err := p.store.enter(); err != nil {
		return false
	}
	defer p.store.uses.Done()
	it, err := p.store.db.NewIter(&pebble.IterOptions{LowerBound: p.keyBatch(0), UpperBound: p.keyBatch(high)})
	if err != nil {
		return false
	}
	defer it.Close() // an error of it is another reader's, too
	last := high     // where the last batch so far ends: the next one's start
	for ok := it.SeekLT(p.keyBatch(from + 1)); ok; ok = it.Next() {
		base, err := keys.OffsetOf(it.Key())
		if err != nil {
			return false
		}
		value := it.LazyValue()
		n, size := len(r.spots), value.Len()
		if n == 0 && (base > from || noted[base]) {
			return false
		}
		if n > 0 {
			r.spots[n-1].next = base
			if base >= end || n == spotsMax || r.bytes+size > maxBytes || noted[base] {
				last = base
				break
			}
		}
		r.bytes += size
		s := spot{base: base, bytes: size}
		s.at, _ = blobfile.LocationOf(value)
		r.spots = append(r.spots, s)
	}
	n := len(r.spots)
	if n == 0 || it.Error() != nil {
		return false
	}
	r.spots[n-1].next, r.next = last, last
	if r.bytes >= streamBytes && p.store.cfg.Blobs != nil {
		for i := range r.spots {
			r.spots[i].file = r.open(r.spots[i].at.File) // which the iterator keeps from being deleted
		}
	}
	return r.spots[0].next > from
}

// open returns the file with a number; nil: it cannot be read directly.
func (r *Run) open(number uint64) *blobfile.File {
	if number == 0 {
		return nil // the value is in no blob file
	}
	for i := len(r.files) - 1; i >= 0; i-- {
		if r.files[i].number == number {
			return r.files[i].file
		}
	}
	if len(r.files) == filesMax {
		return nil
	}
	f, err := r.p.store.cfg.Blobs.OpenBlob(number)
	if err != nil {
		f = nil // Pebble has written it anew, or will say what is wrong with it
	}
	r.files = append(r.files, openFile{number, f})
	return f
}

// readNow reads all of the run, which says what is wrong where something is.
func (r *Run) readNow(from, end int64, maxBytes int) error {
	all := make([]byte, 0, r.bytes)
	r.Close()
	return r.p.fromDisk(from, end, maxBytes, func(b batch.Batch) {
		start := len(all)
		all = append(all, b...)
		r.kept = append(r.kept, all[start:len(all):len(all)])
		r.bytes += len(b)
		r.next = b.NextOffset()
	})
}

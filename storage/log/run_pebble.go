package log

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/storage/damage"
)

// pebbleReader reads batches through Pebble, one after the other: those that lie in no blob file (a memtable has them, or they are small), and those
// that were not found where they should be.
type pebbleReader struct {
	p   *Partition
	end int64 // of all of them
	it  *pebble.Iterator
}

// read copies a batch of which the length is known.
func (x *pebbleReader) read(s *spot, b []byte) error {
	if x.it == nil {
		if err := x.open(); err != nil {
			return err
		}
	}
	key := x.p.keyBatch(s.base)
	if !x.it.Valid() || !x.it.Next() || !bytes.Equal(x.it.Key(), key) {
		if !x.it.SeekGE(key) || !bytes.Equal(x.it.Key(), key) {
			return x.p.why(s.base, x.p.corrupt(s.base, errors.Join(errors.New("no batch there"), x.it.Error())))
		}
	}
	value, err := damage.Value(x.it)
	if err == nil && len(value) != len(b) {
		err = fmt.Errorf("a batch of %d bytes is there, and %d were said to be", len(value), len(b))
	}
	if err == nil {
		copy(b, value)
		err = s.check(b)
	}
	if err != nil {
		return x.p.why(s.base, x.p.corrupt(s.base, err))
	}
	return nil
}

func (x *pebbleReader) open() error {
	if err := x.p.store.enter(); err != nil {
		return x.p.wrap(err)
	}
	it, err := x.p.store.db.NewIter(&pebble.IterOptions{LowerBound: x.p.keyBatch(0), UpperBound: x.p.keyBatch(x.end)})
	if err != nil {
		x.p.store.uses.Done()
		return x.p.wrap(err)
	}
	x.it = it
	return nil
}

// close ends the reading; what it says of damage was said of the batch that has it.
func (x *pebbleReader) close() {
	if x.it != nil {
		x.it.Close()
		x.p.store.uses.Done()
	}
}

func foundInstead(b batch.Batch) error {
	return fmt.Errorf("found batch [%d, %d) instead", b.BaseOffset(), b.NextOffset())
}

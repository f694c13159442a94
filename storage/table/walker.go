package table

import (
	"bytes"

	"github.com/keyframelog/keyframe/storage/damage"
)

// denseShare: where more than one key in so many is looked up, stepping to the next is cheaper than seeking it.
const (
	denseShare = 6
	denseSteps = 8
)

// walker looks up ascending keys with one iterator.
type walker struct {
	it    *spanIter
	steps int
	begun bool
	valid bool
	k     []byte
}

func newWalker(it *spanIter, lookups, stored int64) *walker {
	w := &walker{it: it}
	if lookups*denseShare > stored {
		w.steps = denseSteps
	}
	return w
}

// find positions the iterator at k and tells whether it is there. Keys ascend from call to call, until restart.
func (w *walker) find(k []byte) (bool, error) {
	there, err := w.reach(k)
	return there && bytes.Equal(w.it.Key(), k), err
}

// reach positions the iterator at the first key that is not below k, and tells whether there is one.
func (w *walker) reach(k []byte) (bool, error) {
	if w.begun {
		if !w.valid {
			return false, damage.Of(w.it.Error())
		}
		for i := 0; ; i++ {
			if bytes.Compare(w.it.Key(), k) >= 0 {
				return true, nil
			}
			if i >= w.steps {
				break
			}
			if w.valid = w.it.Next(); !w.valid {
				return false, damage.Of(w.it.Error())
			}
		}
	}
	w.begun = true
	if w.valid = w.it.SeekGE(k); !w.valid {
		return false, damage.Of(w.it.Error())
	}
	return true, nil
}

// restart allows the next key to lie before the last.
func (w *walker) restart() { w.begun = false }

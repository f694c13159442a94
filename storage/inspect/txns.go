package inspect

import (
	"errors"
	"fmt"
	"slices"

	"github.com/keyframelog/keyframe/proto/batch"
	"github.com/keyframelog/keyframe/storage/log"
)

// errTxns is what a check finds where the index of aborted transactions or the open ones are not those of the batches.
var errTxns = errors.New("transactions are not as the record batches say")

// txns follows the transactions through the raw batches from the delta start on, and compares what the log keeps beside them.
type txns struct {
	start   int64 // of the batches
	open    map[int64]int64
	markers map[int64]int64 // producer: offset of its last marker
	aborted []log.AbortedTxn
}

func newTxns(start int64) *txns {
	return &txns{start: start, open: map[int64]int64{}, markers: map[int64]int64{}}
}

func (x *txns) pass(b batch.Batch) error {
	producer := b.ProducerID()
	if !b.IsControl() {
		if _, began := x.open[producer]; b.IsTransactional() && !began {
			x.open[producer] = b.BaseOffset()
		}
		return nil
	}
	end, err := batch.ParseEndTxn(b)
	if err != nil {
		return err
	}
	first, began := x.open[producer]
	if !began {
		first = -1 // it may have begun below the batches that are kept, or nowhere
	}
	if !end.Commit {
		x.aborted = append(x.aborted, log.AbortedTxn{ProducerID: producer, FirstOffset: first, LastOffset: b.BaseOffset()})
	}
	delete(x.open, producer)
	x.markers[producer] = b.BaseOffset()
	return nil
}

// compare takes what the log has: its list of aborted transactions, which ends at the last stable offset, and the open ones.
func (x *txns) compare(aborted []log.AbortedTxn, open []log.OpenTxn, lastStable int64) (offset int64, err error) {
	for _, is := range x.aborted {
		i := slices.IndexFunc(aborted, func(a log.AbortedTxn) bool { return a.LastOffset == is.LastOffset && a.ProducerID == is.ProducerID })
		switch {
		case i < 0 && is.FirstOffset >= 0 && is.FirstOffset < lastStable:
			return is.LastOffset, fmt.Errorf("%w: the index has no aborted transaction of producer %d that ends here", errTxns, is.ProducerID)
		case i >= 0 && aborted[i].FirstOffset != is.FirstOffset && (is.FirstOffset >= 0 && aborted[i].FirstOffset >= x.start || aborted[i].FirstOffset >= is.LastOffset):
			return is.LastOffset, fmt.Errorf("%w: the aborted transaction of producer %d that ends here begins at %d, and the index says %d",
				errTxns, is.ProducerID, is.FirstOffset, aborted[i].FirstOffset)
		}
	}
	for _, a := range aborted {
		if a.LastOffset >= x.start && !slices.ContainsFunc(x.aborted, func(is log.AbortedTxn) bool { return is.LastOffset == a.LastOffset && is.ProducerID == a.ProducerID }) {
			return a.LastOffset, fmt.Errorf("%w: the index has an aborted transaction of producer %d that ends here, and no marker says so", errTxns, a.ProducerID)
		}
	}
	for _, o := range open {
		if o.FirstOffset < x.start {
			if marker, ended := x.markers[o.ProducerID]; ended {
				return marker, fmt.Errorf("%w: the transaction of producer %d from offset %d on ends here, and is said to be open", errTxns, o.ProducerID, o.FirstOffset)
			}
			continue
		}
		if first, is := x.open[o.ProducerID]; !is || first != o.FirstOffset {
			return o.FirstOffset, fmt.Errorf("%w: a transaction of producer %d is said to be open from here on", errTxns, o.ProducerID)
		}
		delete(x.open, o.ProducerID)
	}
	for producer, first := range x.open {
		if !slices.ContainsFunc(open, func(o log.OpenTxn) bool { return o.ProducerID == producer }) {
			return first, fmt.Errorf("%w: the transaction of producer %d from here on has no marker, and is not said to be open", errTxns, producer)
		}
	}
	return -1, nil
}

// transactions compares after all batches were read without a problem.
func (c *checker) transactions() {
	b := c.p.Log.Bounds()
	aborted, err := c.p.Log.Aborted(b.DeltaStart, b.LastStable)
	if err != nil {
		c.problem(b.DeltaStart, err)
		return
	}
	if offset, err := c.txns.compare(aborted, c.p.Log.OpenTxns(), b.LastStable); err != nil {
		c.problem(offset, err)
	}
}
